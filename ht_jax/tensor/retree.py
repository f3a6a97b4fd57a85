"""Other roots and other dimension trees for the same tensor.

Without its root a dimension tree is a network of three-legged tensors. Two neighbours contracted
and split the other way (a, c | f, g -> a, g | c, f) exchange two subtrees, and such exchanges turn
any tree into any other; with the norm in the two, the singular values of the split are the error.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ht_jax.tensor.exchange import SHARE, exchanged
from ht_jax.tensor.ht_tensor import HTTensor, as_tree
from ht_jax.tensor.linalg import Matrix, backend, einsum, on_host
from ht_jax.tensor.sources import orthogonal_cores, sum_of
from ht_jax.tensor.tolerance import check_tolerance
from ht_jax.tensor.truncate import truncate
from ht_jax.tree import DimensionTree, Nested


def change_root(x: HTTensor, node: str) -> HTTensor:
    """The same tensor with `node` as one of the two children of the root; exact, traceable.

    Args:
        x: the tensor.
        node: a node below the root; the other child of the new root holds all other modes.

    Raises:
        ValueError: there is no such node, or it is the root.

    >>> from ht_jax.tensor import ones
    >>> change_root(ones((2, 3, 4)), "leaf_0").tree
    DimensionTree((0, (1, 2)))
    """
    tree = x.tree
    parent = {child: inner for inner in tree.inner for child in tree.children(inner)}
    if node not in parent:
        raise ValueError(f"{node!r} is not a node below the root of {tree}")
    if parent[node] == tree.root:
        return x
    below = _subtree(x, node)
    above = _complement(x, node, parent)
    eye = backend(x.cores[node]).eye(x.ranks[node], dtype=x.dtype)
    new = DimensionTree((below[0], above[0]))
    return HTTensor(dict(zip(new.nodes, [*below[1], *above[1], eye])), new)


def _subtree(x: HTTensor, node: str) -> tuple[Nested, list[Matrix]]:
    """A node's nested tree, and the cores of it and of what is below it, in the order of nodes."""
    if x.tree.is_leaf(node):
        return x.tree.modes(node)[0], [x.cores[node]]
    left, right = (_subtree(x, child) for child in x.tree.children(node))
    return (left[0], right[0]), [*left[1], *right[1], x.cores[node]]


def _complement(x: HTTensor, node: str, parent: dict[str, str]) -> tuple[Nested, list[Matrix]]:
    """All but a node's modes, as a subtree whose frame has the node's rank."""
    tree, above = x.tree, parent[node]
    left, right = tree.children(above)
    is_left, sibling = node == left, right if node == left else left
    nested, cores = _subtree(x, sibling)
    core = x.cores[above]
    if above == tree.root:
        matrix = core if is_left else core.T  # (node, sibling)
        own = cores[-1] @ matrix.T if tree.is_leaf(sibling) else _turned(matrix, cores[-1])
        return nested, [*cores[:-1], own]
    outer, others = _complement(x, above, parent)
    own = core.transpose(1, 2, 0) if is_left else core.transpose(2, 1, 0)  # (node, sibling, above)
    return (nested, outer), [*cores, *others, own]


def _turned(matrix: Matrix, core: Matrix) -> Matrix:
    return einsum("ps,sab->pab", matrix, core)


def change_dimtree(
    x: HTTensor,
    tree: DimensionTree | Nested,
    *,
    tol: float | None = None,
    max_rank: int | None = None,
) -> HTTensor:
    """The tensor on another dimension tree.

    Args:
        x: the tensor.
        tree: the new tree.
        tol: relative Frobenius error to keep; without it, only what is below the resolution of
            the dtype is cut.
        max_rank: bound on the ranks; with it, and without `tol`, this can be traced.

    Raises:
        ValueError: the tree has another number of modes, or `x` is traced without `max_rank`.

    Source: exchanges of neighbouring subtrees, as in the change_dimtree of the htucker toolbox,
    but for any two trees.

    >>> from ht_jax.tensor import ones
    >>> change_dimtree(ones((2, 3, 4)), ((0, 2), 1)).ranks
    {'leaf_0': 1, 'leaf_2': 1, 'node_0__2': 1, 'leaf_1': 1}
    """
    tree = as_tree(tree, x.ndim)
    if tol is not None or max_rank is None:
        check_tolerance(x.cores[x.tree.root], tol, None)
    if tree == x.tree:
        return x if tol is max_rank is None else truncate(x, tol=tol, max_rank=max_rank)
    cores = orthogonal_cores(sum_of([on_host(x.cores)], x.tree))
    bound = None if tol is not None else max_rank
    moved = HTTensor(exchanged(cores, x.tree, tree, tol or 0.0, bound), tree)
    if tol is max_rank is None:
        return jax.tree.map(jnp.asarray, moved)
    rest = None if tol is None else tol * math.sqrt(1 - SHARE)
    return truncate(moved, tol=rest, max_rank=max_rank)
