"""Lowering: runs a schedule as a chain of `dot_general`s.

Every step is one matrix product in the layout that the search chose, so XLA finds reshapes
where a plain einsum would leave it large transposes.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from ht_jax.network import Indices
from ht_jax.schedule.schedule import BATCH, INPUT, Product, Schedule, Step


def run(
    schedule: Schedule,
    cores: Mapping[str, Array],
    x: Shaped[Array, "batch in_size"],
    *,
    precision: jax.lax.PrecisionLike = None,
) -> Shaped[Array, "batch out_size"]:
    """Contracts `cores` with the rows of `x` as `schedule` says.

    Args:
        schedule: the plan; `x` may have another number of rows than it was made for.
        cores: the arrays of the network, by name.
        x: the input, its columns the row-major input indices.
        precision: as in `jax.lax.dot_general`.
    """
    net = schedule.network
    operands = {name: (cores[name], indices) for name, indices in net.cores}
    in_shape = tuple(net.size[i] for i in net.inputs)
    operands[INPUT] = (x.reshape(x.shape[0], *in_shape), (BATCH, *net.inputs))
    for step in schedule.steps:
        left, right = operands.pop(step.left), operands.pop(step.right)
        with jax.named_scope(f"{step.left}_{step.right}".replace("@", "")):
            operands[step.out] = _contract(step, left, right, precision), step.indices
    (((y, indices)),) = operands.values()
    y = _transpose(y, indices, (BATCH, *net.outputs))
    return y.reshape(x.shape[0], net.out_size)


def _contract(
    step: Step,
    left: tuple[Array, Indices],
    right: tuple[Array, Indices],
    precision: jax.lax.PrecisionLike,
) -> Array:
    a, a_indices = _sum_alone(*left, others=right[1], kept=step.indices)
    b, b_indices = _sum_alone(*right, others=left[1], kept=step.indices)
    product = Product.of(a_indices, b_indices, step.indices)
    axes = [tuple(map(a_indices.index, part)) for part in (product.inner, product.groups)]
    b_axes = [tuple(map(b_indices.index, part)) for part in (product.inner, product.groups)]
    y = jax.lax.dot_general(a, b, ((axes[0], b_axes[0]), (axes[1], b_axes[1])), precision=precision)
    return _transpose(y, product.indices, step.indices)


def _sum_alone(a: Array, indices: Indices, others: Indices, kept: Indices) -> tuple[Array, Indices]:
    """Sums the axes that no other operand carries and the result does not keep."""
    alone = [i for i in indices if i not in others and i not in kept]
    if not alone:
        return a, indices
    axes = tuple(map(indices.index, alone))
    return jnp.sum(a, axis=axes), tuple(i for i in indices if i not in alone)


def _transpose(a: Array, indices: Indices, wanted: Indices) -> Array:
    order = tuple(map(indices.index, wanted))
    return a if order == tuple(range(len(order))) else jax.lax.transpose(a, order)
