"""The hierarchical SVD: a dense tensor into leaf frames and transfer tensors.

Every node projects the tensor that its predecessors left, so the squared errors add up exactly
and what one node does not spend, later ones may; the ranks of all nodes are then chosen together
(Grasedyck 2010, section 3; Kressner and Tobler 2014, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ht_jax.tensor.cores import Cores, rank
from ht_jax.tensor.linalg import Matrix, adjoint, backend, is_traced, lower, on_host
from ht_jax.tensor.sources import sum_of
from ht_jax.tensor.spectrum import Projector
from ht_jax.tensor.truncation import truncated_within
from ht_jax.tree import DimensionTree

Order = Literal["leaves to root", "root to leaves"]
_FIRST = 0.3  # share of the tolerance that the pass over the dense tensor may use


def hsvd(
    x: Inexact[Array, ...],
    tree: DimensionTree,
    *,
    tol: float | None = None,
    abs_tol: float | None = None,
    ranks: Mapping[str, int] | None = None,
    order: Order = "leaves to root",
    key: Array | None = None,
) -> dict[str, Array]:
    """Decomposes a dense tensor over a dimension tree.

    Args:
        x: tensor with one axis for each leaf of `tree`.
        tree: the dimension tree.
        tol: relative Frobenius error to keep: the ranks come out as small as that allows.
            Their number depends on the values, so this runs outside of jit only.
        abs_tol: absolute Frobenius error to keep; with both, the larger error is allowed.
        ranks: bound on the rank of each node, by name; nodes that are absent have none.
        order: leaves to root is far cheaper; root to leaves makes the largest matrix first.
        key: randomized range finders (Halko, Martinsson and Tropp 2011, algorithm 4.4) where a
            rank is bounded; exact without it.

    Returns:
        The cores by node: leaves (n_k, r), transfer tensors (r, r_left, r_right), the root's
        without the first axis.

    Raises:
        ValueError: the number of axes is not the number of leaves, a value of `x` is not
            finite, or `tol` is below what the dtype of `x` can resolve, or `x` is traced.

    >>> cores = hsvd(jnp.ones((2, 3, 4)), DimensionTree.balanced(3), tol=1e-4)
    >>> cores["leaf_2"].shape, cores["node_0_2"].shape
    ((4, 1), (1, 1))
    """
    if x.ndim != tree.num_modes:
        raise ValueError(f"x has {x.ndim} axes, but the tree {tree} has {tree.num_modes} leaves")
    bounds = ranks or {}
    if tol is None and abs_tol is None:
        cores, _ = _pass(on_host(x), tree, Projector(bounds, None, key), order)
        return jax.tree.map(jnp.asarray, cores)
    check_tolerance(x, tol, abs_tol)
    cores = _within(on_host(x), tree, tol or 0.0, abs_tol or 0.0, bounds, order, key)
    return jax.tree.map(jnp.asarray, cores)


def check_tolerance(x: Array, tol: float | None, abs_tol: float | None) -> None:
    """Raises ValueError for a tolerance under a trace, not positive, or below the dtype's reach."""
    if is_traced(x):
        raise ValueError(
            f"tol={tol}, abs_tol={abs_tol}: x is traced, but the ranks depend on the values; "
            "call this outside of jit, vmap and grad, or give max_rank= or ranks= instead"
        )
    resolution = float(jnp.finfo(x.dtype).eps)
    if tol is not None and not tol >= resolution:
        raise ValueError(
            f"tol {tol} is below the resolution {resolution:.1e} of {x.dtype}: "
            "use float64 (jax.config.update('jax_enable_x64', True)) or a larger tol"
        )
    if abs_tol is not None and not abs_tol > 0:
        raise ValueError(f"abs_tol {abs_tol} is not positive")


def _within(
    x: Matrix,
    tree: DimensionTree,
    tol: float,
    abs_tol: float,
    bounds: Mapping[str, int],
    order: Order,
    key: Array | None,
) -> Cores:
    x, scale = _scaled(x)
    norm = _norm(x)
    error = max(tol * norm, abs_tol / scale)
    if 0 < norm * float(jnp.finfo(x.dtype).eps) > error:
        raise ValueError(
            f"abs_tol {abs_tol} is below the resolution {jnp.finfo(x.dtype).eps:.1e} of {x.dtype} "
            f"times the norm {norm * scale:.1e} of x: use float64 or a larger abs_tol"
        )
    # A hair less than all of it: the rounding of the sums must not exceed the tolerance.
    budget = error**2 * (1 - 1e-3)
    first = Projector(bounds, _FIRST**2 * budget, key, norm**2)
    cores, spent = _pass(x, tree, first, order)
    if spent > budget:  # the Gram matrices missed it: their error is that of the squares
        cores, spent = _pass(x, tree, Projector(bounds, _FIRST**2 * budget, key), order)
    rest = math.sqrt(max(budget - spent, 0.0))
    cores, _ = truncated_within(sum_of([cores], tree), 0.0, rest, bounds)
    return {**cores, tree.root: cores[tree.root] * np.asarray(scale, x.dtype)[()]}


