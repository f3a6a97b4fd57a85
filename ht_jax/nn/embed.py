"""TensorEmbed: an embedding whose rows are looked up through the cores; the table is not formed.

With the digits (i_1 .. i_d) of an id in the input modes, its row is the network of the cores'
slices at those digits: `table[id] = contract(core_1[i_1], ..., core_d[i_d])`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import opt_einsum
from flax import nnx
from jaxtyping import Array, Float, Int

from ht_jax import schedule as schedules
from ht_jax.formats import Format, Weight
from ht_jax.network import Indices, TensorNetwork
from ht_jax.nn.linear import promote

ROWS = 1024  # ids at once, for which the order of contraction is chosen


class TensorEmbed(nnx.Module):
    """Maps ids in [0, num_embeddings) to vectors, as `nnx.Embed`, with the table held as cores.

    A negative id counts from the end; the row of an id out of range is NaN. Each core is one
    `nnx.Param`, at the path `cores/<name>`.

    Args:
        num_embeddings: number of ids.
        features: length of a vector.
        fmt: how the table (num_embeddings, features) is held; modes may multiply to more.
        dtype: of the vectors; by default that of the parameters.
        param_dtype: of the parameters.
        rngs: the stream `params` is drawn from. Entries start with a variance of 1 / features.

    Raises:
        ValueError: a format that is too small for the table.

    Example:
        >>> import ht_jax as ht, jax.numpy as jnp
        >>> from flax import nnx
        >>> fmt = ht.TT((10, 10, 10), (4, 4, 4), rank=8)
        >>> embed = TensorEmbed(1000, 64, fmt, rngs=nnx.Rngs(0))
        >>> embed(jnp.array([[0, 999], [7, 7]])).shape, embed.format.num_params
        ((2, 2, 64), 3200)
    """

    format: Format
    cores: dict[str, nnx.Param[Array]]
    num_embeddings: int
    features: int
    dtype: Any
    param_dtype: Any

    def __init__(
        self,
        num_embeddings: int,
        features: int,
        fmt: Format,
        *,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        fmt = fmt.sized(num_embeddings, features)
        weight = fmt.init(rngs.params(), param_dtype)
        # A format starts with a variance of 1 / num_embeddings, that of a dense layer.
        share = (num_embeddings / features) ** (0.5 / len(weight.cores))
        self.cores = nnx.data({k: nnx.Param(c * share) for k, c in weight.cores.items()})
        self.format = fmt
        self.num_embeddings, self.features = num_embeddings, features
        self.dtype, self.param_dtype = dtype, param_dtype

    @property
    def weight(self) -> Weight:
        """The table as a pytree of arrays."""
        return Weight({name: core[...] for name, core in self.cores.items()}, self.format)

    @property
    def lookup_flops(self) -> float:
        """Flops of looking up one id, among many."""
        return lookup_flops(self.format.network()) / ROWS

    def __call__(self, ids: Int[Array, "*batch"]) -> Float[Array, "*batch features"]:
        """The vectors of `ids`.

        Raises:
            ValueError: ids that are not integers.
        """
        ids = jnp.asarray(ids)
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError(f"ids have dtype {ids.dtype}: an embedding reads integers")
        (weight,) = promote((self.weight,), self.dtype)
        # Half the sizes of a table do not fit into 8 or 16 bits.
        ids = ids.astype(jnp.int32) if ids.dtype.itemsize < 4 else ids
        ids = jnp.where(ids < 0, ids + self.num_embeddings, ids)
        with jax.named_scope("lookup"):
            rows = lookup(weight, ids.reshape(-1)).reshape(*ids.shape, self.features)
        known = (ids >= 0) & (ids < self.num_embeddings)
        return jnp.where(known[..., None], rows, jnp.asarray(jnp.nan, rows.dtype))

    def attend(
        self, query: Float[Array, "*batch features"]
    ) -> Float[Array, "*batch num_embeddings"]:
        """Inner products of `query` with all vectors, `query @ table.T`, through the cores.

        Raises:
            ValueError: the last axis of `query` is not `features` long.
        """
        if query.shape[-1:] != (self.features,):
            raise ValueError(
                f"query has shape {query.shape}: its last axis must be features {self.features}"
            )
        query, weight = promote((query, self.weight), self.dtype)
        rows = query.reshape(-1, self.features)
        with jax.named_scope("attend"):
            scores = _apply_transposed(weight, rows)[:, : self.num_embeddings]
        return scores.reshape(*query.shape[:-1], self.num_embeddings)


def lookup(weight: Weight, ids: Int[Array, " rows"]) -> Float[Array, "rows out_features"]:
    """The rows `ids` of a kernel, contracted from slices of its cores.

    Args:
        weight: the cores; without rows of zeros before the first.
        ids: each in [0, in_features); others give rows of no meaning.
    """
    net = weight.format.network()
    sizes = tuple(net.size[i] for i in net.inputs)
    digit = dict(zip(net.inputs, jnp.unravel_index(ids, sizes)))
    # One core at a time: gathered cores have structure [row, its other indices].
    slices = [_gather(core, indices, digit) for core, indices in net.tensors(weight.cores)]
    rows = jnp.einsum(_equation(net), *slices, optimize=_path(net, len(ids)))
    return weight.format.crop_outputs(rows.reshape(len(ids), net.out_size))


def lookup_flops(net: TensorNetwork) -> float:
    """Flops of a lookup of `ROWS` ids; a table of one core is only read."""
    return 0.0 if len(net.operands) == 1 else float(_contraction(net, ROWS)[1].opt_cost)


def _gather(core: Array, indices: Indices, digit: dict[str, Array]) -> Array:
    """The core's slice for every row; a core without an input index is the same for all."""
    axes = [n for n, index in enumerate(indices) if index in digit]
    if not axes:
        return core
    core = jnp.moveaxis(core, axes, range(len(axes)))
    return core[tuple(digit[indices[n]] for n in axes)]


def _sliced(net: TensorNetwork) -> list[tuple[str, ...]]:
    """The indices of the gathered cores; "row" numbers the ids."""
    inputs = set(net.inputs)
    return [
        ("row", *(i for i in indices if i not in inputs)) if inputs & set(indices) else indices
        for _, indices in net.operands
    ]


def _equation(net: TensorNetwork) -> str:
    letter = {"row": opt_einsum.get_symbol(0)}
    letter |= {index: opt_einsum.get_symbol(n) for n, index in enumerate(net.size, start=1)}
    terms = ["".join(letter[i] for i in indices) for indices in _sliced(net)]
    return f"{','.join(terms)}->{''.join(letter[i] for i in ('row', *net.outputs))}"


@functools.lru_cache(256)
def _contraction(net: TensorNetwork, rows: int) -> tuple[Any, Any]:
    shapes = [tuple({**net.size, "row": rows}[i] for i in term) for term in _sliced(net)]
    return opt_einsum.contract_path(_equation(net), *shapes, shapes=True)


def _path(net: TensorNetwork, rows: int) -> Any:
    return _contraction(net, max(rows, 1))[0] or "auto"


def _apply_transposed(weight: Weight, x: Array) -> Float[Array, "rows in_size"]:
    """`x @ kernel.T` for ungated kernels, as long as the network's inputs."""
    net = weight.format.network()
    turned = dataclasses.replace(net, inputs=net.outputs, outputs=net.inputs)
    x = jnp.pad(x, ((0, 0), (0, net.out_size - x.shape[-1])))
    problem = dataclasses.replace(weight.format.problem(len(x), dtype=x.dtype), network=turned)
    return schedules.run(schedules.best(problem), weight.cores, x)
