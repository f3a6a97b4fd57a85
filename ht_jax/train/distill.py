"""Distillation: a model learns what another says of every clip, beside the labels.

The teacher's logits travel in the batches, so that the training step stays one for all.
"""

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np
from flax import nnx

from ht_jax.train.parallel import HostBatch
from ht_jax.train.step import split_model
from ht_jax.train.task import Task


def distilled(task: Task, teacher: nnx.Module) -> Task:
    """A task whose training batches hold a teacher's logits, as "teacher".

    The training step adds the divergence of the model's classes from the teacher's to its loss.

    Args:
        task: The task; its evaluation stays as it is.
        teacher: A model with the same call and the same classes.

    Returns:
        The task.
    """
    apply, params = split_model(teacher)
    logits = jax.jit(lambda params, frames, lengths: apply(params, frames, lengths=lengths))

    def train_batches(start_step: int) -> Iterator[HostBatch]:
        for batch in task.train_batches(start_step):
            told = logits(params, batch["frames"], batch.get("length"))
            yield {**batch, "teacher": np.asarray(told)}

    return dataclasses.replace(task, train_batches=train_batches)
