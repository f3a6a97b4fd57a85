"""Optimisation over tensors of fixed ranks: tangent space, retraction, an Optax wrapper.

With orthonormal frames and the gauge U_t^T dU_t = 0, the metric of the tensor is
`sum_t <dU_t, dU_t G_t>` with the reduced Gramians G_t, so the projected gradient is
`dU_t = (1 - U_t U_t^T) Z_t G_t^-1` of the gradient Z_t with respect to core t (Uschmajew and
Vandereycken 2013; Da Silva and Herrmann 2015).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ht_jax.tensor.arithmetic import inner, orthogonalize
from ht_jax.tensor.ht_tensor import HTTensor
from ht_jax.tensor.linalg import Matrix, backend
from ht_jax.tensor.scale import shifted
from ht_jax.tensor.truncate import unit_reduced_gramians


@jax.named_scope("ht.horizontal")
def horizontal(x: HTTensor, gradient: HTTensor) -> HTTensor:
    """The Riemannian gradient, from the gradient with respect to the cores.

    Args:
        x: real tensor with orthonormal frames (`orthogonalize`) and full ranks.
        gradient: what `jax.grad` gives for a function of `x`.

    Returns:
        Directions of the cores, in the gauge U_t^T dU_t = 0: a tangent vector (see `tangent`).

    >>> from ht_jax.tensor import ones
    >>> x = orthogonalize(ones((2, 3)))
    >>> direction = horizontal(x, jax.grad(lambda t: t[0, 0])(x))
    >>> bool(jnp.allclose(x.cores["leaf_1"].T @ direction.cores["leaf_1"], 0, atol=1e-6))
    True
    """
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise ValueError(f"x is {x.dtype}: optimisation is for real tensors")
    found = {x.tree.root: gradient.cores[x.tree.root]}
    for node, (gramian, exponent) in unit_reduced_gramians(x).items():
        leaf = x.tree.is_leaf(node)
        frame, slope = (_frame(t.cores[node], leaf) for t in (x, gradient))
        slope = slope - frame @ (frame.T @ slope)
        eps = jnp.finfo(x.dtype).eps * jnp.trace(gramian)
        shift = eps * jnp.eye(len(gramian), dtype=gramian.dtype)
        slope = shifted(jnp.linalg.solve(gramian + shift, slope.T), -exponent)  # (r, rows)
        found[node] = slope.T if leaf else slope.reshape(x.cores[node].shape)
    return HTTensor({node: found[node] for node in x.tree.nodes}, x.tree)


def _frame(core: Matrix, leaf: bool) -> Matrix:
    return core if leaf else core.reshape(core.shape[0], -1).T


@jax.named_scope("ht.tangent")
def tangent(x: HTTensor, directions: HTTensor) -> HTTensor:
    """The tangent vector of directions of the cores, as a tensor of twice the ranks.

    Frames [U_t, dU_t], and `dU_t = (dU_l x U_r + U_l x dU_r) B_t + (U_l x U_r) dB_t`.

    >>> from ht_jax.tensor import ones
    >>> x = orthogonalize(ones((2, 3, 4)))
    >>> tangent(x, project(x, 2 * x)).ranks["leaf_2"]
    2
    """
    tree, cores = x.tree, {}
    for node in tree.nodes:
        core, change = x.cores[node], directions.cores[node]
        xp = backend(core, change)
        if tree.is_leaf(node):
            cores[node] = change if node == tree.root else xp.concatenate([core, change], 1)
            continue
        zero = xp.zeros_like(core)
        moving = _blocks(xp, change, core, core, zero)
        still = _blocks(xp, core, zero, zero, zero)
        cores[node] = moving if node == tree.root else xp.concatenate([still, moving], 0)
    return HTTensor(cores, tree)


def _blocks(xp: Any, a: Matrix, b: Matrix, c: Matrix, d: Matrix) -> Matrix:
    """[[a, b], [c, d]] along the last two axes."""
    rows = xp.concatenate([a, b], -1), xp.concatenate([c, d], -1)
    return xp.concatenate(rows, -2)


def project(x: HTTensor, z: HTTensor) -> HTTensor:
    """The orthogonal projection of a tensor on the tangent space, as directions of the cores.

    Args:
        x: real tensor with orthonormal frames and full ranks.
        z: tensor of any ranks, of the same shape and tree.

    >>> from ht_jax.tensor import ones
    >>> x = orthogonalize(ones((2, 3)))
    >>> float(tangent(x, project(x, 2 * x))[0, 0])  # x is tangent to its own multiples
    2.00
    """
    return horizontal(x, jax.grad(lambda t: inner(z, t))(x))


def retract(x: HTTensor, directions: HTTensor) -> HTTensor:
    """A tensor of the same ranks, x plus the tangent vector up to second order.

    >>> from ht_jax.tensor import ones
    >>> x = orthogonalize(ones((2, 3)))
    >>> float(retract(x, project(x, 2 * x))[0, 0])
    3.00
    """
    moved = jax.tree.map(jnp.add, x, directions)
    return orthogonalize(moved)


def riemannian(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """An Optax optimiser that moves a tensor on the manifold of its ranks.

    The wrapped optimiser sees the Riemannian gradient; its step is projected again, and the
    updates are such that `optax.apply_updates` gives the retracted tensor.

    Args:
        optimizer: any optimiser; its state is kept in the coordinates of the cores.

    Returns:
        A transformation whose parameters are one `HTTensor`, orthogonalised by the caller.

    >>> from ht_jax.tensor import ones
    >>> x = orthogonalize(ones((2, 3, 4)))
    >>> optimizer = riemannian(optax.sgd(0.5))
    >>> loss = lambda t: jnp.square(inner(t, t) - 1)
    >>> state, gradient = optimizer.init(x), jax.grad(loss)(x)
    >>> updates, state = optimizer.update(gradient, state, x)
    >>> optax.apply_updates(x, updates).ranks == x.ranks
    True
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if not isinstance(params, HTTensor):
            raise ValueError(f"the parameters are {type(params).__name__}: give the HTTensor")
        gradient: Any = horizontal(params, updates)
        whole: Any = params  # a pytree to Optax
        step, state = optimizer.update(gradient, state, whole)
        moved = retract(params, gauged(params, step))
        return jax.tree.map(jnp.subtract, moved, params), state

    return optax.GradientTransformation(optimizer.init, update)


def gauged(x: HTTensor, directions: Any) -> HTTensor:
    """Directions without the part that only turns the frames."""
    found = dict(directions.cores)
    for node in x.ranks:
        leaf = x.tree.is_leaf(node)
        frame, step = (_frame(t.cores[node], leaf) for t in (x, directions))
        step = step - frame @ (frame.T @ step)
        found[node] = step if leaf else step.T.reshape(x.cores[node].shape)
    return HTTensor(found, x.tree)
