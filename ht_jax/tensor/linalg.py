"""Linear algebra of frames, for NumPy and JAX arrays alike, with derivatives wherever they exist.

Only the span of the leading left singular vectors U_1 of A = U S V^H enters a tensor, so their
derivative is taken in the gauge U_1^H dU_1 = 0:
`dU_1 = U_2 [U_2^H (dA A^H + A dA^H) U_1]_ij / (s_j^2 - s_i^2)`, finite as long as the last value
kept is larger than the first one dropped, whatever coincides within either group.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

_BLOCK = 2**17  # numbers in a block of a QR decomposition

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
    """A reduced QR decomposition, with the derivative of the gauge Q^H dQ = 0.

    The derivative of the span exists where `a` has full column rank; of `q @ r`, in directions
    that keep the null space of `a`, it is right besides.
    """
    return np.linalg.qr(a) if isinstance(a, np.ndarray) else _qr(a)


@jax.custom_jvp
def _qr(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    q, r = jnp.linalg.qr(a)
    return q, r


@_qr.defjvp
def _qr_jvp(primals, tangents):
    (a,), (da,) = primals, tangents
    q, r = _qr(a)
    dr = adjoint(q) @ da
    if a.shape[0] <= a.shape[1]:  # q is square: it spans everything, and nothing can turn
        return (q, r), (jnp.zeros_like(q), dr)
    return (q, r), ((da - q @ dr) @ jnp.linalg.pinv(r), dr)


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
    q, r = _qr(adjoint(a))
    return adjoint(r), da @ q  # only l l^H enters, and q^H q = 1


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
    moved = da @ (adjoint(a) @ u1) + a @ (adjoint(da) @ u1)
    du = u2 @ (adjoint(u2) @ moved * _inverse(kept**2 - dropped[:, None] ** 2, a))
    if a.shape[0] > u.shape[1]:
        du = du + (moved - u @ (adjoint(u) @ moved)) * _inverse(kept**2, a)
    return u1, du


def _inverse(gap: jax.Array, like: jax.Array) -> jax.Array:
    """1 / gap, and 0 where there is no gap: the derivative does not exist there."""
    closed = gap <= 0
    return jnp.where(closed, 0, 1 / jnp.where(closed, 1, gap)).astype(like.dtype)