def _scaled(x: Matrix) -> tuple[Matrix, float]:
    """A tensor whose squares neither overflow nor vanish, and what it was divided by."""
    norm = _norm(x)
    tiny = float(jnp.finfo(x.dtype).tiny) ** 0.5
    if math.isfinite(norm) and (norm > tiny * 1e3 * math.sqrt(max(x.size, 1))):
        return x, 1.0
    largest = float(abs(x).max())
    if not math.isfinite(largest):
        raise ValueError(
            f"x holds {'nan' if math.isnan(largest) else 'inf'}: every value must be finite"
        )
    if largest == 0.0:
        return x, 1.0
    scale = 2.0 ** math.floor(math.log2(largest))
    return x / np.asarray(scale, x.dtype)[()], scale


def _norm(x: Matrix) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        flat = x.reshape(-1)
        return math.sqrt(abs(float(backend(x).vdot(flat, flat).real)))


@jax.named_scope("ht.hsvd")
def _pass(
    x: Matrix, tree: DimensionTree, projector: Projector, order: Order
) -> tuple[Cores, float]:
    """One pass over the dense tensor; its cores and the squared error that it spent."""
    if tree.num_modes == 1:
        return {tree.root: x}, 0.0
    if order == "leaves to root":
        return _leaves_to_root(x, tree, projector)
    if order == "root to leaves":
        return _root_to_leaves(x, tree, projector)
    raise ValueError(f"order {order!r} is neither 'leaves to root' nor 'root to leaves'")


def _leaves_to_root(x: Matrix, tree: DimensionTree, projector: Projector) -> tuple[Cores, float]:
    open_nodes, cores = list(tree.leaves), {}
    nodes = [*tree.leaves, *(n for n in tree.inner if n != tree.root)]
    for n, node in enumerate(nodes):
        if not tree.is_leaf(node):
            x, open_nodes = _join(x, open_nodes, node, tree.children(node))
        axis = open_nodes.index(node)
        frame = projector.frame(unfolding(x, axis), node, len(nodes) - n)
        x = _apply(frame, x, axis)
        cores[node] = _as_core(frame, tree, node, cores)
    left, right = tree.children(tree.root)
    cores[tree.root] = x if open_nodes == [left, right] else x.T
    return cores, projector.audited(x)


def _root_to_leaves(x: Matrix, tree: DimensionTree, projector: Projector) -> tuple[Cores, float]:
    """Splits every frame U_t, weighted by its singular values, into U_left, U_right and B_t."""
    order = tree.modes(tree.root)
    size = dict(zip(order, (x.shape[k] for k in order)))
    frames, todo = {tree.root: x.transpose(order).reshape(-1, 1)}, len(tree.nodes) - 1
    factors, cores = {tree.root: backend(x).eye(1, dtype=x.dtype)}, {}
    for node in reversed(tree.inner):
        pair = tree.children(node)
        rows, cols = (math.prod(size[k] for k in tree.modes(child)) for child in pair)
        core = frames.pop(node).reshape(rows, cols, -1)  # U_t: (left modes, right modes, r)
        for axis, child in enumerate(pair):
            weighted = core @ factors[node]
            frames[child] = projector.frame(unfolding(weighted, axis), child, todo)
            core, todo = _apply(frames[child], core, axis), todo - 1
        weighted = core @ factors[node]
        factors |= {child: lower(unfolding(weighted, axis)) for axis, child in enumerate(pair)}
        cores[node] = core.transpose(2, 0, 1)
    cores |= {leaf: frames[leaf] for leaf in tree.leaves}
    cores[tree.root] = cores[tree.root][0]
    return {node: cores[node] for node in tree.nodes}, projector.spent


def unfolding(x: Matrix, axis: int) -> Matrix:
    """The matricization (n_axis, all others) of a tensor."""
    return backend(x).moveaxis(x, axis, 0).reshape(x.shape[axis], -1)


def _apply(frame: Matrix, x: Matrix, axis: int) -> Matrix:
    """`frame^H` (r, n) applied to one axis, as matrix products on the memory as it lies."""
    before, after = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    y = adjoint(frame) @ x.reshape(before, x.shape[axis], after)
    return y.reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])


def _join(x: Matrix, open_nodes: list[str], node: str, children: tuple[str, str]):
    """Makes one axis, the first, of the axes of two children."""
    axes = [open_nodes.index(child) for child in children]
    x = backend(x).moveaxis(x, axes, (0, 1))
    rest = [n for n in open_nodes if n not in children]
    return x.reshape(-1, *x.shape[2:]), [node, *rest]


def _as_core(frame: Matrix, tree: DimensionTree, node: str, cores: Cores) -> Matrix:
    if tree.is_leaf(node):
        return frame
    left, right = (rank(cores[child], tree, child) for child in tree.children(node))
    return frame.reshape(left, right, -1).transpose(2, 0, 1)
