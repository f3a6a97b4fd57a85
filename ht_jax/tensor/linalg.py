"""Linear algebra of frames, for NumPy and JAX arrays alike, with derivatives wherever they exist.

Only the span of the leading left singular vectors U_1 of A = U S V^H enters a tensor, so their
derivative is taken in the gauge U_1^H dU_1 = 0:
`dU_1 = U_2 [U_2^H (dA A^H + A dA^H) U_1]_ij / (s_j^2 - s_i^2)`, finite as long as the last value
kept is larger than the first one dropped, whatever coincides within either group. Where a value
kept and one dropped are equal up to rounding (`_CLOSED`), any mixture of their vectors would do:
that part of the derivative does not exist, and is left out.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

_BLOCK = 2**17  # numbers in a block of a QR decomposition
_LARGE = 2**12  # numbers from which matrix products are faster than LAPACK's QR and SVD
_RESOLVED = 1000.0  # squared errors this many times eps are resolved by a Gram matrix
_CLOSED = 16.0  # gaps below this many times eps, sqrt(rows) and the largest value are rounding

Matrix = Any  # np.ndarray or jax.Array: what an operation gets decides what it returns


def backend(*arrays: Matrix) -> Any:
    """The module `jax.numpy` if one of the arrays is JAX's, else `numpy`.

    >>> backend(np.ones(2)).__name__, backend(np.ones(2), jnp.ones(2)).__name__
    ('numpy', 'jax.numpy')
    """
    return jnp if any(isinstance(a, jax.Array) for a in arrays) else np


def on_host(arrays: Any) -> Any:
    """The same pytree in NumPy arrays, if all of it is concrete and on the CPU.

    Ranks that depend on values give every call new shapes, each a new compilation in JAX and
    none in NumPy. What is traced, or on an accelerator, stays as it is.
    """
    return jax.tree.map(np.asarray, arrays) if is_local(arrays) else arrays


def is_local(arrays: Any) -> bool:
    """Whether all arrays are concrete and on the CPU."""
    return all(
        not is_traced(leaf)
        and (not isinstance(leaf, jax.Array) or leaf.sharding.device_set <= _cpus())
        for leaf in jax.tree.leaves(arrays)
    )


@functools.cache
def _cpus() -> frozenset[Any]:
    return frozenset(jax.local_devices(backend="cpu"))


def is_traced(arrays: Any) -> bool:
    """Whether a value is only known when the traced function runs."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arrays))


def einsum(subscripts: str, *operands: Matrix) -> Matrix:
    """`numpy.einsum` or `jax.numpy.einsum`, in pairs, by the order with the fewest flops."""
    return backend(*operands).einsum(subscripts, *operands, optimize=len(operands) < 3 or "optimal")


def adjoint(a: Matrix) -> Matrix:
    """The conjugate transpose of a matrix; of a real one no copy, which `conj` would be."""
    return a.conj().T if backend(a).iscomplexobj(a) else a.T


def orthonormal(a: Matrix) -> tuple[Matrix, Matrix]:
    """A reduced QR decomposition, with the derivatives of `orthonormal_rows`."""
    low, rows = orthonormal_rows(adjoint(a))
    return adjoint(rows), adjoint(low)


def orthonormal_rows(a: Matrix) -> tuple[Matrix, Matrix]:
    """A reduced LQ decomposition `a = l @ q`, with the derivative of the gauge dQ Q^H = 0.

    The derivative of the span exists where `a` has full row rank; of `l @ q`, in directions that
    keep the null space of `a^H`, it is right besides. Wide matrices are done by matrix products
    (`cholesky_lq`) where these reach the same precision.
    """
    if not isinstance(a, np.ndarray):
        return _lq(a)
    if is_large(a):
        with np.errstate(all="ignore"), contextlib.suppress(np.linalg.LinAlgError):
            low, rows, exact = cholesky_lq(a)
            if exact:
                return low, rows
    return _householder(a)


