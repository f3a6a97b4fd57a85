"""Truncation of tensors, sums, products and CP tensors to a tolerance or to given ranks.

Sums, products and CP tensors are orthogonalised as they are, without the large transfer tensors
that forming them would take (Kressner and Tobler 2014, section 6).
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ht_jax.tensor.arithmetic import check_alike, cross_gramians, product_of
from ht_jax.tensor.cores import Cores, rank_bounds, with_root_axis
from ht_jax.tensor.hsvd import check_tolerance
from ht_jax.tensor.ht_tensor import HTTensor, as_tree
from ht_jax.tensor.linalg import backend, einsum, on_host
from ht_jax.tensor.linalg import singular_values as _values
from ht_jax.tensor.sources import CPSum, Source, cp_factors, orthogonal_cores, sum_of
from ht_jax.tensor.truncation import truncated_cores, truncated_within, weights
from ht_jax.tree import DimensionTree, Nested


class ToleranceWarning(UserWarning):
    """A bound on the ranks did not allow the tolerance.

    Example:
        >>> import ht_jax as ht, jax, warnings
        >>> t = ht.tensor.random(jax.random.key(0), (4, 4, 4), 3)
        >>> with warnings.catch_warnings(record=True, action="always") as told:
        ...     _ = truncate(t, tol=1e-3, max_rank=1)
        >>> print(told[0].message)
        max_rank=1, ranks=None allow an error of ... only, above the ... asked for
    """


@dataclasses.dataclass(frozen=True)
class Limits:
    """How far to truncate: see `truncate`."""

    tol: float | None = None
    abs_tol: float | None = None
    max_rank: int | None = None
    ranks: Mapping[str, int] | None = None

    def apply(self, source: Source, arrays: Any) -> HTTensor:
        """Truncates a source that is made of `arrays`."""
        bounds = rank_bounds(source.tree, self.max_rank, self.ranks)
        if self.tol is None and self.abs_tol is None:
            cores = truncated_cores(source, bounds)
        else:
            for leaf in jax.tree.leaves(arrays):
                check_tolerance(leaf, self.tol, self.abs_tol)
            cores = self._within(source, bounds)
        return HTTensor(jax.tree.map(jnp.asarray, cores), source.tree)

    def _within(self, source: Source, bounds: Mapping[str, int]) -> Cores:
        relative, absolute = self.tol or 0.0, self.abs_tol or 0.0
        cores, spent = truncated_within(source, relative, absolute, bounds)
        kept = math.sqrt(float((abs(cores[source.tree.root]) ** 2).sum()))
        if not math.isfinite(kept):
            raise ValueError("the tensor holds values that are not finite")
        error = math.sqrt(spent)
        allowed = max(relative * math.hypot(kept, error), absolute)
        if error > allowed * (1 + 1e-6):
            warnings.warn(
                f"max_rank={self.max_rank}, ranks={self.ranks} allow an error of {error:.1e} "
                f"only, above the {allowed:.1e} asked for",
                ToleranceWarning,
                stacklevel=4,
            )
        return cores


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
        sqrt(2 d - 3) times that of the best tensor with these ranks.

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
    arrays = on_host([term.cores for term in terms])
    return Limits(tol, abs_tol, max_rank, ranks).apply(sum_of(arrays, terms[0].tree), arrays)


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
    x, y = on_host((x, y))
    return Limits(tol, abs_tol, max_rank, ranks).apply(product_of(x, y), (x, y))


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
    return Limits(tol, abs_tol, max_rank, ranks).apply(CPSum(arrays, tree), arrays)


def singular_values(x: HTTensor) -> dict[str, Float[Array, " r"]]:
    """Singular values of every matricization X^(t), largest first, by node below the root.

    >>> from ht_jax.tensor import ones
    >>> float(singular_values(ones((2, 3, 6)))["leaf_1"][0])
    6.0
    """
    cores = orthogonal_cores(sum_of([on_host(x.cores)], x.tree))
    return {n: jnp.asarray(_values(factor)) for n, factor in weights(cores, x.tree).items()}


@jax.named_scope("ht.gramians")
def reduced_gramians(x: HTTensor) -> dict[str, Inexact[Array, "r r"]]:
    """The matrices G_t with X^(t) X^(t)^H = U_t G_t U_t^H, for the frames as they are.

    Where the frames are orthonormal, their eigenvalues are the squared singular values.

    Source: Grasedyck 2010, lemma 4.6; Kressner and Tobler 2014, section 5.3.

    >>> from ht_jax.tensor import ones
    >>> reduced_gramians(ones((2, 3)))["leaf_0"].tolist()
    [[3.0]]
    """
    tree, cores = x.tree, with_root_axis(x.cores, x.tree)
    below = cross_gramians(cores, cores, tree)
    above = {tree.root: backend(*cores.values()).ones((1, 1), x.dtype)}
    for node in reversed(tree.inner):
        left, right = tree.children(node)
        core = cores[node]
        turned = einsum("slr,st->tlr", core, above[node])
        above[left] = einsum("tlr,tmq,rq->lm", turned, core.conj(), below[right].conj())
        above[right] = einsum("tlr,tmq,lm->rq", turned, core.conj(), below[left].conj())
    return {node: above[node] for node in tree.nodes if node != tree.root}
