"""What makes HT better than in the papers: `python -m experiments.research.improve --data-dir DIR`.

Trains every variant of configs/improve.py on Moving Fashion-MNIST as the study does and compares
them on validation clips; the test split is never read. The same command again carries on.
"""

import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.configs import systems
from experiments.research import stats
from experiments.research.runs import Run, at, work
from experiments.research.variants import VARIANTS, Variant
from ht_jax.files import check_file, write_json
from ht_jax.train import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
    UserError,
    command,
    train,
)
from ht_jax.train.report import Summary, versions
from ht_jax.train.task import build_task


@dataclasses.dataclass(frozen=True)
class Options:
    """Variants of HT-LSTM, compared on validation clips."""

    workdir: Path = Path("runs/improve")
    """Folder of all runs."""
    data_dir: Path | None = None
    """Folder of the prepared data; None is TFDS's own."""
    only: tuple[str, ...] = ()
    """Names of variants to train; all unless given."""
    json_file: Path | None = None
    """Where to write the result, too."""
    debug: bool = False
    """Show the traceback of an error."""


def runs_of(options: Options, variant: Variant) -> list[Run]:
    """The runs of a variant.

    Args:
        options: the command line.
        variant: what is tried.
    """
    model = {"layer_norm": False, variant.place: repr(variant.fmt), **variant.model}
    config = TrainConfig(
        model=ModelConfig(hidden=systems.HIDDEN, **model),
        data=DataConfig("moving_fashion_mnist", options.data_dir, label="both", num_frames=6),
        optimizer=OptimizerConfig(variant.rate, fan_in=systems.HIDDEN),
        steps=variant.steps,
        test=False,
        eval_every=variant.steps,
        checkpoint_every=variant.steps,
        quiet=True,
    )
    name, how = variant.name.replace(" ", "_"), functools.partial(_train, variant)
    seeds = range(variant.seeds)
    return [Run(variant.name, at(config, options.workdir, name, s, None), how) for s in seeds]


def _train(variant: Variant, config: TrainConfig) -> Summary:
    task = build_task(config)
    if variant.change is not None:
        variant.change(task.model, config.seed)
    if variant.optimizer is not None:
        optimizer = variant.optimizer(task.model, config.optimizer, config.steps)
        task = dataclasses.replace(task, wrap=lambda adam: optimizer)
    return train(config, task)


def result(options: Options) -> dict[str, Any]:
    """What is reported of the runs that are finished.

    Args:
        options: the command line.
    """
    rows = [_row(variant, runs_of(options, variant)) for variant in VARIANTS]
    return {
        "command": command.line(),
        "versions": versions(),
        "split": "validation",
        "variants": [row for row in rows if row is not None],
    }


def _row(variant: Variant, runs: Sequence[Run]) -> dict[str, Any] | None:
    found = {run.config.seed: run.summary for run in runs}
    finished = {seed: summary for seed, summary in found.items() if summary is not None}
    if not finished:
        return None
    accuracies = [summary.validation_accuracy for summary in finished.values()]
    return {
        "variant": variant.name,
        "format": repr(variant.fmt),
        "place": variant.place,
        "matrix_params": variant.fmt.with_gates(4).num_params,
        "params": next(iter(finished.values())).params,
        "learning_rate": variant.rate,
        "steps": variant.steps,
        "seeds": list(finished),
        "validation_accuracies": accuracies,
        "mean": dataclasses.asdict(stats.mean(accuracies)),
    }


def improve(options: Options) -> None:
    """Trains what is not finished, variant by variant, and writes the result after each.

    Args:
        options: the command line.

    Raises:
        UserError: there is no variant of a name.
    """
    names = [variant.name for variant in VARIANTS]
    for name in options.only:
        if name not in names:
            raise UserError(f"--only {name!r} is no variant: choose from {', '.join(names)}")
    if options.json_file is not None:
        check_file(options.json_file)
    for variant in VARIANTS:
        if not options.only or variant.name in options.only:
            work(runs_of(options, variant))
            found = result(options)
            for path in (options.workdir / "improve.json", options.json_file):
                if path is not None:
                    write_json(path, found)


def main(args: Sequence[str]) -> int:
    """Compares as the command line says; returns the exit status."""
    return command.run(
        lambda: improve(command.require_tyro().cli(Options, args=args)), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
