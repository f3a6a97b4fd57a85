"""Gradient accumulation: a batch taken in parts, one after the other, for the memory of one part.

The mean over k equal parts of the means over each is the mean over the whole: same numbers, rounded
otherwise.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def accumulated(mean: Callable[..., Any], parts: int) -> Callable[..., Any]:
    """Turns a mean over a batch into the mean of means over its parts.

    Args:
        mean: `mean(params, batch, key)`, a pytree of floats that are means over the batch.
        parts: How many parts; it divides the batch.

    Returns:
        A function of the same arguments; each part draws by a key of its own.

    >>> half = accumulated(lambda params, batch, key: params * batch["x"].mean(), 2)
    >>> float(half(2.0, {"x": jnp.arange(4.0)}, jax.random.key(0)))
    3.0
    """

    def run(params: Any, batch: Any, key: Any) -> Any:
        pieces = (_split(batch, parts), jax.random.split(key, parts))

        def add(total: Any, piece: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, mean(params, *piece)), None

        first = jax.tree.map(lambda x: x[0], pieces)
        shapes = jax.eval_shape(mean, params, *first)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        total, _ = jax.lax.scan(add, zeros, pieces)
        return jax.tree.map(lambda x: x / parts, total)

    return mean if parts == 1 else run


def _split(batch: Any, parts: int) -> Any:
    # Part i takes the examples i, i + parts, ...: a sharded batch stays where it is.
    return {
        name: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0) for name, x in batch.items()
    }
