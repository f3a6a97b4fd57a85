"""Truncation: project every frame on its leading singular vectors.

With orthonormal frames, X^(t) = U_t L_t Q^H, so U_t S_t with the leading left singular vectors
S_t of the small L_t is the best frame, and the squared error is at most the sum of the squared
singular values dropped (Grasedyck 2010, theorem 3.11; Kressner and Tobler 2014, section 6.1).
The factors L_t go from the root to the leaves by QR: nothing is squared, so a tolerance of
1e-12 is kept in float64.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping

import jax
import numpy as np

from ht_jax.tensor.cores import Cores, rank, ranks, with_root_axis, without_root_axis
from ht_jax.tensor.linalg import (
    Matrix,
    backend,
    einsum,
    is_large,
    leading,
    leading_of_gram,
    lower,
    singular_values,
)
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
    size = ranks(cores, source.tree)
    bounds = {node: min(bounds.get(node, r), r) for node, r in size.items()}
    return projected(cores, source.tree, _frames(cores, source.tree, bounds))


def _frames(cores: Mapping[str, Matrix], tree: DimensionTree, bounds: Bounds) -> Cores:
    """The leading singular vectors of all nodes, by Gram matrices where these are good enough.

    Those take matrix products alone, a fraction of the time of QR and SVD (bench.py --suite
    decompose).
    """

    def exactly() -> Cores:
        return {n: leading(factor, bounds[n]) for n, factor in weights(cores, tree).items()}

    if not any(is_large(core.reshape(core.shape[0], -1)) for core in cores.values()):
        return exactly()
    scaled = {**cores, tree.root: _scaled(cores[tree.root])}
    frames, resolved = _frames_of_gramians(gramians(scaled, tree), bounds)
    if isinstance(resolved, jax.Array):
        return jax.lax.cond(resolved, lambda: frames, exactly)
    return frames if resolved else exactly()


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


def _scaled(root: Matrix) -> Matrix:
    """The root of a tensor whose squares neither overflow nor vanish."""
    largest = abs(root).max()
    return root / backend(root).where(largest > 0, largest, 1).astype(root.dtype)


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
    cores = projected(cores, tree, {n: leading(f, kept[n]) for n, f in factors.items()})
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
    return projected(cores, tree, {n: leading(f, min(f.shape)) for n, f in factors.items()})
