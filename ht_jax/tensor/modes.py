"""Operations on single modes: matrices and vectors applied, slices, elements, permutations.

A vector applied to mode k turns the frame of leaf k into one row, which the transfer tensor above
it takes in; what is left of that one goes into the sibling (Kressner and Tobler 2014, section 5.1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Array, Inexact, Int

from ht_jax.tensor.arrays import as_array, of_one_dtype
from ht_jax.tensor.cores import with_root_axis, without_root_axis
from ht_jax.tensor.linalg import Matrix, backend, einsum
from ht_jax.tree import DimensionTree, is_integer

if TYPE_CHECKING:
    from ht_jax.tensor.ht_tensor import HTTensor


def _mode(x: HTTensor, k: int) -> int:
    if not is_integer(k):
        raise TypeError(f"mode {k!r} is not an int")
    if not -x.ndim <= k < x.ndim:
        raise ValueError(f"mode {k} is not one of the {x.ndim} of a tensor of shape {x.shape}")
    return int(k) % x.ndim


@jax.named_scope("ht.ttm")
def ttm(x: HTTensor, matrices: Mapping[int, Inexact[Array, "m n"]]) -> HTTensor:
    """Matrices (m, n_k) applied to modes: `y[.., i, ..] = sum_j A[i, j] x[.., j, ..]`.

    Args:
        x: the tensor.
        matrices: by mode; others stay as they are.

    Raises:
        ValueError: there is no such mode, or the columns are not its size.

    >>> from ht_jax.tensor import ones
    >>> ttm(ones((2, 3, 4), dtype="float32"), {1: np.ones((7, 3), np.float32)}).shape
    (2, 7, 4)
    """
    cores = dict(x.cores)
    for mode, matrix in matrices.items():
        k, matrix = _mode(x, mode), as_array(matrix)
        if matrix.ndim != 2 or matrix.shape[1] != x.shape[k] or not len(matrix):
            raise ValueError(f"the matrix of mode {k} has shape {matrix.shape}: (m, {x.shape[k]})")
        cores[f"leaf_{k}"] = matrix @ cores[f"leaf_{k}"]
    return dataclasses.replace(x, cores=of_one_dtype(cores))


@jax.named_scope("ht.ttv")
def ttv(x: HTTensor, vectors: Mapping[int, Inexact[Array, " n"]]) -> HTTensor | Array:
    """Vectors applied to modes, which vanish: `sum_j v[j] x[.., j, ..]`, without conjugation.

    Args:
        x: the tensor.
        vectors: by mode.

    Returns:
        The tensor over the other modes, in their order; a number if none is left.

    Raises:
        ValueError: there is no such mode, or a length is not its size.

    >>> from ht_jax.tensor import ones
    >>> float(ttv(ones((2, 3), dtype="float32"), {0: np.ones(2, "f"), 1: np.ones(3, "f")}))
    6.0
    """
    rows = {}
    for mode, vector in vectors.items():
        k, vector = _mode(x, mode), as_array(vector)
        if vector.shape != (x.shape[k],):
            raise ValueError(f"the vector of mode {k} has shape {vector.shape}: ({x.shape[k]},)")
        rows[k] = vector @ with_root_axis(x.cores, x.tree)[f"leaf_{k}"]
    return contract_modes(x, rows)


def sum_over(x: HTTensor, modes: int | Sequence[int] | None) -> HTTensor | Array:
    """The sum of the entries along some modes, all of them if none are given."""
    if modes is None:
        modes = range(x.ndim)
    chosen = [_mode(x, k) for k in (modes if isinstance(modes, Iterable) else [modes])]
    if len({*chosen}) < len(chosen):
        raise ValueError(f"modes {modes} are given twice")
    frames = with_root_axis(x.cores, x.tree)
    return contract_modes(x, {k: frames[f"leaf_{k}"].sum(0) for k in chosen})


def contract_modes(x: HTTensor, rows: Mapping[int, Inexact[Array, " r"]]) -> HTTensor | Array:
    """The tensor without some modes, whose frames have become single rows (r,)."""
    left = [k for k in range(x.ndim) if k not in rows]
    if len(left) == x.ndim:
        return x
    number = {k: n for n, k in enumerate(left)}
    cores = with_root_axis(x.cores, x.tree)
    found: dict[str, Any] = {}  # node: (nested tree, cores below it in the order of nodes, its own)
    for node in x.tree.nodes:
        if x.tree.is_leaf(node):
            k = x.tree.modes(node)[0]
            found[node] = (None, [], rows[k]) if k in rows else (number[k], [], cores[node])
        else:
            found[node] = _joined(cores[node], *(found.pop(c) for c in x.tree.children(node)))
    nested, below, own = found[x.tree.root]
    if nested is None:
        return own[0]
    tree = DimensionTree(nested)
    cores = without_root_axis(dict(zip(tree.nodes, [*below, own])), tree)
    return dataclasses.replace(x, cores=of_one_dtype(cores), tree=tree)


def _joined(core: Matrix, left: Any, right: Any) -> Any:
    """What two subtrees and the transfer tensor (p, l, r) above them become."""
    if left[0] is None and right[0] is None:
        return None, [], einsum("plr,l,r->p", core, left[2], right[2])
    if left[0] is None:
        return _absorbed(einsum("plr,l->pr", core, left[2]), right)
    if right[0] is None:
        return _absorbed(einsum("plr,r->pl", core, right[2]), left)
    return (left[0], right[0]), [*left[1], left[2], *right[1], right[2]], core


def _absorbed(matrix: Matrix, subtree: Any) -> Any:
    """The matrix (p, r) goes into the core of the one subtree that is left."""
    nested, below, own = subtree
    if isinstance(nested, int):
        return nested, below, own @ matrix.T
    return nested, below, einsum("pr,rab->pab", matrix, own)


@jax.named_scope("ht.elements")
def elements(
    x: HTTensor, indices: Int[Array, "*batch d"] | Int[np.ndarray, "*batch d"]
) -> Inexact[Array, "*batch"]:
    """Single elements, for a batch of multi-indices.

    Args:
        x: the tensor.
        indices: one multi-index in each row; what is out of range is clipped, as in JAX.

    Raises:
        ValueError: the last axis is not d.
        TypeError: the indices are not integers.

    >>> from ht_jax.tensor import ones
    >>> elements(ones((2, 3)), np.array([[0, 0], [1, 2]])).tolist()
    [1.0, 1.0]
    """
    indices = as_array(indices)
    if indices.shape[-1:] != (x.ndim,):
        raise ValueError(f"indices of shape {indices.shape} need {x.ndim} columns, one a mode")
    if not np.issubdtype(indices.dtype, np.integer):
        raise TypeError(f"indices have dtype {indices.dtype}: integers are needed")
    batch, flat = indices.shape[:-1], indices.reshape(-1, x.ndim)
    cores, rows = with_root_axis(x.cores, x.tree), {}
    for node in x.tree.nodes:
        if x.tree.is_leaf(node):
            rows[node] = cores[node][flat[:, x.tree.modes(node)[0]]]
        else:
            left, right = (rows.pop(child) for child in x.tree.children(node))
            core = cores[node]
            half = (left @ core.transpose(1, 0, 2).reshape(core.shape[1], -1)).reshape(
                -1, core.shape[0], core.shape[2]
            )
            rows[node] = einsum("bpr,br->bp", half, right)
    return rows[x.tree.root][:, 0].reshape(batch)


def permute(x: HTTensor, order: Sequence[int]) -> HTTensor:
    """The modes in another order, as `numpy.transpose`; the cores only change their names.

    Raises:
        ValueError: `order` is not a permutation of the modes.

    >>> from ht_jax.tensor import ones
    >>> permute(ones((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    order = [_mode(x, k) for k in order]
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"{order} is not a permutation of the modes 0 to {x.ndim - 1}")
    to = {old: new for new, old in enumerate(order)}

    tree = x.tree.renamed(to)
    # nodes of both trees come in the same order: children first, left before right
    cores = {new: x.cores[old] for old, new in zip(x.tree.nodes, tree.nodes)}
    return dataclasses.replace(x, cores=cores, tree=tree)


def squeeze(x: HTTensor, modes: Sequence[int] | None = None) -> HTTensor | Array:
    """The tensor without modes of size 1, all of them or the given ones.

    Raises:
        ValueError: a given mode is larger than 1.

    >>> from ht_jax.tensor import ones
    >>> squeeze(ones((2, 1, 3, 1))).shape, squeeze(ones((2, 1, 3, 1)), [1]).shape
    ((2, 3), (2, 3, 1))
    """
    if modes is None:
        modes = [k for k, n in enumerate(x.shape) if n == 1]
    for k in modes:
        if x.shape[_mode(x, k)] != 1:
            raise ValueError(f"mode {k} of shape {x.shape} cannot be squeezed: it is not 1")
    cores = with_root_axis(x.cores, x.tree)
    return contract_modes(x, {k % x.ndim: cores[f"leaf_{k % x.ndim}"][0] for k in modes})


def cat(tensors: Sequence[HTTensor], mode: int) -> HTTensor:
    """Tensors one behind the other along a mode; ranks add up.

    Raises:
        ValueError: the other modes or the trees differ.

    >>> from ht_jax.tensor import ones
    >>> cat([ones((2, 3)), ones((2, 4))], 1).shape
    (2, 7)
    """
    from ht_jax.tensor.arithmetic import add

    if not tensors:
        raise ValueError("cat needs at least one tensor")
    k = _mode(tensors[0], mode)
    sizes = [t.shape[k] for t in tensors]
    padded = []
    for n, tensor in enumerate(tensors):
        leaf = tensor.cores[f"leaf_{k}"]
        pads = [(sum(sizes[:n]), sum(sizes[n + 1 :]))] + [(0, 0)] * (leaf.ndim - 1)
        cores = {**tensor.cores, f"leaf_{k}": backend(leaf).pad(leaf, pads)}
        padded.append(dataclasses.replace(tensor, cores=cores))
    return add(*padded)
