"""Fine-tuning of a compressed model: a short run with the model that it came from as the teacher.

Ranks may move between stretches of the run (`ht_jax.compression.adapt`), and HT matrices may move
on the manifold of their ranks (`ht_jax.compression.manifold`).
"""

import dataclasses
from collections.abc import Iterator, Mapping

import jax
from flax import nnx

from ht_jax.compression.adapt import adapted
from ht_jax.compression.manifold import on_manifold, orthonormal
from ht_jax.compression.whiten import Whitener
from ht_jax.train.config import TrainConfig
from ht_jax.train.distill import distilled
from ht_jax.train.loop import train
from ht_jax.train.parallel import HostBatch
from ht_jax.train.report import Summary
from ht_jax.train.restore import load_run
from ht_jax.train.task import Task


def finetune(
    config: TrainConfig,
    task: Task,
    teacher: nnx.Module,
    *,
    stretches: int = 1,
    riemannian: bool = False,
    whiteners: Mapping[str, Whitener] | None = None,
) -> tuple[nnx.Module, Summary]:
    """Trains a task's model on its labels and on a teacher's logits.

    Args:
        config: Of the whole run. Every stretch has a workdir in that of the configuration, and an
            equal share of the steps; a stretch that is finished is not repeated.
        task: What is learned; its model stays as it is.
        teacher: As `distilled` takes it.
        stretches: Parts of the run, between which ranks of HT matrices fall where their singular
            values end steeply and grow where these press; the numbers never become more.
        riemannian: Whether HT matrices move on the manifold of their ranks.
        whiteners: As `adapted` takes them.

    Returns:
        The model, and the summary of the last stretch.

    Raises:
        ValueError: Fewer steps than stretches.
    """
    steps = config.steps // max(stretches, 1)
    if stretches < 1 or steps < 1:
        raise ValueError(f"{stretches} stretches of {config.steps} steps: give each one or more")
    task, summaries = distilled(task, teacher), []
    for n in range(stretches):
        key = jax.random.key(config.seed + n)
        model = adapted(task.model, key, whiteners) if n else task.model
        share = dataclasses.replace(config, workdir=config.workdir / f"stretch_{n}", steps=steps)
        stretch = _stretch(task, model, n * steps, riemannian)
        summaries.append(train(share, stretch))
        _, task = load_run(share.workdir, dataclasses.replace(task, model=stretch.model))
    return task.model, summaries[-1]


def _stretch(task: Task, model: nnx.Module, start: int, riemannian: bool) -> Task:
    """The task from some step on, for another model."""

    def train_batches(step: int) -> Iterator[HostBatch]:
        return task.train_batches(start + step)

    wrap = None
    if riemannian:
        model = orthonormal(model)
        wrap = lambda optimizer: on_manifold(model, optimizer)  # noqa: E731
    return dataclasses.replace(task, model=nnx.clone(model), train_batches=train_batches, wrap=wrap)
