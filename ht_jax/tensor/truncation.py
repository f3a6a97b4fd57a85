"""Truncation: project every frame on its leading singular vectors.

With orthonormal frames, X^(t) = U_t L_t Q^H, so U_t S_t with the leading left singular vectors
S_t of the small L_t is the best frame. The projections P_t are applied from the root to the leaves,
and |X - P Y|^2 = |X - P X|^2 + |P (X - Y)|^2, so that by induction the squared error is at most
`sum_t |X - P_t X|^2`, the squared singular values dropped at all nodes (Grasedyck 2010, theorem
3.11; Kressner and Tobler 2014, section 6.1). One child of the root counts: the frame of the other
one spans what the first has left, P_r P_l X = P_l X, whichever vectors of a plateau P_l keeps.

The factors L_t go from the root to the leaves by QR: nothing is squared, so a tolerance of
1e-12 is kept in float64.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping

import jax
import numpy as np

from ht_jax.tensor.cores import Cores, rank, ranks, with_root_axis, without_root_axis
from ht_jax.tensor.linalg import (
    Matrix,
    adjoint,
    backend,
    einsum,
    is_large,
    leading,
    leading_of_gram,
    lower,
    orthonormal_rows,
    singular_values,
)
from ht_jax.tensor.scale import Exponent
from ht_jax.tensor.sources import Source, orthogonal_cores, sum_of, unit_cores
from ht_jax.tree import DimensionTree

Bounds = Mapping[str, int]


@jax.named_scope("ht.weights")
def weights(cores: Mapping[str, Matrix], tree: DimensionTree) -> Cores:
    """The factors L_t of all nodes but the root, of cores with orthonormal frames.

    L_t L_t^H is the reduced Gramian of Grasedyck 2010: its eigenvalues are the squared singular
    values of the matricization X^(t).
    """
    factors = {}
    for node in reversed(tree.inner):
        left, right = tree.children(node)
        core = cores[node][None] if node == tree.root else cores[node]
        if node != tree.root:
            core = einsum("tlr,tq->qlr", core, factors[node])
        factors[left] = lower(core.transpose(1, 0, 2).reshape(core.shape[1], -1))
        factors[right] = lower(core.transpose(2, 0, 1).reshape(core.shape[2], -1))
    return factors


def truncated_cores(source: Source, bounds: Bounds) -> tuple[Cores, Exponent]:
    """The cores of a source, with ranks that are bounded by name, and its exponent; traceable."""
    cores, exponent = unit_cores(source)
    check_finite(cores[source.tree.root])
    bounds = _own_bounds(cores, source.tree, bounds)
    return projected(cores, source.tree, _frames(cores, source.tree, bounds)), exponent


def check_finite(root: Matrix) -> None:
    """Raises ValueError if the norm of a tensor is infinite or nan, and known."""
    if isinstance(root, np.ndarray) and not np.isfinite(root).all():
        raise ValueError("the tensor holds values that are not finite")


def _own_bounds(cores: Mapping[str, Matrix], tree: DimensionTree, bounds: Bounds) -> Bounds:
    """A bound for every node, none above what `weights` can use; the same for the root's two."""
    size, used = ranks(cores, tree), {tree.root: 1}
    for node in reversed(tree.inner):
        left, right = tree.children(node)
        used[left] = min(size[left], used[node] * size[right])
        used[right] = min(size[right], used[node] * size[left])
    found = {node: min(bounds.get(node, r), used[node]) for node, r in size.items()}
    if tree.inner:
        pair = tree.children(tree.root)
        found |= dict.fromkeys(pair, min(found[child] for child in pair))
    return found


def _frames(cores: Mapping[str, Matrix], tree: DimensionTree, bounds: Bounds) -> Cores:
    """The leading singular vectors of all nodes, by Gram matrices where these are good enough.

    Those take matrix products alone, a fraction of the time of QR and SVD (bench.py --suite
    decompose).
    """

    def exactly() -> Cores:
        return _paired(cores, tree, _leading_of(weights(cores, tree), bounds, tree))

    if not any(is_large(core.reshape(core.shape[0], -1)) for core in cores.values()):
        return exactly()
    squared = gramians(cores, tree)
    del squared[tree.children(tree.root)[1]]
    frames, resolved = _frames_of_gramians(squared, bounds)
    frames = _paired(cores, tree, frames)
    if isinstance(resolved, jax.Array):
        return jax.lax.cond(resolved, lambda: frames, exactly)
    return frames if resolved else exactly()


def _leading_of(factors: Mapping[str, Matrix], kept: Bounds, tree: DimensionTree) -> Cores:
    """The leading singular vectors of all nodes but the second child of the root."""
    twin = tree.children(tree.root)[1] if tree.inner else None
    return {node: leading(f, kept[node]) for node, f in factors.items() if node != twin}


def _paired(cores: Mapping[str, Matrix], tree: DimensionTree, frames: Cores) -> Cores:
    """The frames, with that of the root's second child: all that the first one's has left."""
    if not tree.inner:
        return frames
    left, right = tree.children(tree.root)
    _, rows = orthonormal_rows(adjoint(frames[left]) @ cores[tree.root])
    return {**frames, right: rows.T}


