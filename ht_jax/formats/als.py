"""Alternating least squares over any tensor network: each core anew, all others fixed.

With the others contracted into E, the best core solves `(E^T E) core = E^T x`. One sweep halves the
cores recursively, so that it contracts the dense tensor only twice (Phan, Tichavsky and Cichocki
2013, section III, for CP).
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ht_jax.formats import contracting as tensors
from ht_jax.formats.contracting import Cores
from ht_jax.network import Indices, Tensor, TensorNetwork, contract

SWEEPS = 200  # of one start, at most


def descend(
    net: TensorNetwork, x: Float[Array, "*modes"], cores: Cores, sweeps: int = SWEEPS
) -> tuple[Cores, float]:
    """Sweeps until the error stagnates; returns it beside the cores."""
    error, stalls = math.inf, 0
    for _ in range(sweeps):
        cores, left = sweep(net, x, cores)
        before, error = error, float(left)
        stalls = stalls + 1 if before - error < 1e-3 * before else 0
        if stalls == 3 or error < 10 * float(jnp.finfo(x.dtype).eps):
            break
    return cores, error


@functools.partial(jax.jit, static_argnums=0)
def sweep(
    net: TensorNetwork, x: Float[Array, "*modes"], cores: Cores
) -> tuple[Cores, Float[Array, ""]]:
    """Solves for every core once, first to last.

    Args:
        net: the network.
        x: the tensor, as `laid_out` leaves it.
        cores: where to start.

    Returns:
        The new cores and the norm of the residual that they leave.
    """
    cores, names = tensors.balanced(net, cores), tuple(net.indices)
    with jax.named_scope("als_sweep"):
        one = (jnp.ones((), x.dtype), ())
        _update(net, names, (x, tensors.opened(net, names)), one, cores)
        return cores, jnp.linalg.norm(x - tensors.formed(net, cores))


def _update(net: TensorNetwork, group: Indices, x: Tensor, gram: Tensor, cores: Cores) -> None:
    """Renews the cores of `group` in place.

    `x` is the tensor, contracted with all other cores; `gram` is these contracted with their
    own twins, whose bonds are primed, over the open indices that the group does not carry.
    """
    if len(group) == 1:
        cores[group[0]] = _solved(net, group[0], x, gram, cores[group[0]])
        return
    half = tensors.cut(net, group)
    for part, other in ((group[:half], group[half:]), (group[half:], group[:half])):
        env = tensors.merged(net, other, cores)
        twin = env[0], _primed(net, env[1])
        bonds = tensors.shared(net, part)
        kept = dict.fromkeys(bonds + _primed(net, bonds))
        border, kept = tensors.boundary(net, part), tuple(kept)
        part_x = contract([x, env], border), border
        part_gram = contract([gram, env, twin], kept), kept
        _update(net, part, part_x, part_gram, cores)


def _primed(net: TensorNetwork, indices: Indices) -> Indices:
    opened = {*net.inputs, *net.outputs}
    return tuple(i if i in opened else i + "'" for i in indices)


def _solved(net: TensorNetwork, name: str, x: Tensor, gram: Tensor, core: Array) -> Array:
    """The least-squares solution for one core.

    A small proximal term keeps singular systems solvable and does not move the fixed point.
    """
    indices, bonds = net.indices[name], tensors.shared(net, (name,))
    groups = tuple(i for i in bonds if i in net.inputs or i in net.outputs)
    bonds = tuple(i for i in bonds if i not in groups)
    order = groups + bonds + tuple(i for i in indices if i not in groups + bonds)
    shape = (net.volume(groups), net.volume(bonds), -1)
    rhs = contract([x], order).reshape(shape)
    old = contract([(core, indices)], order).reshape(shape)
    matrix = contract([gram], groups + bonds + _primed(net, bonds))
    step = jax.vmap(_solve)(matrix.reshape(shape[0], shape[1], shape[1]), rhs, old)
    new = (old + step).reshape([net.size[i] for i in order])
    return contract([(new, order)], indices)


def _solve(matrix: Array, rhs: Array, old: Array) -> Array:
    proximal = 8 * jnp.finfo(matrix.dtype).eps * jnp.trace(matrix)
    regular = matrix + proximal * jnp.eye(len(matrix), dtype=matrix.dtype)
    return jax.scipy.linalg.solve(regular, rhs - matrix @ old, assume_a="pos")
