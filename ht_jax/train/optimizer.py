"""The optimizer of a run, all of it from Optax.

Gradients are clipped by their global norm, then take an Adam step with decoupled weight decay whose
rate warms up linearly and then stays, follows a cosine to 0, or falls as published recipes let it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array
from optax.contrib import MuonDimensionNumbers

from ht_jax.train.config import OptimizerConfig


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Builds the learning rate as a function of the step.

    Args:
        config: The optimizer's settings.
        steps: The length of the run.

    Returns:
        A schedule. It starts above 0, so that the first step already learns.

    >>> float(make_schedule(OptimizerConfig(learning_rate=0.5, schedule="constant"), 10)(9))
    0.5
    """
    warmup = min(config.warmup_steps, steps // 2)
    peak, start = config.learning_rate, config.learning_rate / (warmup + 1)
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(start, peak, warmup, decay_steps=steps)
    warm = optax.linear_schedule(start, peak, warmup)
    return optax.join_schedules([warm, _course(config)], [warmup])


def _course(config: OptimizerConfig) -> optax.Schedule:
    """The rate after the warm-up, whose end is step 0."""
    peak = config.learning_rate
    if config.schedule == "inverse":
        return lambda step: peak / (1 + config.decay * step)
    if config.schedule == "drops":
        return optax.exponential_decay(peak, config.drop_every, config.drop_factor, staircase=True)
    return optax.constant_schedule(peak)


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Builds the optimizer.

    Args:
        config: Its settings.
        steps: The length of the run.

    Returns:
        Clipping (if any), Adam on the schedule (or Muon for the cores), slower rates for wide
        matrices (if asked for).
    """
    schedule, decay = make_schedule(config, steps), config.weight_decay
    adam = optax.adamw(schedule, weight_decay=decay)
    parts: list[optax.GradientTransformation] = [
        adam if config.cores == "adam" else muon_for_cores(schedule, decay)
    ]
    if config.clip_norm:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    if config.fan_in:
        parts.append(slower_by_fan_in(config.fan_in))
    return optax.chain(*parts) if len(parts) > 1 else parts[0]


def muon_for_cores(schedule: optax.Schedule, weight_decay: float) -> optax.GradientTransformation:
    """Muon for the cores of tensor networks, NAdam for all other parameters.

    A core's momentum, its last axis against the others, is replaced by the nearest matrix with
    orthonormal rows or columns, at the size of an Adam step (Liu et al. 2025, Muon is Scalable).

    Args:
        schedule: learning rate by step, for both.
        weight_decay: decoupled, for both.
    """

    def numbers(path: tuple[Any, ...], core: Array) -> MuonDimensionNumbers | None:
        names = [str(getattr(part, "key", part)) for part in path]
        is_core = "cores" in names and names[-1] != "kernel" and core.ndim > 1
        return MuonDimensionNumbers(tuple(range(core.ndim - 1)), core.ndim - 1) if is_core else None

    return optax.contrib.muon(
        schedule,
        weight_decay=weight_decay,
        adam_weight_decay=weight_decay,
        muon_weight_dimension_numbers=lambda params: jax.tree.map_with_path(numbers, params),
        consistent_rms=0.2,
    )


def slower_by_fan_in(width: int) -> optax.GradientTransformation:
    """Shrinks the updates of matrices with more inputs than `width`, in proportion.

    An Adam step moves a product by its rate times the sum of the absolute inputs, so one rate
    that suits a hidden state of 256 throws about what reads a frame of 57,600 numbers (Yang et
    al. 2022, Tensor Programs V: Adam's rate of hidden weights goes with 1 / fan-in).

    Args:
        width: inputs of a matrix that learns at the full rate.

    >>> import jax.numpy as jnp
    >>> tree = {"kernel": jnp.ones((512, 4)), "bias": jnp.ones(4)}
    >>> updates, _ = slower_by_fan_in(256).update(tree, optax.EmptyState())
    >>> float(updates["kernel"][0, 0]), float(updates["bias"][0])
    (0.5, 1.0)
    """

    def scaled(update: jax.Array) -> jax.Array:
        slow = update.ndim == 2 and update.shape[0] > width
        return update * (width / update.shape[0]) if slow else update

    return optax.stateless(lambda updates, params: jax.tree.map(scaled, updates))


def make_penalty(config: OptimizerConfig) -> Callable[[Mapping[str, Any]], Array] | None:
    """Builds what is added to the loss: the classifier's L2 penalty, if any.

    Args:
        config: The optimizer's settings.

    Returns:
        A function of the parameters, or None.
    """
    factor = config.classifier_l2
    if not factor:
        return None
    return lambda params: factor * jnp.sum(jnp.square(params["classifier"]["kernel"]))
