"""The hierarchical SVD: a dense tensor into leaf frames and transfer tensors.

Leaves to root, sequentially truncated: every node projects the tensor that its predecessors
left, so the squared errors add up exactly and what one node does not spend, later ones may
(Grasedyck 2010, section 3; Kressner and Tobler 2014, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ht_jax.tree import DimensionTree


def hsvd(
    x: Inexact[Array, "..."],
    tree: DimensionTree,
    *,
    tol: float | None = None,
    ranks: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """Decomposes a dense tensor over a dimension tree.

    Args:
        x: tensor with one axis for each leaf of `tree`.
        tree: the dimension tree.
        tol: relative Frobenius error to keep: the ranks come out as small as that allows.
            Their number depends on the values, so this runs outside of jit only.
        ranks: bound on the rank of each node, by name; nodes that are absent have none.

    Returns:
        The cores by node: leaves (n_k, r), transfer tensors (r, r_left, r_right), the root's
        without the first axis.

    Raises:
        ValueError: the number of axes is not the number of leaves, a value of `x` is not
            finite, or `tol` is below what the dtype of `x` can resolve.
    """
    if x.ndim != tree.num_modes:
        raise ValueError(f"x has {x.ndim} axes, but the tree {tree} has {tree.num_modes} leaves")
    budget = None if tol is None else _budget(x, tol)
    if tree.num_modes == 1:
        return {tree.root: x}
    open_nodes, cores = list(tree.leaves), {}
    nodes = [*tree.leaves, *(n for n in tree.inner if n != tree.root)]
    for n, node in enumerate(nodes):
        if not tree.is_leaf(node):
            x, open_nodes = _join(x, open_nodes, node, tree.children(node))
        axis = open_nodes.index(node)
        share = None if budget is None else budget / (len(nodes) - n)
        frame, x, spent = _project(x, axis, share, (ranks or {}).get(node))
        budget = None if budget is None else max(budget - spent, 0.0)
        cores[node] = _as_core(frame, tree, node, cores)
    left, right = tree.children(tree.root)
    cores[tree.root] = x if open_nodes == [left, right] else x.T
    return cores


def _budget(x: Array, tol: float) -> float:
    """Squared error that may be spent in all."""
    resolution = float(jnp.finfo(x.dtype).eps)
    if tol < resolution:
        raise ValueError(
            f"tol {tol} is below the resolution {resolution:.1e} of {x.dtype}: "
            "use float64 (jax.config.update('jax_enable_x64', True)) or a larger tol"
        )
    squared = float(jnp.vdot(x, x).real)
    if not jnp.isfinite(squared):
        raise ValueError("x holds values that are not finite (or whose squares overflow)")
    return squared * tol**2


def _join(x: Array, open_nodes: list[str], node: str, children: tuple[str, str]):
    """Makes one axis, the first, of the axes of two children."""
    axes = [open_nodes.index(child) for child in children]
    x = jnp.moveaxis(x, axes, (0, 1))
    rest = [n for n in open_nodes if n not in children]
    return x.reshape(-1, *x.shape[2:]), [node, *rest]


def _project(x: Array, axis: int, share: float | None, bound: int | None):
    """Projects one axis of `x` on its leading left singular vectors.

    Returns the frame (n, r), the projected tensor and the squared error that it costs.
    """
    matrix = jnp.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
    u, s, _ = jnp.linalg.svd(_reduced(matrix), full_matrices=False)
    rank = s.shape[0] if bound is None else min(bound, s.shape[0])
    if share is not None:
        tails = jnp.cumsum((s**2)[::-1])[::-1]  # tails[r]: squared error of keeping r
        rank = max(1, min(rank, int(jnp.sum(tails > share))))
    u = u[:, :rank]
    projected = jnp.moveaxis(jnp.tensordot(u.conj(), x, ((0,), (axis,))), 0, axis)
    spent = 0.0 if share is None else float(jnp.sum(s[rank:] ** 2))
    return u, projected, spent


def _reduced(matrix: Array) -> Array:
    """A square matrix with the left singular vectors and values of a wide one (QR first)."""
    rows, cols = matrix.shape
    return jnp.linalg.qr(matrix.T, mode="r").T if cols > rows else matrix


def _as_core(frame: Array, tree: DimensionTree, node: str, cores: dict[str, Array]) -> Array:
    if tree.is_leaf(node):
        return frame
    left, right = (_rank(cores[child], tree, child) for child in tree.children(node))
    return frame.reshape(left, right, -1).transpose(2, 0, 1)


def _rank(core: Array, tree: DimensionTree, node: str) -> int:
    return core.shape[-1] if tree.is_leaf(node) else core.shape[0]
