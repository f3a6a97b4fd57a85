"""Lowering: runs a schedule as a chain of `dot_general`s.

The steps that involve cores alone run once; those that involve the input run a tile of rows after
the other where the schedule says so, which keeps what is large in the cache. Every step is one
matrix product in the layout that the search chose: XLA finds reshapes where a plain einsum would
leave it large transposes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Shaped

from ht_jax.network import Indices
from ht_jax.schedule.reading import Arithmetic, Reading, exact_product
from ht_jax.schedule.schedule import BATCH, Product, Schedule, Step

Operand = tuple[Array, Indices]
Contract = Callable[[Step, Operand, Operand], Array]
PRODUCT = "product"  # what a tiled run keeps for its backward pass


def run(
    schedule: Schedule,
    cores: Mapping[str, Array],
    x: Shaped[Array, "rows columns"],
    **options: Any,
) -> Shaped[Array, "rows out_size"]:
    """Contracts `cores` with the rows of `x` as `schedule` says.

    Args:
        schedule: the plan; `x` may have another number of rows than it was made for.
        cores: the arrays of the network, by name.
        x: the input, its columns the row-major input indices less the padding. Integers are
            converted tile by tile: no float copy of all rows is made, forward or backward.
        options: as for `run_merged`.

    Example:
        >>> import ht_jax as ht
        >>> fmt = ht.HT((8, 6), (4, 4), rank=3)
        >>> weight = fmt.init(jax.random.key(0))
        >>> run(ht.plan(fmt, batch=4), weight.cores, jnp.ones((4, 48))).shape
        (4, 16)
    """
    merged = merge(schedule, cores, options.get("precision"))
    return run_merged(schedule, merged, x, **options)


def merge(
    schedule: Schedule, cores: Mapping[str, Array], precision: jax.lax.PrecisionLike = None
) -> dict[str, Array]:
    """What the products with the input take: cores, and tensors that cores are multiplied into.

    Example:
        >>> import ht_jax as ht
        >>> fmt = ht.HT((8, 6), (4, 4), rank=3)
        >>> weight = fmt.init(jax.random.key(0))
        >>> sorted(weight.cores), list(merge(ht.plan(fmt, batch=512), weight.cores))
        (['leaf_0', 'leaf_1', 'node_0_1'], ['@v0_1'])
    """
    arrays = schedule.network.arrays(cores)
    for step in schedule.merges:
        left, right = ((arrays.pop(n), schedule.operands[n]) for n in (step.left, step.right))
        with jax.named_scope(_scope(step)):
            arrays[step.out] = _contract(step, left, right, precision)
    return arrays


def run_merged(
    schedule: Schedule,
    merged: Mapping[str, Array],
    x: Shaped[Array, "rows columns"],
    *,
    pad: tuple[int, int] = (0, 0),
    reading: Reading | None = None,
    precision: jax.lax.PrecisionLike = None,
) -> Shaped[Array, "rows out_size"]:
    """Contracts what `merge` returned with the rows of `x`.

    Args:
        schedule, x: as for `run`.
        merged: the arrays.
        pad: zero columns that stand before and behind those of `x`.
        reading: how integers are read; floats are taken as they are.
        precision: as in `jax.lax.dot_general`.

    Example:
        >>> import ht_jax as ht
        >>> fmt = ht.HT((8, 6), (4, 4), rank=3)
        >>> schedule = ht.plan(fmt, batch=4)
        >>> merged = merge(schedule, fmt.init(jax.random.key(0)).cores)  # once, for many inputs
        >>> run_merged(schedule, merged, jnp.ones((4, 47)), pad=(0, 1)).shape
        (4, 16)
    """
    contract = functools.partial(_contract, precision=precision)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        stream = functools.partial(_stream, schedule, merged, pad, contract, contract)
        return _by_tiles(schedule, stream, x)
    return _run_integers(schedule, merged, x, pad, reading or Reading(), contract)


def _run_integers(schedule, merged, x: Array, pad, reading: Reading, contract) -> Array:
    first = schedule.products[0].right
    array = merged[first]
    merged = {**merged, first: array * jnp.asarray(reading.scale, array.dtype)}
    load, start = reading.of(x.dtype, array.dtype), contract
    if load.arithmetic != "float":
        start = functools.partial(_contract_exactly, arithmetic=load.arithmetic)
    stream = functools.partial(_stream, schedule, merged, pad)
    y = _by_tiles(schedule, lambda rows: stream(start, contract, load(rows)), x)
    if load.rest:
        y = y + stream(contract, contract, jnp.full((1, x.shape[1]), load.rest, array.dtype))
    return y


def _stream(
    schedule: Schedule,
    merged: Mapping[str, Array],
    pad: tuple[int, int],
    start: Contract,
    contract: Contract,
    x: Shaped[Array, "rows columns"],
) -> Shaped[Array, "rows out_size"]:
    net = schedule.network
    x = _padded(x, pad) if any(pad) else x
    shape = (x.shape[0], *(net.size[i] for i in net.inputs))
    running: Operand = x.reshape(shape), (BATCH, *net.inputs)
    for n, step in enumerate(schedule.products):
        with jax.named_scope(_scope(step)):
            right = merged[step.right], schedule.operands[step.right]
            y = (contract if n else start)(step, running, right)
            running = _named(y), step.indices
    y = _transpose(*running, (BATCH, *net.outputs))
    return y.reshape(x.shape[0], net.out_size)


@jax.custom_jvp
def _named(y: Array) -> Array:
    """`y`, named `PRODUCT` where it is differentiated.

    Only there is the name of use, and a plain `checkpoint_name` has no transpose: with it,
    `jax.linear_transpose` of a run would fail.
    """
    return y


@_named.defjvp
def _named_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return checkpoint_name(primals[0], PRODUCT), tangents[0]


def _padded(x: Shaped[Array, "rows columns"], pad: tuple[int, int]) -> Array:
    """Zero columns before and behind; unlike `jnp.pad`, jax2onnx takes this for open sizes."""
    before, behind = (jnp.zeros_like(x, shape=(x.shape[0], width)) for width in pad)
    return jnp.concatenate([before, x, behind], axis=1)


def _by_tiles(schedule: Schedule, project, x: Shaped[Array, "rows columns"]) -> Array:
    """`project(x)`, a tile of rows after the other."""
    rows = x.shape[0]
    tile = schedule.tile_of(rows)
    integers = jnp.issubdtype(x.dtype, jnp.integer)
    if tile == rows and not integers:
        return project(x)
    # The backward pass keeps the products (or nothing), and converts integers again.
    policies = jax.checkpoint_policies
    names = () if schedule.remat else (PRODUCT,)
    project = jax.checkpoint(project, policy=policies.save_only_these_names(*names))
    if tile == rows:
        return project(x)
    whole = rows - rows % tile
    y = jax.lax.map(project, x[:whole].reshape(-1, tile, x.shape[1])).reshape(whole, -1)
    return jnp.concatenate([y, project(x[whole:])]) if whole < rows else y


def _contract_exactly(step: Step, left: Operand, right: Operand, arithmetic: Arithmetic) -> Array:
    """The product of whole numbers in bfloat16 with an operand of another dtype."""
    (x, x_indices), (v, v_indices) = left, right
    product = Product.of(x_indices, v_indices, step.indices)
    if product.groups:
        return _contract(step, (x.astype(v.dtype), x_indices), right)
    a = _transpose(x, x_indices, product.rows + product.inner)
    b = _transpose(v, v_indices, product.inner + product.cols)
    inner = math.prod(b.shape[: len(product.inner)])
    y: Array = exact_product(a.reshape(-1, inner), b.reshape(inner, -1), arithmetic)  # pyright: ignore
    shape = (*a.shape[: len(product.rows)], *b.shape[len(product.inner) :])
    return _transpose(y.reshape(shape), product.indices, step.indices)


def _contract(
    step: Step, left: Operand, right: Operand, precision: jax.lax.PrecisionLike = None
) -> Array:
    a, a_indices = _sum_alone(*left, others=right[1], kept=step.indices)
    b, b_indices = _sum_alone(*right, others=left[1], kept=step.indices)
    product = Product.of(a_indices, b_indices, step.indices)
    if product.groups:
        return _contract_groups(step, product, (a, a_indices), (b, b_indices), precision)
    axes = tuple(map(a_indices.index, product.inner)), tuple(map(b_indices.index, product.inner))
    y = jax.lax.dot_general(a, b, (axes, ((), ())), precision=precision)
    return _transpose(y, product.indices, step.indices)


def _contract_groups(
    step: Step, product: Product, left: Operand, right: Operand, precision
) -> Array:
    """One product for each group, of matrices: XLA makes them such, and jax2onnx knows no other."""
    a = _transpose(*left, product.groups + product.rows + product.inner)
    b = _transpose(*right, product.groups + product.inner + product.cols)
    groups, rows = len(product.groups), len(product.groups + product.rows)
    inner = math.prod(a.shape[rows:])
    count = math.prod(a.shape[:groups])
    y = jnp.matmul(a.reshape(count, -1, inner), b.reshape(count, inner, -1), precision=precision)
    shape = (*a.shape[:rows], *b.shape[groups + len(product.inner) :])
    return _transpose(y.reshape(shape), product.indices, step.indices)


def _sum_alone(a: Array, indices: Indices, others: Indices, kept: Indices) -> Operand:
    """Sums the axes that no other operand carries and the result does not keep."""
    alone = [i for i in indices if i not in others and i not in kept]
    if not alone:
        return a, indices
    axes = tuple(map(indices.index, alone))
    return jnp.sum(a, axis=axes), tuple(i for i in indices if i not in alone)


def _transpose(a: Array, indices: Indices, wanted: Indices) -> Array:
    order = tuple(map(indices.index, wanted))
    return a if order == tuple(range(len(order))) else jax.lax.transpose(a, order)


def _scope(step: Step) -> str:
    return f"{step.left}_{step.right}".replace("@", "")
