"""The pictures that `report.py` draws, of results and of single runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ht_jax.train.metrics import read_metrics

COLOURS = {
    **{"FDHT": "#009E73", "HT": "#0072B2", "TT": "#E69F00", "TR": "#CC79A7", "BT": "#56B4E9"},
    **{"KCP": "#D55E00", "LSTM": "#777777", "GRU": "#AAAAAA"},
}


def figure(width: float, height: float) -> Any:
    """A Matplotlib figure without a window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=160)


def colour(system: str) -> str:
    """The colour of a system, by the family that its name begins with."""
    return next((c for name, c in COLOURS.items() if system.startswith(name)), "#999999")


def overview(runs: dict[str, dict[str, Any]], bench: dict[str, Any], path: Path) -> None:
    """Accuracy and training time of the single runs, and the time of a step."""
    drawn = figure(9, 3)
    accuracy, step = drawn.subplots(1, 2)
    names = [f"{name}\n{run['matrix_params']:,} numbers" for name, run in runs.items()]
    shares = [100 * run["test_accuracy"] for run in runs.values()]
    notes = [
        f"{share:.1f} % after {run['seconds'] + run['compile_seconds']:.0f} s"
        for share, run in zip(shares, runs.values())
    ]
    _bars(accuracy, names, shares, notes, list(runs))
    accuracy.set(xlim=(0, 175), xticks=range(0, 101, 25), xlabel="test accuracy, %")
    rows = bench["rows"]
    systems = [row["system"] for row in rows]
    labels = [system.replace(", ", ",\n") for system in systems]
    _bars(step, labels, [r["ms"] for r in rows], [f"{r['ms']:.0f} ms" for r in rows], systems)
    step.set(xlabel="one training step, 16 clips of 6 frames, ms")
    step.margins(x=0.25)
    drawn.savefig(path)


def study(found: dict[str, Any], path: Path) -> None:
    """Accuracy against numbers, and against training time, with 95 % intervals."""
    drawn = figure(9, 4)
    for ax, key, label in zip(
        drawn.subplots(1, 2, sharey=True),
        ("matrix_params", "seconds"),
        ("numbers in the matrix", "training time, s"),
    ):
        for row in found["systems"]:
            mean = row["mean"]
            bar = 100 * (mean["half_width"] or 0)
            place, chosen = (row[key], 100 * mean["value"]), colour(row["family"])
            ax.errorbar(*place, yerr=bar, fmt="o", color=chosen, capsize=2, markersize=4)
            note = {"xytext": (4, 3), "textcoords": "offset points", "fontsize": 7}
            ax.annotate(row["system"], place, color=chosen, **note)
        ax.set(xscale="log", xlabel=label)
        ax.grid(alpha=0.3)
    drawn.axes[0].set_ylabel("test accuracy, %")
    drawn.savefig(path)


def curves(workdirs: Sequence[Path], path: Path) -> None:
    """Validation accuracy over the steps, of several runs."""
    drawn = figure(6, 4)
    ax = drawn.subplots()
    for workdir in workdirs:
        records = [r for r in read_metrics(workdir / "metrics.jsonl") if r["split"] == "validation"]
        steps, shares = [r["step"] for r in records], [100 * r["accuracy"] for r in records]
        ax.plot(steps, shares, "o-", markersize=3, label=workdir.name)
    ax.set(xlabel="step", ylabel="validation accuracy, %")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    drawn.savefig(path)


def samples(frames: np.ndarray, texts: Sequence[str], correct: Sequence[bool], path: Path) -> None:
    """Clips with their true and predicted classes, a row of frames each."""
    drawn = figure(1.3 * frames.shape[1], 1.25 * len(frames))
    for row, (clip, text, right) in enumerate(zip(frames, texts, correct)):
        for column, frame in enumerate(clip):
            ax = drawn.add_subplot(*frames.shape[:2], row * frames.shape[1] + column + 1)
            ax.imshow(frame)
            ax.set_axis_off()
            if column == 0:
                ax.set_title(text, fontsize=7, loc="left", color="black" if right else "#D55E00")
    drawn.savefig(path)


def _bars(ax: Any, labels: list[str], values: list[float], notes: list[str], systems: list[str]):
    """Horizontal bars, the first on top, each with a note at its end."""
    ax.barh(labels, values, color=[colour(system) for system in systems])
    for n, (value, note) in enumerate(zip(values, notes)):
        place = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(note, (value, n), **place)
    ax.invert_yaxis()
    ax.grid(alpha=0.3, axis="x")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
