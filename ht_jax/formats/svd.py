"""Truncated singular value decompositions, by bound or by error, and the chain of them: TT-SVD.

With r columns kept, the squared error is the sum of the squared singular values behind them;
errors of successive projections add up, so what one does not spend, later ones may.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ht_jax.tensor import linalg


def budget(x: Inexact[Array, "*modes"], tol: float) -> float:
    """Squared error that a relative Frobenius tolerance allows in all.

    Raises:
        ValueError: `tol` is below what the dtype of `x` can resolve, or is not positive.
    """
    resolution = float(jnp.finfo(x.dtype).eps)
    if not tol >= resolution:
        raise ValueError(
            f"tol {tol} is below the resolution {resolution:.1e} of {x.dtype}: "
            "use float64 (jax.config.update('jax_enable_x64', True)) or a larger tol"
        )
    # A hair less than all of it: the rounding of the sums must not exceed the tolerance.
    return float(linalg.backend(x).vdot(x, x).real) * tol**2 * (1 - resolution**0.5)


def of_order_one(x: Inexact[Array, "*modes"]) -> tuple[Inexact[Array, "*modes"], Array]:
    """The tensor divided by its largest entry, and that entry: squares of it do not overflow."""
    xp = linalg.backend(x)
    scale = xp.max(xp.abs(x))
    scale = xp.where(scale > 0, scale, xp.ones_like(scale))
    return x / scale, scale


def project(
    matrix: Inexact[Array, "m n"], share: float | None = None, bound: int | None = None
) -> tuple[Inexact[Array, "m r"], Inexact[Array, "r n"], float]:
    """Projects a matrix on its leading left singular vectors.

    Args:
        matrix: any matrix.
        share: squared error that may be spent; the rank is as small as that allows. Without
            it the rank is `bound`, and the function can be traced.
        bound: bound on the rank.

    Returns:
        The orthonormal frame u, the projection u^H matrix, and the squared error spent
        (0 where no share is given).
    """
    bound = min(matrix.shape) if bound is None else min(bound, *matrix.shape)
    if share is None:
        u = linalg.leading(matrix, bound)
        return u, linalg.adjoint(u) @ matrix, 0.0
    u, s = linalg.left_vectors(matrix)
    tails = (s[::-1] ** 2).cumsum()[::-1]  # tails[r]: squared error of keeping r
    rank = max(1, min(bound, int((tails > share).sum())))
    return u[:, :rank], linalg.adjoint(u[:, :rank]) @ matrix, float((s[rank:] ** 2).sum())


def tt_svd(
    x: Inexact[Array, "*modes"],
    *,
    tol: float | None = None,
    ranks: Sequence[int] | None = None,
    first: int = 1,
) -> list[Array]:
    """Decomposes a dense tensor into a train of cores (Oseledets 2011, algorithm 1).

    Args:
        x: tensor (n_1, ..., n_d).
        tol: relative Frobenius error to keep, with ranks as small as that allows.
        ranks: bound on each of the d - 1 ranks.
        first: size of an edge before the first core that is folded into n_1, slowest.

    Returns:
        The cores (r_{k-1}, n_k, r_k), r_0 = `first`, r_d = 1.
    """
    shape = [x.shape[0] // first, *x.shape[1:]]
    left = None if tol is None else budget(x, tol)
    cores, rest = [], x.reshape(first, -1)
    for k, n in enumerate(shape[:-1]):
        before = rest.shape[0]
        share = None if left is None else left / (len(shape) - 1 - k)
        bound = None if ranks is None else ranks[k]
        frame, rest, spent = project(rest.reshape(before * n, -1), share, bound)
        left = None if left is None else max(left - spent, 0.0)
        cores.append(frame.reshape(before, n, -1))
    return [*cores, rest.reshape(-1, shape[-1], 1)]


def leading(x: Inexact[Array, "*modes"], axis: int, rank: int) -> Inexact[Array, "n rank"]:
    """Leading left singular vectors of the unfolding of `x` at `axis`."""
    matrix = linalg.backend(x).moveaxis(x, axis, 0)
    return linalg.leading(matrix.reshape(len(matrix), math.prod(x.shape) // len(matrix)), rank)
