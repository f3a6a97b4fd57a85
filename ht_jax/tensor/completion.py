"""Completion: a tensor of given ranks from some of its entries.

Riemannian conjugate gradients on `1/2 |P(x) - values|^2`, with the exact step of the linearised
problem (Da Silva and Herrmann 2015, section 4).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ht_jax.tensor.arithmetic import inner, orthogonalize
from ht_jax.tensor.ht_tensor import HTTensor
from ht_jax.tensor.modes import elements
from ht_jax.tensor.riemannian import horizontal, project, retract, tangent


@functools.partial(jax.jit, static_argnames="iterations")
def complete(
    start: HTTensor,
    indices: Int[Array, "m d"],
    values: Float[Array, " m"],
    *,
    iterations: int = 100,
) -> tuple[HTTensor, Float[Array, " iterations"]]:
    """Fits a tensor to the entries that are known.

    Args:
        start: first guess; its shape, tree and ranks stay.
        indices: where entries are known.
        values: what they are.
        iterations: how many.

    Returns:
        The tensor, and the relative misfit |P(x) - values| / |values| after every iteration;
        the absolute one if all values are zero.

    >>> from ht_jax.tensor import ones
    >>> where = jnp.array([[0, 0], [0, 1], [1, 0]])
    >>> x, misfit = complete(ones((2, 2)), where, jnp.array([1.0, 2.0, 3.0]), iterations=20)
    >>> round(float(x[1, 1]), 2)
    6.0
    """
    norm = jnp.linalg.norm(values)
    size = jnp.where(norm > 0, norm, 1)

    def sampled(x: HTTensor) -> Array:
        return elements(x, indices)

    def slope(x: HTTensor) -> HTTensor:
        _, pull = jax.vjp(sampled, x)
        return horizontal(x, pull(sampled(x) - values)[0])

    def step(carry, _):
        x, old, direction, old_slope = carry
        gradient = slope(x)
        # what was a tangent vector at the last tensor, seen from this one
        carried = project(x, tangent(old, direction))
        before = project(x, tangent(old, old_slope))
        descent = inner(tangent(x, gradient), tangent(x, gradient))
        change = descent - inner(tangent(x, gradient), tangent(x, before))
        length = inner(tangent(old, old_slope), tangent(old, old_slope))
        share = jnp.clip(change / jnp.maximum(length, jnp.finfo(x.dtype).tiny), 0, 2)
        direction = jax.tree.map(lambda g, d: share * d - g, gradient, carried)
        _, moved = jax.jvp(sampled, (x,), (direction,))
        pace = -jnp.vdot(moved, sampled(x) - values) / jnp.maximum(
            jnp.vdot(moved, moved), jnp.finfo(x.dtype).tiny
        )
        new = retract(x, jax.tree.map(lambda d: pace * d, direction))
        misfit = jnp.linalg.norm(sampled(new) - values) / size
        return (new, x, direction, gradient), misfit

    start = orthogonalize(start)
    zero = jax.tree.map(jnp.zeros_like, start)
    (x, *_), misfits = jax.lax.scan(step, (start, start, zero, zero), None, length=iterations)
    return x, misfits
