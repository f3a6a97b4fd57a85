"""Arrays that come from elsewhere, and the dense array that NumPy is given.

All cores of a tensor have one dtype, and none lies in memory that somebody else can write to:
every constructor takes its arrays through `as_cores`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ht_jax.tensor.cores import Cores
from ht_jax.tensor.linalg import Matrix
from ht_jax.tree import is_integer


def as_array(value: Any) -> Matrix:
    """An array of JAX as it is, and anything else as NumPy's."""
    return value if isinstance(value, jax.Array) else np.asarray(value)


def as_cores(arrays: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Arrays as they come from anywhere, as JAX arrays of one floating or complex dtype.

    What is not an array of JAX is copied: it may be changed later.

    Args:
        arrays: by name, which errors quote: of JAX, NumPy or what `numpy.asarray` takes.

    Raises:
        TypeError: values that are not numbers.
        ValueError: a size of 0.

    >>> cores = as_cores({"a": [[1, 2]], "b": np.ones(3, np.float16)})
    >>> cores["a"].dtype, cores["b"].dtype
    (dtype('float16'), dtype('float16'))
    """
    found = {name: as_array(array) for name, array in arrays.items()}
    for name, array in found.items():
        if not jnp.issubdtype(array.dtype, np.number) and array.dtype != bool:
            raise TypeError(f"{name} has dtype {array.dtype}: an array of numbers is needed")
        if 0 in array.shape:
            raise ValueError(f"{name} has shape {array.shape}: modes and ranks are 1 or more")
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*found.values())
    dtype = dtype if jnp.issubdtype(dtype, jnp.inexact) else jnp.result_type(float)
    return {name: jnp.asarray(array.astype(dtype)) for name, array in found.items()}


def of_one_dtype(cores: Cores) -> Cores:
    """The cores, cast to their common dtype where they have several."""
    if len({core.dtype for core in cores.values()}) == 1:
        return cores
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*cores.values())
    return {node: core.astype(dtype) for node, core in cores.items()}


def checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Mode sizes as ints.

    Raises:
        ValueError: one is not an int of at least 1.
    """
    if not isinstance(shape, Iterable):
        raise ValueError(f"shape {shape!r} is no sequence of mode sizes")
    shape = tuple(shape)
    for k, size in enumerate(shape):
        if not is_integer(size) or size < 1:
            raise ValueError(f"mode {k} of shape {shape} has size {size!r}: an int of at least 1")
    return tuple(int(size) for size in shape)


def as_dense_array(x: Any, dtype: Any, copy: bool | None) -> np.ndarray:
    """What `__array__` of a tensor or an operator returns to NumPy."""
    if copy is False:
        raise ValueError("copy=False: the dense array of a tensor can only be made anew")
    return np.array(x.to_dense(), dtype, copy=copy)
