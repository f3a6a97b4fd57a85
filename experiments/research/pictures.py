"""The pictures that `report.py` draws, of results and of single runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import ticker

from experiments.research.study_systems import BUDGETS
from ht_jax import plot
from ht_jax.plot.style import BLUE, GREEN, GREY, INK, SKY, YELLOW, bare, family_colour, new_figure
from ht_jax.train.metrics import read_metrics

FRAMES_A_STEP = 16 * 6

# Systems of the layer benchmark that the overview names: a dozen names stay legible.
SHOWN = {
    "flax nnx.RNN, dense": "Flax LSTM",
    "torch LSTM": "PyTorch LSTM",
    "torch Linear(16) + LSTM": "PyTorch Linear(16) + LSTM",
    "HT-LSTM": "HT-LSTM",
    "FDHT-LSTM": "FDHT-LSTM",
    "FDHT-LSTM, bfloat16": "FDHT-LSTM, bfloat16",
    "KCP-LSTM": "KCP-LSTM",
    "BT-LSTM": "BT-LSTM",
    "tednet TT rank 5": "tednet TT",
    "tednet TR rank 5": "tednet TR",
    "tednet BTT rank 4": "tednet BTT",
}


def overview(study: dict[str, Any], bench: dict[str, Any], path: Path) -> None:
    """Accuracy in the study, and speed in the layer benchmark, against the numbers they need."""
    drawn = new_figure(12, 4.6)
    accuracy, speed = drawn.subplots(1, 2)
    _accuracies(accuracy, study["systems"])
    accuracy.set_ylabel(f"test accuracy, %: mean and 95 % interval of {len(study['seeds'])} seeds")
    rows = {row["system"]: row for row in bench["rows"] if "ms" in row}
    points = {
        short: (rows[name]["params"], FRAMES_A_STEP / rows[name]["ms"] * 1e3)
        for name, short in SHOWN.items()
        if name in rows
    }
    cost, value = "numbers in all weights", "training speed, frames a second"
    speed.set(yscale="log")  # before the names are placed
    plot.plot_pareto(points, cost=cost, value=value, axes=speed)
    drawn.savefig(path)


def _accuracies(ax: Any, systems: Sequence[dict[str, Any]]) -> None:
    """A line through the sizes of each family, the published one larger; dense ones as bands."""
    for family in dict.fromkeys(row["family"] for row in systems):
        rows = [row for row in systems if row["family"] == family]
        (_band if rows[0]["format"] is None else _line)(ax, family, rows)
    ax.set(xscale="log", xlabel="numbers in the compressed matrix", ylim=(0, None))
    ax.set_xticks(BUDGETS, [f"{budget:,}" for budget in BUDGETS])
    ax.xaxis.set_minor_locator(ticker.NullLocator())
    ax.legend(loc="lower left", ncols=2, fontsize=8, framealpha=1)
    bare(ax)


def _line(ax: Any, family: str, rows: Sequence[dict[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: row["matrix_params"])
    numbers, means = [row["matrix_params"] for row in rows], [_mean(row) for row in rows]
    style = {"color": family_colour(family), "capsize": 2, "linewidth": 1.2, "markersize": 4}
    ax.errorbar(numbers, *zip(*means), fmt="o-", label=family, **style)
    published = next(row for row in rows if row["budget"] is None)
    place = (published["matrix_params"], _mean(published)[0])
    ax.plot(*place, "o", color=family_colour(family), markersize=8, markeredgecolor=INK)


def _band(ax: Any, family: str, rows: Sequence[dict[str, Any]]) -> None:
    ((mean, half),) = map(_mean, rows)
    color, text = family_colour(family), f"{family}, {rows[0]['matrix_params']:,} numbers"
    ax.axhline(mean, color=color, linestyle="--", label=text)
    ax.axhspan(mean - half, mean + half, color=color, alpha=0.15, linewidth=0)


def _mean(row: dict[str, Any]) -> tuple[float, float]:
    """The mean accuracy of a system and half the width of its interval, in percent."""
    return 100 * row["mean"]["value"], 100 * (row["mean"]["half_width"] or 0)


def curves(workdirs: Sequence[Path], path: Path) -> None:
    """Validation accuracy over the steps, of several runs."""
    runs = {workdir.name: read_metrics(workdir / "metrics.jsonl") for workdir in workdirs}
    plot.plot_curves(runs).savefig(path)


def samples(frames: np.ndarray, texts: Sequence[str], correct: Sequence[bool], path: Path) -> None:
    """Clips with their true and predicted classes, a row of frames each."""
    plot.plot_frames(frames, texts, correct).savefig(path)


METHODS = {
    "aware": ("data-aware", GREEN),
    "joint": ("data-aware, both matrices as one", YELLOW),
    "input": ("data-aware, input-to-hidden only", SKY),
    "uniform": ("data-aware, uniform ranks", BLUE),
    "plain": ("singular values alone", GREY),
}
COSTS = {"params": "numbers in the model", "ms_a_frame": "ms a frame of a stream"}


def compression(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Test accuracy of compressed models against their numbers and against the time of a step."""
    costs = [cost for cost in COSTS if any(cost in found["dense"] for found in results)]
    drawn = new_figure(5.5 * len(costs), 4)
    for ax, cost in zip(drawn.subplots(1, len(costs), sharey=True, squeeze=False)[0], costs):
        timed = [found for found in results if cost in found["dense"]]
        for found in timed:
            _method(ax, found, cost)
        dense = timed[0]["dense"]
        ax.plot(dense[cost], 100 * dense["test_accuracy"], "*", color=INK, ms=11, label="dense")
        ax.set(xscale="log", xlabel=COSTS[cost], ylim=(0, 105))
        bare(ax)
        if cost == costs[0]:
            ax.set_ylabel("test accuracy, %")
            ax.legend(fontsize=8, loc="lower right")
    drawn.savefig(path)


def _method(ax: Any, found: dict[str, Any], cost: str) -> None:
    """One result file: a line for the compressed models, hollow squares once they are tuned."""
    rows, (label, color) = found["rows"], METHODS[found["method"]]
    tuned = [row for row in rows if "finetuned_test_accuracy" in row]
    if tuned:
        label = f"{label}, {tuned[0]['finetuned_steps']} steps of fine-tuning"
        points = [(row[cost], 100 * row["finetuned_test_accuracy"]) for row in tuned]
        style = {"marker": "s", "linestyle": ":", "markerfacecolor": "none", "color": INK}
    else:
        points = [(row[cost], 100 * row["test_accuracy"]) for row in rows]
        style = {"marker": "o", "color": color}
    ax.plot(*zip(*sorted(points)), label=label, **style)
