"""Truncation: project every frame on its leading singular vectors.

With orthonormal frames, X^(t) = U_t L_t Q^H, so U_t S_t with the leading left singular vectors
S_t of the small L_t is the best frame, and the squared error is at most the sum of the squared
singular values dropped (Grasedyck 2010, theorem 3.11; Kressner and Tobler 2014, section 6.1).
The factors L_t go from the root to the leaves by QR: nothing is squared, so a tolerance of
1e-12 is kept in float64.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np

from ht_jax.tensor.cores import Cores, rank, ranks, with_root_axis, without_root_axis
from ht_jax.tensor.linalg import Matrix, einsum, leading, lower, singular_values
from ht_jax.tensor.sources import Source, orthogonal_cores, sum_of
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


def truncated_cores(source: Source, bounds: Bounds) -> Cores:
    """The cores of a source, with ranks that are bounded by name; traceable."""
    cores = orthogonal_cores(source)
    return projected(cores, source.tree, weights(cores, source.tree), bounds)


@jax.named_scope("ht.truncate")
def projected(
    cores: Mapping[str, Matrix], tree: DimensionTree, factors: Mapping[str, Matrix], bounds: Bounds
) -> Cores:
    """Cores with orthonormal frames, projected on the leading singular vectors of each node."""
    size = ranks(cores, tree)
    bounds = {node: min(bounds.get(node, size[node]), size[node]) for node in size}
    frames = {node: leading(factors[node], bounds[node]) for node in size}
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
    source: Source, relative: float, absolute: float, bounds: Bounds
) -> tuple[Cores, float]:
    """The cores of a source, with ranks as small as an error allows; not traceable.

    Args:
        source: the tensor.
        relative, absolute: bounds on the Frobenius error; the larger of the two errors counts.
        bounds: bounds on ranks by name; they win over the error.

    Returns:
        The cores and a bound on the squared error.
    """
    tree = source.tree
    cores = orthogonal_cores(source)
    factors = weights(cores, tree)
    values = {node: np.asarray(singular_values(factor)) for node, factor in factors.items()}
    if not values:
        return cores, 0.0
    kept, spent = chosen_ranks(values, tree, relative, absolute, bounds)
    cores = projected(cores, tree, factors, kept)
    return (cores if _consistent(cores, tree) else _tightened(cores, tree)), spent


def chosen_ranks(
    values: Mapping[str, np.ndarray],
    tree: DimensionTree,
    relative: float,
    absolute: float,
    bounds: Bounds,
) -> tuple[dict[str, int], float]:
    """The smallest ranks whose dropped singular values, of all nodes in one pool, stay in budget.

    The two children of the root share their singular values and their error, so one counts.
    """
    twin = tree.children(tree.root)[1]
    squares = {n: s.astype(np.float64) ** 2 for n, s in values.items()}
    total = squares[twin].sum()
    kept = {n: min(len(s), bounds.get(n, len(s))) for n, s in squares.items()}
    kept[tree.children(tree.root)[0]] = kept[twin] = min(kept[n] for n in tree.children(tree.root))
    spent = sum(squares[n][r:].sum() for n, r in kept.items() if n != twin)
    budget = max(relative**2 * total, absolute**2)
    pool = [(s, n) for n in kept if n != twin for s in squares[n][1 : kept[n]]]
    for square, node in sorted(pool):
        if spent + square > budget:
            break
        spent += square
        kept[node] -= 1
    kept[twin] = min(kept[tree.children(tree.root)[0]], len(values[twin]))
    return kept, float(spent)


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
    factors = weights(cores, tree)
    return projected(cores, tree, factors, {n: min(f.shape) for n, f in factors.items()})
