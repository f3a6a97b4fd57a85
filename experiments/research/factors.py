"""What the study's systems get right: `python -m experiments.research.factors`.

A class of the study is an item and a direction. Here the two are scored apart, on the validation
clips, for every finished run of a system at its published size, with the validation accuracy
during training beside them: whether a system lacks eyes, a memory, or steps.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.research import results_tables, stats
from experiments.research.study_systems import systems
from ht_jax.files import write_json
from ht_jax.train import UserError, command, evaluate_run
from ht_jax.train.evaluation import Evaluation
from ht_jax.train.metrics import read_metrics
from ht_jax.train.report import versions

DIRECTIONS = 8


@dataclasses.dataclass(frozen=True)
class Options:
    """Item and direction of the study's classes, scored apart."""

    workdir: Path = Path("runs/study")
    """Folder of the study's runs."""
    json_file: Path | None = None
    """Where to write the result."""
    debug: bool = False
    """Show the traceback of an error."""


def apart(found: Evaluation) -> dict[str, float]:
    """Accuracy of both factors together, of the item, and of the direction.

    Args:
        found: the counts over classes `item * 8 + direction`.

    Example:
        >>> import numpy as np
        >>> confusion = np.zeros((16, 16), int)
        >>> confusion[3, 11] = 1  # the other item, the same direction
        >>> apart(Evaluation(0.0, confusion, ("",) * 16))
        {'both': 0.0, 'item': 0.0, 'direction': 1.0}
    """
    counts = found.confusion.reshape(-1, DIRECTIONS, len(found.confusion) // DIRECTIONS, DIRECTIONS)
    right = {"item": counts.trace(axis1=0, axis2=2), "direction": counts.trace(axis1=1, axis2=3)}
    return {"both": found.accuracy} | {
        factor: float(count.sum() / found.count) for factor, count in right.items()
    }


def score(workdir: Path) -> dict[str, Any]:
    """The factors of a finished run, and its validation accuracy during training by step.

    Args:
        workdir: of the run.
    """
    metrics = [row for row in read_metrics(workdir / "metrics.jsonl")]
    curve = {str(row["step"]): row["accuracy"] for row in metrics if row["split"] == "validation"}
    return {**apart(evaluate_run(workdir, ["validation"])["validation"]), "curve": curve}


def factors(options: Options) -> None:
    """Scores all finished runs at the published sizes and prints the means.

    Args:
        options: the command line.

    Raises:
        UserError: no run is finished.
    """
    rows: list[dict[str, Any]] = []
    for system in (system for system in systems() if system.budget is None):
        folders = sorted(options.workdir.glob(f"{system.name}_seed*"))
        runs = [score(folder) for folder in folders if (folder / "summary.json").exists()]
        if runs:
            print(f"{system.name}: {len(runs)} runs", file=sys.stderr, flush=True)
            rows.append(_row(system.name, runs))
    if not rows:
        raise UserError(f"{options.workdir} holds no finished run of the study: run study.py first")
    about = {"command": command.line(), "versions": versions()}
    found = {**about, "split": "validation", "systems": rows}
    if options.json_file is not None:
        write_json(options.json_file, found)
    results_tables.factors(found).print("rich")


def _row(name: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    means = {
        key: dataclasses.asdict(stats.mean([run[key] for run in runs]))
        for key in ("both", "item", "direction")
    }
    curve = {n: stats.mean([run["curve"][n] for run in runs]).value for n in runs[0]["curve"]}
    return {"system": name, **means, "curve": curve}


def main(args: Sequence[str]) -> int:
    """Scores as the command line says; returns the exit status."""
    return command.run(
        lambda: factors(command.require_tyro().cli(Options, args=args)), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
