"""The hierarchical SVD: a dense tensor into leaf frames and transfer tensors.

Every node projects the tensor that its predecessors left. These projections commute, and so
`X - P_n .. P_1 X` is a sum of orthogonal parts: the squared errors add up exactly, and what one
node does not spend, later ones may. The result lies in the frames of that pass, its truncation
too, so the squared error of the second adds to that of the first; there the ranks of all nodes are
chosen together (Grasedyck 2010, section 3; Kressner and Tobler 2014, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ht_jax.tensor import cores as _cores
from ht_jax.tensor.cores import Cores, rank, rank_bounds
from ht_jax.tensor.linalg import Matrix, adjoint, backend, is_traced, lower, on_host
from ht_jax.tensor.scale import Exponent, exponent_of, placed, shifted, widened
from ht_jax.tensor.sources import sum_of
from ht_jax.tensor.spectrum import Projector
from ht_jax.tensor.tolerance import Attempt, Limits, check_tolerance, kept
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
    max_rank: int | None = None,
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
        max_rank: bound on all ranks.
        ranks: bound on the rank of each node, by name; nodes that are absent have none.
        order: leaves to root is far cheaper; root to leaves makes the largest matrix first.
        key: randomized range finders (Halko, Martinsson and Tropp 2011, algorithm 4.4) where a
            rank is bounded; exact without it.

    Returns:
        The cores by node: leaves (n_k, r), transfer tensors (r, r_left, r_right), the root's
        without the first axis.

    Raises:
        ValueError: the number of axes is not the number of leaves, a value of `x` is not
            finite, `x` is traced where a tolerance is given, or its dtype does not resolve that.

    Warns:
        ToleranceWarning: a bound on the ranks does not allow the tolerance.

    >>> cores = hsvd(jnp.ones((2, 3, 4)), DimensionTree.balanced(3), tol=1e-4)
    >>> cores["leaf_2"].shape, cores["node_0_2"].shape
    ((4, 1), (1, 1))
    """
    if x.ndim != tree.num_modes:
        raise ValueError(f"x has {x.ndim} axes, but the tree {tree} has {tree.num_modes} leaves")
    limits = Limits(tol, abs_tol, max_rank, ranks)
    bounds = rank_bounds(tree, max_rank, ranks)
    if tol is not None or abs_tol is not None:
        check_tolerance(x, tol, abs_tol)
    scaled, exponent = _scaled(on_host(widened(x)))
    if tol is None and abs_tol is None:
        cores, _ = _pass(scaled, tree, Projector(bounds, None, key), order)
        cores = placed(cores, tree, exponent, x.dtype)
    else:
        cores = _within(scaled, int(exponent), tree, limits, bounds, x.dtype, order, key)
    return jax.tree.map(jnp.asarray, cores)


def _within(
    x: Matrix,
    exponent: int,
    tree: DimensionTree,
    limits: Limits,
    bounds: Mapping[str, int],
    dtype: Any,
    order: Order,
    key: Array | None,
) -> Cores:
    norm, eps = _norm(x), float(jnp.finfo(dtype).eps)
    allowed = max((limits.tol or 0.0) * norm, float(np.ldexp(limits.abs_tol or 0.0, -exponent)))
    if 0 < norm * eps > allowed:
        raise ValueError(
            f"abs_tol {limits.abs_tol} is below the resolution {eps:.1e} of {dtype} "
            f"times the norm {np.ldexp(norm, exponent):.1e} of x: use float64 or a larger abs_tol"
        )

    def attempt(share: float) -> Attempt:
        budget = (share * allowed) ** 2
        cores, spent = _projected(x, tree, budget, norm, bounds, order, key)
        cores, power, error, _ = truncated_within(
            sum_of([cores], tree), 0.0, math.sqrt(max(budget - spent, 0.0)), bounds
        )
        error = math.sqrt(spent + error**2 * max(norm**2 - spent, 0.0))
        rounding = eps * math.sqrt(sum(_cores.ranks(cores, tree).values()))
        cores = placed(cores, tree, power + exponent, dtype)
        if norm == 0:
            return Attempt(cores, 0.0, 1.0, 0.0)
        return Attempt(cores, error / norm, allowed / norm, rounding)

    def measured(cores: Cores) -> float:
        cores = placed(widened(cores), tree, -exponent)
        return _norm(_cores.to_dense(cores, tree) - x) / norm

    return kept(attempt, measured, limits)


def _projected(
    x: Matrix,
    tree: DimensionTree,
    budget: float,
    norm: float,
    bounds: Mapping[str, int],
    order: Order,
    key: Array | None,
) -> tuple[Cores, float]:
    """The first pass, and the squared error that it spent."""
    first = Projector(bounds, _FIRST**2 * budget, key, norm**2)
    cores, spent = _pass(x, tree, first, order)
    if spent > budget:  # the Gram matrices missed it: their error is that of the squares
        cores, spent = _pass(x, tree, Projector(bounds, _FIRST**2 * budget, key), order)
    return cores, spent


def _scaled(x: Matrix) -> tuple[Matrix, Exponent]:
    """A tensor whose squares neither overflow nor vanish, and the exponent it was freed of.

    Raises:
        ValueError: a value is known not to be finite.
    """
    if not is_traced(x):
        near = jnp.finfo(x.dtype).maxexp // 6
        if 2.0**-near < _norm(x) < 2.0**near:
            return x, 0  # one look at it: the largest entry takes two
        largest = float(abs(x).max())
        if not math.isfinite(largest):
            name = "nan" if math.isnan(largest) else "inf"
            raise ValueError(f"x holds {name}: every value must be finite")
    exponent = exponent_of(x)
    return shifted(x, -exponent), exponent


def _norm(x: Matrix) -> float:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
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
    size, traced = dict(zip(tree.leaves, x.shape)), is_traced(x)
    for n, node in enumerate(nodes):
        if not tree.is_leaf(node):
            x, open_nodes = _join(x, open_nodes, node, tree.children(node))
        axis = open_nodes.index(node)
        matrix = unfolding(x, axis)
        if traced and _is_whole(matrix, tree, nodes[n:], size, projector.bounds):
            frame, x = matrix, _identity(x, axis)
        else:
            frame = projector.frame(matrix, node, len(nodes) - n)
            x = _apply(frame, x, axis)
        cores[node] = _as_core(frame, tree, node, cores)
    left, right = tree.children(tree.root)
    cores[tree.root] = x if open_nodes == [left, right] else x.T
    return cores, projector.audited(x)


def _is_whole(matrix: Matrix, tree, nodes, size, bounds) -> bool:
    """Whether neither the first of some nodes nor those after it cut anything of a high matrix.

    Such a matrix A is its own frame, A = A 1: the derivative of that exists whatever the rank of A
    is, that of A = U (U^H A) only where the columns of A are independent.
    """
    rows, cols = matrix.shape

    def cut(node: str) -> bool:
        most = math.prod(size[f"leaf_{k}"] for k in tree.modes(node))
        return bounds.get(node, cols) < min(cols, most)

    return rows > cols and not any(cut(node) for node in nodes)


def _identity(x: Matrix, axis: int) -> Matrix:
    """The identity, in the place of a tensor of which one axis became a frame."""
    others = x.shape[:axis] + x.shape[axis + 1 :]
    eye = jnp.eye(math.prod(others), dtype=x.dtype).reshape(-1, *others)
    return jnp.moveaxis(eye, 0, axis)


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
