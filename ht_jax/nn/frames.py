"""Integer inputs: uint8 frames are normalised and projected a few rows at a time.

So no float copy of a whole batch is made, forward or backward: on a CPU, arrays above 32 MiB are
mapped and faulted in anew on every call, which takes longer than the product itself.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Integer

from ht_jax import schedule as schedules
from ht_jax.formats import Weight, apply


def apply_to_integers(
    weight: Weight,
    x: Integer[Array, "*batch in_features"],
    *,
    scale: float,
    offset: float,
    precision: jax.lax.PrecisionLike = None,
) -> Inexact[Array, "*batch out_features"]:
    """`apply(weight, x * scale + offset)` in the dtype of the cores.

    Args:
        weight: the cores.
        x: integers, such as uint8 frames.
        scale, offset: the normalisation.
        precision: of the matrix products.
    """
    dtype = jax.tree.leaves(weight)[0].dtype
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])

    # The backward pass keeps the products and converts the integers again.
    @functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_saveable)
    def project(rows: Array) -> Array:
        floats = normalise(rows, dtype, scale, offset)
        return apply(weight, floats, precision=precision)

    tile = _tile(rows.shape, weight.format.num_params, dtype.itemsize)
    whole = rows.shape[0] - rows.shape[0] % tile
    parts = []
    if tile is not rows.shape[0] and whole:
        y = jax.lax.map(project, rows[:whole].reshape(-1, tile, x.shape[-1]))
        parts.append(y.reshape(whole, -1))
    if not parts or whole < rows.shape[0]:
        parts.append(project(rows[whole:] if parts else rows))
    y = parts[0] if len(parts) == 1 else jnp.concatenate(parts)
    return y.reshape(*x.shape[:-1], y.shape[-1])


def normalise(x: Array, dtype: Any, scale: float, offset: float) -> Array:
    """Integers as floats, `x * scale + offset`.

    The barrier keeps XLA:CPU from fusing the conversion into the matrix product, which then
    runs at half its speed.
    """
    x = x.astype(dtype) * jnp.asarray(scale, dtype) + jnp.asarray(offset, dtype)
    return jax.lax.optimization_barrier(x)


def _tile(shape: tuple[int, ...], num_params: int, itemsize: int) -> int:
    """Rows of a tile: as many as fit the device's limit, or as weigh as much as the cores.

    Every tile reads all cores, so tiles that are smaller than a large matrix would not pay.
    """
    if not isinstance(shape[0], int):  # symbolic, under jax.export
        return shape[0]
    limit = schedules.device(jax.default_backend()).tile_bytes
    fitting = max(limit / itemsize, 4 * num_params) / shape[1]
    return max(shape[0], 1) if shape[0] <= fitting else max(int(fitting), 1)
