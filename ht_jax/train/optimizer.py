"""The optimizer of a run, all of it from Optax.

Gradients are clipped by their global norm, then take an Adam step with decoupled weight decay whose
rate warms up linearly and stays or follows a cosine to 0.
"""

import optax

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
    if config.schedule == "constant":
        return optax.warmup_constant_schedule(start, peak, warmup)
    return optax.warmup_cosine_decay_schedule(start, peak, warmup, decay_steps=steps)


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Builds the optimizer.

    Args:
        config: Its settings.
        steps: The length of the run.

    Returns:
        Clipping (if any) followed by Adam on the schedule.
    """
    adam = optax.adamw(make_schedule(config, steps), weight_decay=config.weight_decay)
    if not config.clip_norm:
        return adam
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)
