"""A queue of training runs: each in its own folder, finished ones kept, broken ones resumed."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from ht_jax.train import TrainConfig, train
from ht_jax.train.report import Summary, read_summary


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of a queue.

    Attributes:
        system: what it trains; runs of one system are averaged.
        config: of the training, its workdir below the queue's folder.
        how: what trains it; `ht_jax.train.train` unless given.
    """

    system: str
    config: TrainConfig
    how: Callable[[TrainConfig], Summary] | None = None

    @property
    def summary(self) -> Summary | None:
        """What the run reported, if it is finished."""
        return read_summary(self.config.workdir / "summary.json")

    @property
    def result(self) -> Summary:
        """What the run reported.

        Raises:
            ValueError: it is not finished.
        """
        if (summary := self.summary) is None:
            raise ValueError(f"the run in {self.config.workdir} is not finished")
        return summary

    @property
    def test_accuracy(self) -> float:
        """What the run measured on the test split.

        Raises:
            ValueError: it is not finished, or left that split alone.
        """
        if (accuracy := self.result.test_accuracy) is None:
            raise ValueError(f"the run in {self.config.workdir} did not measure the test split")
        return accuracy


def work(runs: Sequence[Run]) -> None:
    """Trains whatever is not finished, in order; the same call again carries on."""
    for number, run in enumerate(runs, 1):
        if run.summary is None:
            seed, fold = run.config.seed, run.config.data.fold
            part = "" if fold is None else f", fold {fold}"
            print(f"run {number} of {len(runs)}: {run.system}, seed {seed}{part}", flush=True)
            (run.how or train)(run.config)


def at(config: TrainConfig, folder: Path, name: str, seed: int, fold: int | None) -> TrainConfig:
    """A configuration with a seed, a fold and a folder of its own.

    Args:
        config: of the system.
        folder: of the queue.
        name: of the system.
        seed: of the run.
        fold: of the protocol; None leaves the configuration's own.
    """
    part = "" if fold is None else f"_fold{fold}"
    data = config.data if fold is None else dataclasses.replace(config.data, fold=fold)
    workdir = folder / f"{name}{part}_seed{seed}"
    return dataclasses.replace(config, data=data, seed=seed, workdir=workdir)
