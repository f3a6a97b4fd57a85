"""Trains a preset several times: `python -m experiments.research.repeat PRESET --seeds 5`.

Prints the mean test accuracy with its 95 % interval. Every run has a folder of its own below
--workdir, and the same command again carries on. All options of train.py are taken too.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from experiments.configs import parse
from experiments.research import stats
from experiments.research.runs import Run, at, work
from ht_jax.data.video.protocols import PROTOCOLS
from ht_jax.files import write_json
from ht_jax.train import TrainConfig, UserError, command


def runs_of(config: TrainConfig, seeds: int, folds: int) -> list[Run]:
    """All pairs of a seed and a fold, folds first.

    Args:
        config: of each of them.
        seeds: how many, from the configuration's own on.
        folds: how many; 0 leaves the configuration's own.

    Raises:
        UserError: fewer than one seed, or more folds than the protocol has.
    """
    if seeds < 1:
        raise UserError(f"--seeds is {seeds}: pass 1 or more")
    protocol = config.data.protocol
    most = PROTOCOLS[protocol].folds if protocol in PROTOCOLS else 0
    if not 0 <= folds <= most:
        raise UserError(f"--folds is {folds}, but the protocol {protocol} has {most}")
    places: Sequence[int | None] = range(folds) if folds else [None]
    return [
        Run(config.workdir.name, at(config, config.workdir, "run", config.seed + seed, fold))
        for seed in range(seeds)
        for fold in places
    ]


def result(runs: Sequence[Run]) -> dict[str, Any]:
    """The accuracies of finished runs and their mean.

    Folds of one seed share training clips, so where there are several seeds it is the means over
    the folds that are taken for independent.
    """
    by_seed: dict[int, list[float]] = {}
    for run in runs:
        by_seed.setdefault(run.config.seed, []).append(run.test_accuracy)
    means = [sum(values) / len(values) for values in by_seed.values()]
    return {
        "test_accuracies": by_seed,
        "mean": dataclasses.asdict(
            stats.mean(means if len(means) > 1 else next(iter(by_seed.values())))
        ),
    }


def repeat(args: Sequence[str]) -> None:
    """Trains all runs and reports.

    Args:
        args: the command line.
    """
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from --seed on")
    parser.add_argument("--folds", type=int, default=0, help="how many of the protocol; 0: --fold")
    chosen, rest = parser.parse_known_args(args)
    config = parse(rest)
    runs = runs_of(config, chosen.seeds, chosen.folds)
    work(runs)
    found = result(runs)
    about = {"command": command.line(), "system": config.workdir.name}
    write_json(config.workdir / "repeat.json", {**about, **found, "runs": _runs(runs)})
    print(
        f"{config.workdir}: test accuracy {stats.Mean(**found['mean']).percent()}, {len(runs)} runs"
    )


def _runs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(run.result) for run in runs]


def main(args: Sequence[str]) -> int:
    """Repeats as the command line says; returns the exit status."""
    return command.run(lambda: repeat(args), debug="--debug" in args)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