@jax.custom_jvp
def _lq(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    if not is_large(a):
        return _householder(a)
    low, rows, exact = cholesky_lq(a)
    return jax.lax.cond(exact, lambda: (low, rows), lambda: _householder(a))


def _householder(a: Matrix) -> tuple[Matrix, Matrix]:
    q, r = backend(a).linalg.qr(adjoint(a))
    return adjoint(r), adjoint(q)


def is_large(a: Matrix) -> bool:
    """Whether it pays to try an algorithm of matrix products on a wide matrix first."""
    return a.size >= _LARGE and a.shape[1] >= 4 * a.shape[0]


def cholesky_lq(a: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """L, Q by two Cholesky decompositions of Q Q^H, and whether they are as good as Householder's.

    They are if the first leaves |Q Q^H - 1| below a half; it does if cond(a)^2 eps is small. The
    small factors are inverted, because products are much faster than triangular solves with many
    columns; L = A Q^H is triangular up to rounding.

    Source: Yamamoto, Nakatsukasa, Yanagisawa and Fukaya, Electron. Trans. Numer. Anal. 44 (2015).
    """
    nearly = _product(_inverse_lower(gram(a)), a)
    rest = gram(nearly)
    rows = _product(_inverse_lower(rest), nearly)
    exact = backend(a).linalg.norm(rest - backend(a).eye(len(a), dtype=a.dtype)) < 0.5
    return _product(a, adjoint(rows)), rows, exact


def _inverse_lower(squared: Matrix) -> Matrix:
    """The inverse of the lower Cholesky factor."""
    xp = backend(squared)
    low, one = xp.linalg.cholesky(squared), xp.eye(len(squared), dtype=squared.dtype)
    if xp is np:
        return np.linalg.solve(low, one)
    return jax.scipy.linalg.solve_triangular(low, one, lower=True)


def gram(rows: Matrix) -> Matrix:
    """`rows @ rows^H`, in full precision on every device."""
    return _product(rows, adjoint(rows))


def _product(a: Matrix, b: Matrix) -> Matrix:
    if isinstance(a, np.ndarray):
        return a @ b
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


@_lq.defjvp
def _lq_jvp(primals, tangents):
    (a,), (da,) = primals, tangents
    low, rows = _lq(a)
    change = da @ adjoint(rows)
    if a.shape[1] <= a.shape[0]:  # q is square: it spans everything, and nothing can turn
        return (low, rows), (change, jnp.zeros_like(rows))
    return (low, rows), (change, jnp.linalg.pinv(low) @ (da - change @ rows))


def lower(a: Matrix) -> Matrix:
    """A factor `l` with `l @ l^H = a @ a^H`, no wider than high; differentiable everywhere."""
    if a.shape[1] <= a.shape[0]:
        return a
    return _lower_in_blocks(a) if isinstance(a, np.ndarray) else _lower(a)


def _lower_in_blocks(a: np.ndarray) -> np.ndarray:
    """QR of blocks that fit into the cache, then of their factors: no copy of the whole."""
    rows, cols = a.shape
    width = max(_BLOCK // rows, 4 * rows)
    if cols > 2 * width:
        blocks = (a[:, k : k + width] for k in range(0, cols, width))
        a = np.concatenate([_lower_in_blocks(block) for block in blocks], 1)
        return _lower_in_blocks(a)
    return a if cols <= rows else adjoint(np.asarray(np.linalg.qr(adjoint(a), mode="r")))


@jax.custom_jvp
def _lower(a: jax.Array) -> jax.Array:
    return adjoint(jnp.linalg.qr(adjoint(a), mode="r"))


@_lower.defjvp
def _lower_jvp(primals, tangents):
    (a,), (da,) = primals, tangents
    low, rows = _lq(a)
    return low, da @ adjoint(rows)  # only l l^H enters, and q q^H = 1


def singular_values(a: Matrix) -> Matrix:
    """Singular values, largest first."""
    return backend(a).linalg.svd(lower(a), compute_uv=False)


def leading(a: Matrix, rank: int) -> Matrix:
    """The `rank` leading left singular vectors; differentiable where a gap follows them."""
    if isinstance(a, np.ndarray):
        return left_vectors(a)[0][:, :rank]
    return _leading(a, rank)


def left_vectors(a: Matrix) -> tuple[Matrix, Matrix]:
    """All left singular vectors (m, min(m, n)) and singular values; QR first, where it pays."""
    u, s, _ = backend(a).linalg.svd(lower(a), full_matrices=False)
    return u, s


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _leading(a: jax.Array, rank: int) -> jax.Array:
    return left_vectors(a)[0][:, :rank]


@_leading.defjvp
def _leading_jvp(rank, primals, tangents):
    (a,), (da,) = primals, tangents
    u, s = left_vectors(a)
    u1, u2, kept, dropped = u[:, :rank], u[:, rank:], s[:rank], s[rank:]
    # By the largest value: homogeneous of degree 0, and no square leaves the range.
    size = jnp.where(s[0] > 0, s[0], 1)
    a, da, kept, dropped = (x / size.astype(x.dtype) for x in (a, da, kept, dropped))
    moved = da @ (adjoint(a) @ u1) + a @ (adjoint(da) @ u1)
    du = u2 @ (adjoint(u2) @ moved * _inverse(kept, dropped[:, None], a))
    if a.shape[0] > u.shape[1]:
        du = du + (moved - u @ (adjoint(u) @ moved)) * _inverse(kept, jnp.zeros_like(kept), a)
    return u1, du


def leading_of_gram(squared: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """The `rank` leading eigenvectors of A A^H, and whether they serve as well as A's own.

    Eigenvectors are exact for A A^H up to its rounding, so what they drop exceeds the least
    possible by eps |A|^2 in the square: nothing, unless that is all that is dropped. Takes a batch
    (b, m, m) as well.
    """
    if isinstance(squared, np.ndarray):
        squares, u = _eigh(squared)
        return u[..., :rank], _resolved(squares, rank)
    return _leading_of_gram(squared, rank)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _leading_of_gram(squared: jax.Array, rank: int) -> tuple[jax.Array, jax.Array]:
    squares, u = _eigh(squared)
    return u[..., :rank], _resolved(squares, rank)


@_leading_of_gram.defjvp
def _leading_of_gram_jvp(rank, primals, tangents):
    (squared,), (change,) = primals, tangents
    squares, u = _eigh(squared)
    u1, u2 = u[..., :rank], u[..., rank:]
    gaps = squares[..., None, :rank] - squares[..., rank:, None]
    least = _rounding(squared) * squares[..., :1, None]
    turned = jnp.swapaxes(u2, -1, -2).conj() @ change @ u1
    du = u2 @ (turned * _reciprocal(gaps, least).astype(u.dtype))
    good = _resolved(squares, rank)
    return (u1, good), (du, np.zeros(good.shape, jax.dtypes.float0))


def _resolved(squares: Matrix, rank: int) -> Matrix:
    """Whether what is dropped is far above the rounding of the Gram matrix, or nothing is."""
    least = _RESOLVED * float(jnp.finfo(squares.dtype).eps) * squares.sum(-1)
    return (squares[..., rank:].sum(-1) > least) | (rank == squares.shape[-1])


def _eigh(squared: Matrix) -> tuple[Matrix, Matrix]:
    squares, u = backend(squared).linalg.eigh(squared)
    return squares[..., ::-1], u[..., ::-1]


def _inverse(kept: jax.Array, dropped: jax.Array, a: jax.Array) -> jax.Array:
    """1 / (s_j^2 - s_i^2) of singular values of `a` of order 1; 0 where the gap is closed."""
    gaps = _reciprocal(kept - dropped, jnp.asarray(_rounding(a), kept.dtype))
    return (gaps / jnp.where(gaps > 0, kept + dropped, 1)).astype(a.dtype)


def _rounding(a: jax.Array) -> float:
    """The error of singular values of order 1, and some times more."""
    return _CLOSED * float(jnp.finfo(a.dtype).eps) * a.shape[-2] ** 0.5


def _reciprocal(gap: jax.Array, least: jax.Array) -> jax.Array:
    closed = gap <= least
    return jnp.where(closed, 0, 1 / jnp.where(closed, 1, gap))
