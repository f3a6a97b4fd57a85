"""Evaluates a trained run: `python experiments/evaluate.py WORKDIR [--split test]`.

Prints accuracy and the confusion matrix of each split, and draws the matrices into the workdir.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ht_jax.files import check_folder
from ht_jax.train import command, evaluate_run
from ht_jax.train.curve import plot_confusion
from ht_jax.train.table import print_confusion


def evaluate(
    workdir: Path,
    /,
    *,
    split: Literal["validation", "test"] | None = None,
    debug: bool = False,
) -> None:
    """Accuracy and confusion matrix of a trained run.

    Args:
        workdir: Folder of the run.
        split: Split to evaluate; both unless named.
        debug: Show the traceback of an error.
    """
    del debug  # read before the command line is parsed
    check_folder(workdir)
    for name, result in evaluate_run(workdir, [split] if split else ["validation", "test"]).items():
        title = f"{workdir.name}, {name} split"
        print_confusion(result, title)
        plot_confusion(workdir / f"confusion_{name}.png", result, title)


def main(args: Sequence[str]) -> int:
    """Evaluates as the command line says; returns the exit status."""
    return command.run(
        lambda: command.require_tyro().cli(evaluate, args=args), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
