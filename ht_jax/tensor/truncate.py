"""Truncation of tensors, sums, products and CP tensors to a tolerance or to given ranks.

Sums, products and CP tensors are orthogonalised as they are, without the large transfer tensors
that forming them would take (Kressner and Tobler 2014, section 6).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ht_jax.tensor.arithmetic import (
    check_alike,
    product_of,
    scaled_gramians,
    unit_norm,
)
from ht_jax.tensor.cores import Cores, rank_bounds, ranks, with_root_axis
from ht_jax.tensor.ht_tensor import HTTensor, as_tree
from ht_jax.tensor.linalg import Matrix, backend, einsum, is_traced, on_host
from ht_jax.tensor.linalg import singular_values as _values
from ht_jax.tensor.scale import Exponent, placed, shifted, unit, widened
from ht_jax.tensor.sources import (
    CPSum,
    Source,
    Sum,
    cp_factors,
    orthogonal_cores,
    sum_of,
    unit_cores,
)
from ht_jax.tensor.tolerance import Attempt, Limits, check_tolerance, kept
from ht_jax.tensor.tolerance import ToleranceWarning as ToleranceWarning
from ht_jax.tensor.truncation import truncated_cores, truncated_within, weights
from ht_jax.tree import DimensionTree, Nested


def truncated(source: Source, arrays: Any, limits: Limits) -> HTTensor:
    """Truncates a source that is made of `arrays`, to their dtype."""
    tree, dtype = source.tree, jnp.result_type(*jax.tree.leaves(arrays))
    bounds = rank_bounds(tree, limits.max_rank, limits.ranks)
    if limits.tol is None and limits.abs_tol is None:
        cores, exponent = truncated_cores(source, bounds)
        cores = placed(cores, tree, exponent, dtype)
    else:
        for leaf in jax.tree.leaves(arrays):
            check_tolerance(leaf, limits.tol, limits.abs_tol)
        cores = _within(source, dtype, limits, bounds)
    return HTTensor(jax.tree.map(jnp.asarray, cores), tree)


def _within(source: Source, dtype: Any, limits: Limits, bounds: Mapping[str, int]) -> Cores:
    tree = source.tree

    def attempt(share: float) -> Attempt:
        tolerances = limits.tol or 0.0, limits.abs_tol or 0.0
        cores, exponent, error, allowed = truncated_within(source, *tolerances, bounds, share)
        rounding = float(jnp.finfo(dtype).eps) * math.sqrt(sum(ranks(cores, tree).values()))
        return Attempt(placed(cores, tree, exponent, dtype), error, allowed, rounding)

    return kept(attempt, lambda cores: _missed(source, cores), limits)


def _missed(source: Source, cores: Cores) -> float:
    """The error of a truncated tensor, relative to the norm of the source."""
    tree = source.tree
    if not isinstance(source, Sum):
        source = sum_of([orthogonal_cores(source)], tree)
    minus = with_root_axis(widened(cores), tree)
    minus[tree.root] = -minus[tree.root]
    (size, e), (error, k) = map(unit_norm, (source, Sum([*source.terms, minus], tree)))
    return math.ldexp(float(error / size), int(k) - int(e)) if size else 0.0


def truncate(
    x: HTTensor,
    *,
    tol: float | None = None,
    abs_tol: float | None = None,
    max_rank: int | None = None,
    ranks: Mapping[str, int] | None = None,
) -> HTTensor:
    """The tensor with smaller ranks.

    Args:
        x: the tensor.
        tol: relative Frobenius error to keep, with ranks as small as that allows.
        abs_tol: absolute Frobenius error; with both, the larger error is allowed.
        max_rank: bound on all ranks; static: with bounds alone it works under jit, vmap and grad.
        ranks: bounds by node name, likewise.

    Returns:
        A tensor whose frames, but for the projection, are orthonormal. The error is at most
        sqrt(2 d - 3) times that of the best tensor with these ranks. Under a trace, bounds that
        cut nothing leave the tensor as it is: the derivative is the identity's.

    Raises:
        ValueError: a tolerance under a trace or below the dtype's reach, an unknown node, a rank
            below 1, values that are not finite.

    Warns:
        ToleranceWarning: a bound on the ranks does not allow the tolerance.

    The derivative exists where a gap follows the singular values kept, at every node, and where
    the frames of `x` have full rank (orthogonalise a sum eagerly first); it does not depend on
    the gauge. Where a gap is closed, the part that does not exist is left out.

    Source: Grasedyck 2010, theorem 3.11; Kressner and Tobler 2014, section 6.1.

    >>> from ht_jax.tensor import ones
    >>> truncate(ones((2, 3, 4)) + ones((2, 3, 4)), tol=1e-5).ranks
    {'leaf_0': 1, 'leaf_1': 1, 'node_0_1': 1, 'leaf_2': 1}
    """
    bounds = rank_bounds(x.tree, max_rank, ranks)
    whole = all(bounds.get(node, rank) >= rank for node, rank in x.ranks.items())
    if whole and tol is None and abs_tol is None and is_traced(x.cores):
        return x
    return truncate_sum([x], tol=tol, abs_tol=abs_tol, max_rank=max_rank, ranks=ranks)


def truncate_sum(
    terms: Sequence[HTTensor],
    *,
    tol: float | None = None,
    abs_tol: float | None = None,
    max_rank: int | None = None,
    ranks: Mapping[str, int] | None = None,
) -> HTTensor:
    """A truncated sum, without forming the sum: see `truncate`.

    Source: Kressner and Tobler 2014, section 6.3 (as a block structure kept through the QR).

    >>> from ht_jax.tensor import ones
    >>> float(truncate_sum([ones((2, 3))] * 5, tol=1e-5)[1, 2])
    5.0
    """
    for term in terms[1:]:
        check_alike(terms[0], term)
    arrays, limits = on_host([term.cores for term in terms]), Limits(tol, abs_tol, max_rank, ranks)
    return truncated(sum_of(widened(arrays), terms[0].tree), arrays, limits)


def truncate_product(
    x: HTTensor,
    y: HTTensor,
    *,
    tol: float | None = None,
    abs_tol: float | None = None,
    max_rank: int | None = None,
    ranks: Mapping[str, int] | None = None,
) -> HTTensor:
    """A truncated element-wise product, without forming the Kronecker products: see `truncate`.

    >>> from ht_jax.tensor import ones
    >>> float(truncate_product(ones((2, 3)), 2 * ones((2, 3)), max_rank=1)[0, 0])
    2.0
    """
    arrays, limits = on_host((x, y)), Limits(tol, abs_tol, max_rank, ranks)
    return truncated(product_of(*widened(arrays)), arrays, limits)


def truncate_cp(
    factors: Sequence[Inexact[Array, "n r"]],
    weights: Inexact[Array, " r"] | None = None,
    *,
    tree: DimensionTree | Nested | None = None,
    tol: float | None = None,
    abs_tol: float | None = None,
    max_rank: int | None = None,
    ranks: Mapping[str, int] | None = None,
) -> HTTensor:
    """A truncated CP tensor, without forming its superdiagonal transfer tensors: see `truncate`.

    Args:
        factors: one matrix (n_k, r) a mode.
        weights: factors (r,) of the terms, ones unless given.
        tree: dimension tree, balanced unless given.

    Source: Kressner and Tobler 2014, section 6.2.

    >>> t = truncate_cp([jnp.ones((n, 20)) for n in (2, 3, 4)], tol=1e-5)
    >>> t.ranks["leaf_2"], float(t[0, 0, 0])
    (1, 20.0)
    """
    tree = as_tree(tree, len(factors))
    arrays = on_host(cp_factors(factors, weights))
    return truncated(CPSum(widened(arrays), tree), arrays, Limits(tol, abs_tol, max_rank, ranks))


def singular_values(x: HTTensor) -> dict[str, Float[Array, " r"]]:
    """Singular values of every matricization X^(t), largest first, by node below the root.

    >>> from ht_jax.tensor import ones
    >>> float(singular_values(ones((2, 3, 6)))["leaf_1"][0])
    6.0
    """
    cores, exponent = unit_cores(sum_of([widened(on_host(x.cores))], x.tree))
    found = {n: shifted(_values(f), exponent) for n, f in weights(cores, x.tree).items()}
    return {n: jnp.asarray(values).astype(jnp.finfo(x.dtype).dtype) for n, values in found.items()}


@jax.named_scope("ht.gramians")
def reduced_gramians(x: HTTensor) -> dict[str, Inexact[Array, "r r"]]:
    """The matrices G_t with X^(t) X^(t)^H = U_t G_t U_t^H, for the frames as they are.

    Where the frames are orthonormal, their eigenvalues are the squared singular values.

    Source: Grasedyck 2010, lemma 4.6; Kressner and Tobler 2014, section 5.3.

    >>> from ht_jax.tensor import ones
    >>> reduced_gramians(ones((2, 3)))["leaf_0"].tolist()
    [[3.0]]
    """
    found = unit_reduced_gramians(x).items()
    return {node: jnp.asarray(shifted(g, e)).astype(x.dtype) for node, (g, e) in found}


def unit_reduced_gramians(x: HTTensor) -> dict[str, tuple[Matrix, Exponent]]:
    """`reduced_gramians`, divided by powers of two, and the exponents of these."""
    tree, cores = x.tree, with_root_axis(widened(x.cores), x.tree)
    below, exponents = scaled_gramians(cores, cores, tree)
    above = {tree.root: (backend(*cores.values()).ones((1, 1), cores[tree.root].dtype), 0)}
    for node in reversed(tree.inner):
        left, right = tree.children(node)
        core, power = unit(cores[node])
        turned, power = einsum("slr,st->tlr", core, above[node][0]), above[node][1] + 2 * power
        for child, other, legs in (left, right, "tlr,tmq,rq->lm"), (right, left, "tlr,tmq,lm->rq"):
            gramian, own = unit(einsum(legs, turned, core.conj(), below[other].conj()))
            above[child] = gramian, own + power + exponents[other]
    return {node: above[node] for node in tree.nodes if node != tree.root}
