"""Levenberg-Marquardt over all cores at once: quadratic where alternating steps crawl.

For the residual `K(c) - x` the Gauss-Newton matrix needs no dense Jacobian: with the small network
`h(a, b) = <K(a), K(b)>`, `J^T J v` is the gradient in a of the derivative of h in b along v
(Sorber, Van Barel and De Lathauwer 2013, section 4, for CP and block terms).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ht_jax.formats import contracting as tensors
from ht_jax.formats.contracting import Cores
from ht_jax.network import TensorNetwork, contract

MOST_NUMBERS = 2500  # in all cores: the matrix is dense


def refine(
    net: TensorNetwork,
    x: Float[Array, "*modes"],
    cores: Cores,
    error: float,
    *,
    settled: float = 1e-5,
    steps: int = 100,
) -> tuple[Cores, float]:
    """Damped Gauss-Newton steps until the error stagnates.

    Args:
        net: the network; one with many numbers is left as it is.
        x: the tensor of unit norm, as `laid_out` leaves it.
        cores: where to start.
        error: norm of the residual there.
        settled: relative progress of a step below which it counts as a stall; three in a row
            end the steps.
        steps: at most.

    Returns:
        The cores and their error, which is at most `error`.
    """
    damping, stalls, model = 1e-3, 0, None
    rounding = 10 * float(jnp.finfo(x.dtype).eps)
    for _ in range(steps if net.num_params <= MOST_NUMBERS else 0):
        if stalls == 3 or error < rounding or damping > 1e6:
            break
        if model is None:
            cores = tensors.balanced(net, cores)
            model = _model(net, x, cores)
        tried, left = _tried(net, x, cores, *model, damping)
        if not float(left) < error:
            damping *= 8
            continue
        stalls = stalls + 1 if error - float(left) < settled * error else 0
        cores, error, damping, model = tried, float(left), max(damping / 8, rounding), None
    return cores, error


@functools.partial(jax.jit, static_argnums=0)
def _model(
    net: TensorNetwork, x: Float[Array, "*modes"], cores: Cores
) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Gradient and Gauss-Newton matrix of half the squared residual."""
    flat, unravel = ravel_pytree(cores)

    def residual(a):  # half the squared residual, up to a constant, where only `a` moves
        dense = tensors.formed(net, unravel(a))
        return jnp.vdot(dense, jax.lax.stop_gradient(dense) - x)

    def product(v):
        def along(a):
            return jax.jvp(lambda b: _inner(net, unravel(a), unravel(b)), (flat,), (v,))[1]

        return jax.grad(along)(flat)

    with jax.named_scope("gauss_newton"):
        eye = jnp.eye(flat.size, dtype=flat.dtype)
        return jax.grad(residual)(flat), jax.lax.map(product, eye, batch_size=32)


def _inner(net: TensorNetwork, a: Cores, b: Cores) -> Float[Array, ""]:
    opened = {*net.inputs, *net.outputs}
    twins = [(x, tuple(i if i in opened else i + "'" for i in at)) for x, at in net.tensors(b)]
    return contract([*net.tensors(a), *twins], ())


@functools.partial(jax.jit, static_argnums=0)
def _tried(net, x, cores: Cores, gradient: Array, matrix: Array, damping: float):
    """The cores after one damped step, and their error."""
    flat, unravel = ravel_pytree(cores)
    diagonal = damping * jnp.trace(matrix) / flat.size * jnp.eye(flat.size, dtype=flat.dtype)
    moved = unravel(flat - jax.scipy.linalg.solve(matrix + diagonal, gradient, assume_a="pos"))
    return moved, jnp.linalg.norm(x - tensors.formed(net, moved))