def _frames_of_gramians(squared: Cores, bounds: Bounds) -> tuple[Cores, Matrix]:
    """The leading eigenvectors of all nodes, nodes of one size together, and if they serve."""
    alike: dict[tuple[int, int], list[str]] = {}
    for node, matrix in squared.items():
        alike.setdefault((len(matrix), bounds[node]), []).append(node)
    frames, resolved = {}, []
    for (_, bound), nodes in alike.items():
        matrices = [squared[node] for node in nodes]
        found, good = leading_of_gram(backend(*matrices).stack(matrices), bound)
        frames |= dict(zip(nodes, found))
        resolved.append(good.all())
    return frames, functools.reduce(operator.and_, resolved)


@jax.named_scope("ht.gramians")
def gramians(cores: Mapping[str, Matrix], tree: DimensionTree) -> Cores:
    """The matrices `L_t L_t^H` of all nodes but the root, of cores with orthonormal frames."""
    found = {}
    for node in reversed(tree.inner):
        left, right = tree.children(node)
        core = cores[node][None] if node == tree.root else cores[node]
        turned = core if node == tree.root else einsum("tlr,ts->slr", core, found[node])
        found[left] = einsum("slr,smr->lm", turned, core.conj())
        found[right] = einsum("slr,slq->rq", turned, core.conj())
    return found


@jax.named_scope("ht.truncate")
def projected(
    cores: Mapping[str, Matrix], tree: DimensionTree, frames: Mapping[str, Matrix]
) -> Cores:
    """Cores with orthonormal frames, projected on a subspace (r, r_new) at each node."""
    result = with_root_axis(cores, tree)
    for node in tree.nodes:
        frame = frames.get(node)
        if tree.is_leaf(node):
            result[node] = result[node] if frame is None else result[node] @ frame
            continue
        left, right = (frames[child].conj() for child in tree.children(node))
        core = einsum("tlr,lm,rn->tmn", result[node], left, right)
        result[node] = core if frame is None else einsum("tmn,tp->pmn", core, frame)
    return without_root_axis(result, tree)


def truncated_within(
    source: Source, relative: float, absolute: float, bounds: Bounds, share: float = 1.0
) -> tuple[Cores, Exponent, float, float]:
    """The cores of a source, with ranks as small as an error allows; not traceable.

    Args:
        source: the tensor.
        relative, absolute: bounds on the Frobenius error; the larger of the two errors counts.
        bounds: bounds on ranks by name; they win over the error.
        share: of the error that may be used.

    Returns:
        The cores, the exponent of the tensor, and, relative to its norm, a bound on the error and
        what was allowed.

    Raises:
        ValueError: values that are not finite.
    """
    tree = source.tree
    cores, exponent = unit_cores(source)
    check_finite(np.asarray(cores[tree.root]))
    if not tree.inner:
        return cores, exponent, 0.0, math.inf
    factors = weights(cores, tree)
    values = {node: np.asarray(singular_values(factor)) for node, factor in factors.items()}
    total = float((values[tree.children(tree.root)[0]].astype(np.float64) ** 2).sum())
    allowed = max(relative**2 * total, float(np.ldexp(absolute, -int(exponent))) ** 2)
    bounds = _own_bounds(cores, tree, bounds)
    ranks, spent = chosen_ranks(values, tree, share**2 * allowed, bounds)
    cores = projected(cores, tree, _paired(cores, tree, _leading_of(factors, ranks, tree)))
    cores = cores if _consistent(cores, tree) else _tightened(cores, tree)
    error, most = (math.sqrt(e / total) if total > 0 else 0.0 for e in (spent, allowed))
    return cores, exponent, error, most


def chosen_ranks(
    values: Mapping[str, np.ndarray], tree: DimensionTree, budget: float, bounds: Bounds
) -> tuple[dict[str, int], float]:
    """The smallest ranks whose dropped singular values, of all nodes in one pool, stay in budget.

    The two children of the root share their singular values and their error, so one counts.
    Returns the ranks, and the squared error.
    """
    first, twin = tree.children(tree.root)
    squares = {n: s.astype(np.float64) ** 2 for n, s in values.items() if n != twin}
    kept = {n: min(len(s), bounds[n]) for n, s in squares.items()}
    spent = float(sum(squares[n][r:].sum() for n, r in kept.items()))
    pool = [(s, n) for n in kept for s in squares[n][1 : kept[n]]]
    for square, node in sorted(pool):
        if spent + square > budget:
            break
        spent += float(square)
        kept[node] -= 1
    return {**kept, twin: kept[first]}, spent


def _consistent(cores: Cores, tree: DimensionTree) -> bool:
    """Whether no rank exceeds the product of the two others at its node."""
    for node in tree.inner:
        left, right = (rank(cores[child], tree, child) for child in tree.children(node))
        own = rank(cores[node], tree, node)
        if own > left * right or left > own * right or right > own * left:
            return False
    return True


def _tightened(cores: Cores, tree: DimensionTree) -> Cores:
    """The same tensor, without what its neighbours' projections have emptied."""
    cores = orthogonal_cores(sum_of([cores], tree))
    frames = _leading_of(weights(cores, tree), _own_bounds(cores, tree, {}), tree)
    return projected(cores, tree, _paired(cores, tree, frames))
