"""NumPy's indexing of a tensor, on its cores: `x[2, :, 1:4, [0, 3], None, ...]`.

An index of a mode only touches the frame of its leaf: slices and index arrays select rows of it,
and an integer leaves one row, which the transfer tensor above takes in (see `contract_modes`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ht_jax.tensor.cores import with_root_axis, without_root_axis
from ht_jax.tensor.linalg import Matrix, backend, is_traced
from ht_jax.tensor.modes import contract_modes
from ht_jax.tree import DimensionTree

if TYPE_CHECKING:
    from ht_jax.tensor.ht_tensor import HTTensor


def getitem(x: HTTensor, index: Any) -> HTTensor | Array:
    """What NumPy's indexing gives of the dense tensor, where it is accepted.

    Args:
        x: the tensor.
        index: by mode an integer (a scalar JAX array too, traced or not), which drops the mode; a
            slice; or one list of integers or 1-d integer array or mask, which selects from it.
            `None` is a new mode of size 1, `...` all modes that are left out.

    Returns:
        The tensor over the modes that are left; a number if none is left.

    Raises:
        IndexError: too many indices; one that is out of range, unless it is traced, which is
            clipped as in JAX; a mode of size 0; what NumPy pairs up or moves to the front:
            several index arrays, or one apart from an integer.
        TypeError: an index of another type, or a slice or a mask that is traced.
    """
    entries = _expanded(x, index if isinstance(index, tuple) else (index,))
    cores, frames, rows = dict(x.cores), with_root_axis(x.cores, x.tree), {}
    modes = [n for n, entry in enumerate(entries) if entry is not None and entry is not ...]
    for k, n in enumerate(modes):
        entries[n] = _checked(entries[n], k, x.shape[k])
        if isinstance(entries[n], slice):
            cores[f"leaf_{k}"] = x.cores[f"leaf_{k}"][entries[n]]
        elif entries[n].ndim == 1:
            cores[f"leaf_{k}"] = _rows(x.cores[f"leaf_{k}"], entries[n])
        else:
            rows[k] = _rows(frames[f"leaf_{k}"], entries[n])
    _check_unambiguous(entries)
    left = [e for e in entries if e is not ... and getattr(e, "ndim", 1) == 1]
    new = [n for n, entry in enumerate(left) if entry is None]
    return _with_new_modes(x, contract_modes(dataclasses.replace(x, cores=cores), rows), new)


def _expanded(x: HTTensor, index: tuple[Any, ...]) -> list[Any]:
    """One entry a mode, `None` for new ones, and `...` before the slices that it stands for."""
    dots = [n for n, i in enumerate(index) if i is Ellipsis]
    given = sum(i is not None and i is not Ellipsis for i in index)
    if len(dots) > 1:
        raise IndexError(f"{index} holds several ellipses (...): give one")
    if given > x.ndim:
        raise IndexError(f"{index} are too many indices for a tensor of shape {x.shape}")
    end = dots[0] + 1 if dots else len(index)
    return [*index[:end], *[slice(None)] * (x.ndim - given), *index[end:]]


def _checked(index: Any, k: int, size: int) -> Any:
    """The index of a mode as a slice, or as an array of no or one axis, in range if known."""
    if isinstance(index, slice):
        return _checked_slice(index, k, size)
    array = _as_array(index, k)
    if array.ndim > 1:
        raise IndexError(f"the index of mode {k} has shape {array.shape}: at most 1 axis is taken")
    if array.dtype == bool and array.ndim == 1:
        array = _of_mask(array, k, size)
    if array.size == 0:
        raise IndexError(f"index {index} of mode {k} selects nothing: a mode has size 1 or more")
    if not jnp.issubdtype(array.dtype, np.integer):
        raise TypeError(
            f"index {index!r} of mode {k} has dtype {array.dtype}: give integers, a slice, a mask, "
            "None or ..."
        )
    if is_traced(array):
        return array.astype(int)
    outside = array[(array < -size) | (array >= size)]
    if outside.size:
        raise IndexError(f"index {outside[0]} is out of range for mode {k} of size {size}")
    return array.astype(np.int64)


def _checked_slice(index: slice, k: int, size: int) -> slice:
    try:
        count = len(range(*index.indices(size)))
    except TypeError as error:
        raise TypeError(
            f"{index} of mode {k}: start, stop and step must be integers, and not traced; where "
            "the start is traced, give an index array: start + jnp.arange(size)"
        ) from error
    if count == 0:
        raise IndexError(f"{index} of mode {k} of size {size} selects nothing")
    return index


def _as_array(index: Any, k: int) -> Matrix:
    if is_traced(index):
        return jnp.asarray(index)
    try:
        return np.asarray(index)
    except ValueError as error:
        raise TypeError(f"index {index!r} of mode {k} is not an array: {error}") from error


def _of_mask(mask: Matrix, k: int, size: int) -> np.ndarray:
    if is_traced(mask):
        raise TypeError(
            f"the mask of mode {k} is traced, but the size of the result depends on its values: "
            "multiply by it (ttm with a diagonal matrix), or index outside of jit"
        )
    if len(mask) != size:
        raise IndexError(f"the mask of mode {k} has length {len(mask)}, but the mode size {size}")
    return np.flatnonzero(mask)


def _check_unambiguous(entries: Sequence[Any]) -> None:
    """Raises IndexError where NumPy's axes do not stay in the order of the modes."""
    given = [n for n, e in enumerate(entries) if hasattr(e, "ndim")]
    arrays = [n for n in given if entries[n].ndim == 1]
    if len(arrays) > 1:
        raise IndexError(
            f"{len(arrays)} index arrays: NumPy pairs them up, as ht.elements does with full "
            "indices; for all combinations index one mode after the other: x[i][:, j]"
        )
    if arrays and given[-1] - given[0] >= len(given):
        raise IndexError(
            "an index array apart from an integer gives a mode that NumPy moves to the front: "
            "index by the integers first, then by the array"
        )


def _rows(frame: Matrix, index: Matrix) -> Matrix:
    if isinstance(frame, np.ndarray) and is_traced(index):
        frame = jnp.asarray(frame)
    return frame[index]


def _with_new_modes(x: HTTensor, found: Any, positions: Sequence[int]) -> HTTensor | Array:
    """Modes of size 1 at some positions, each beside the whole tree, by an edge of rank 1."""
    if not positions:
        return found
    if not isinstance(found, type(x)):  # a number: the core of a tensor of one mode
        found = dataclasses.replace(x, cores={"leaf_0": found.reshape(1)}, tree=DimensionTree(0))
        positions = positions[:-1]
    total = found.ndim + len(positions)
    old = [k for k in range(total) if k not in positions]
    nested = found.tree.fold(old.__getitem__, lambda left, right: (left, right))
    cores = with_root_axis(found.cores, found.tree)
    below = [cores[node] for node in found.tree.nodes]
    xp = backend(*below)
    for k in positions:
        nested = (nested, k)
        below += [xp.ones((1, 1), found.dtype), xp.ones((1, 1, 1), found.dtype)]
    tree = DimensionTree(nested)
    return dataclasses.replace(
        found, cores=without_root_axis(dict(zip(tree.nodes, below)), tree), tree=tree
    )
