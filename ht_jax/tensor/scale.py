"""Powers of two that keep squares inside the range of a dtype, carried as exponents beside arrays.

An array far from 1 is `2**e` times another whose largest entry is in [1/2, 1); one near 1 stays as
it is, e = 0. Powers of two round nothing, and are constants for derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ht_jax.tensor.linalg import Matrix, backend
from ht_jax.tree import DimensionTree

Exponent = Any  # an int, or a scalar of JAX


def unit(x: Matrix, *, always: bool = False) -> tuple[Matrix, Exponent]:
    """An array whose squares neither overflow nor vanish, and the exponent that it was freed of.

    >>> unit(np.array([3e200, 1.0]))[1], unit(np.array([3.0, 1.0]))[1]
    (666, 0)
    """
    exponent = exponent_of(x, always=always)
    return shifted(x, -exponent), exponent


def exponent_of(x: Matrix, *, always: bool = False) -> Exponent:
    """The e with the largest entry of x in [2**(e-1), 2**e); 0 of zero, nan and inf.

    Unless `always`, 0 as well where squares are harmless.
    """
    near = 0 if always else jnp.finfo(x.dtype).maxexp // 6
    if isinstance(x, np.ndarray | np.generic):
        largest = float(_largest(x))
        exponent = math.frexp(largest)[1] if math.isfinite(largest) else 0
        return exponent if abs(exponent) > near else 0
    largest = jax.lax.stop_gradient(_largest(x))
    exponent = jnp.frexp(largest)[1]
    return jnp.where(jnp.isfinite(largest) & (jnp.abs(exponent) > near), exponent, 0)


def _largest(x: Matrix) -> Any:
    """The largest entry, of a complex array among real and imaginary parts: no square, no copy."""
    if backend(x).iscomplexobj(x):
        return backend(x).maximum(_largest(x.real), _largest(x.imag))
    return backend(x).maximum(x.max(), -x.min())


def shifted(x: Matrix, exponent: Exponent) -> Matrix:
    """`x * 2**exponent`, exact unless the product leaves the range of the dtype."""
    if isinstance(exponent, int) and exponent == 0:
        return x
    half = exponent // 2  # 2**exponent itself may leave the range where the product does not
    with np.errstate(over="ignore", under="ignore"):
        return x * _power(x, half) * _power(x, exponent - half)


def _power(x: Matrix, exponent: Exponent) -> Matrix:
    info = jnp.finfo(x.dtype)
    low, high = int(info.minexp), int(info.maxexp) - 1
    if not isinstance(x, jax.Array) and isinstance(exponent, int):
        return np.ldexp(np.ones((), info.dtype), min(max(exponent, low), high)).astype(x.dtype)
    bits = jnp.clip(exponent, low, high).astype(f"int{info.bits}") + (1 - low)
    return jax.lax.bitcast_convert_type(bits << info.nmant, info.dtype).astype(x.dtype)


def placed(
    cores: Mapping[str, Matrix], tree: DimensionTree, exponent: Exponent, dtype: Any = None
) -> dict[str, Matrix]:
    """The cores of `2**exponent` times a tensor, in the dtype that is given.

    The root is multiplied; what would drive it out of the range of the dtype goes to the first
    leaf, because the norm of a finite tensor need not be finite.
    """
    cores, root, leaf = dict(cores), tree.root, tree.leaves[0]
    dtype = cores[root].dtype if dtype is None else np.dtype(dtype)
    if dtype != cores[root].dtype:
        cores[root], power = unit(cores[root], always=True)
        exponent = exponent + power
    if not (isinstance(exponent, int) and exponent == 0):
        own = exponent if root == leaf else _within_range(exponent, dtype)
        cores[root] = shifted(cores[root], own)
        cores[leaf] = shifted(cores[leaf], exponent - own)
    return {node: core.astype(dtype, copy=False) for node, core in cores.items()}


def _within_range(exponent: Exponent, dtype: Any) -> Exponent:
    info = jnp.finfo(dtype)
    low, high = info.minexp + info.nmant, info.maxexp - info.nmant // 3
    if isinstance(exponent, int):
        return int(min(max(exponent, low), high))
    return jnp.clip(exponent, low, high)


def widened(arrays: Any) -> Any:
    """The same pytree with float16 and bfloat16 as float32, which decompositions compute in."""
    return jax.tree.map(
        lambda a: a.astype(np.float32) if jnp.finfo(a.dtype).bits < 32 else a, arrays
    )
