"""Tables and pictures of what was measured: `python experiments/report.py [--picture FILE]`.

Reads the summaries of runs (train_*.json) and the benchmarks (bench_*.json) in results/ and writes
nothing that is not in them.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ht_jax.train import UserError, command

RESULTS = Path(__file__).parent / "results"
NAMES = {"fdht_lstm": "FDHT-LSTM", "ht_lstm": "HT-LSTM", "lstm": "LSTM"}
COLOURS = {"FDHT-LSTM": "#009E73", "HT-LSTM": "#0072B2", "LSTM": "#999999"}


def report(results: Path = RESULTS, /, *, picture: Path | None = None, debug: bool = False) -> None:
    """Prints the measured results as Markdown, and draws them.

    Args:
        results: Folder with the JSON files.
        picture: PNG or SVG to draw.
        debug: Show the traceback of an error.
    """
    del debug  # read before the command line is parsed
    runs, bench = _runs(results), _read(results / "bench_layer.json")
    print("\n".join([*_runs_table(runs), "", *_bench_table(bench)]))
    if picture is not None:
        _draw(runs, bench, picture)


def _runs(results: Path) -> dict[str, dict[str, Any]]:
    runs = {name: _read(results / f"train_{key}.json") for key, name in NAMES.items()}
    return dict(sorted(runs.items(), key=lambda pair: pair[1]["matrix_params"]))


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): measure it first") from error


def _runs_table(runs: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        "| system | numbers in the compressed matrices | compression | test accuracy | training |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, run in runs.items():
        numbers = f"{run['matrix_params']:,} | {run['compression_ratio']:,.0f}x"
        time = f"{run['steps']} steps in {run['seconds'] + run['compile_seconds']:.0f} s"
        lines.append(f"| {name} | {numbers} | {run['test_accuracy']:.1%} | {time} |")
    return lines


def _bench_table(bench: dict[str, Any]) -> list[str]:
    lines = ["| one training step | numbers | ms | times faster (range) |", "|---|---:|---:|---:|"]
    for row in bench["rows"]:
        low, high = row["times_faster_range"]
        ratio = f"{row['times_faster']:.1f} ({low:.1f} to {high:.1f})"
        lines.append(f"| {row['system']} | {row['params']:,} | {row['ms']:.1f} | {ratio} |")
    return lines


def _draw(runs: dict[str, dict[str, Any]], bench: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    accuracy, step = figure.subplots(1, 2)
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
    figure.savefig(path, dpi=160)


def _bars(ax: Any, labels: list[str], values: list[float], notes: list[str], systems: list[str]):
    """Horizontal bars, the first on top, each with a note at its end."""
    colours = [next((c for n, c in COLOURS.items() if n in s), "#999999") for s in systems]
    ax.barh(labels, values, color=colours)
    for n, (value, note) in enumerate(zip(values, notes)):
        place = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(note, (value, n), **place)
    ax.invert_yaxis()
    ax.grid(alpha=0.3, axis="x")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def main(args: Sequence[str]) -> int:
    """Reports as the command line says; returns the exit status."""
    tyro = command.require_tyro()
    return command.run(lambda: tyro.cli(report, args=args), debug="--debug" in args)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
