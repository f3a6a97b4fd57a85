"""Weights: the cores of a format as a pytree, and what can be done with any of them.

`kernel[i, o]` is the sum, over all bonds, of the product of the cores. Everything here reads
the format's network and nothing else, so it serves every format alike.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from ht_jax import schedule as schedules
from ht_jax.network import Tensor, contract

if TYPE_CHECKING:
    from ht_jax.formats.base import Format


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Weight:
    """A matrix (in_features, out_features) held as the cores of a tensor network.

    Attributes:
        cores: the arrays by name; shapes as in `format.network()`.
        format: the static description.

    Example:
        >>> import jax, ht_jax as ht
        >>> weight = ht.HT((8, 6), (4, 4), rank=3).init(jax.random.key(0))
        >>> {name: core.shape for name, core in weight.cores.items()}
        {'leaf_0': (8, 4, 3), 'leaf_1': (6, 4, 3), 'node_0_1': (3, 3)}
        >>> weight.to_dense().shape
        (48, 16)
    """

    cores: dict[str, Array]
    format: Format = dataclasses.field(metadata={"static": True})

    def to_dense(
        self, precision: jax.lax.PrecisionLike = None
    ) -> Shaped[Array, "in_features out_features"]:
        """The kernel that the cores stand for: `apply(w, x) == x @ w.to_dense()`."""
        fmt, net = self.format, self.format.network()
        kernel = net.contract(self.cores, net.inputs + net.outputs, precision=precision)
        kernel = kernel.reshape(net.in_size, net.out_size)
        return fmt.crop_outputs(kernel[fmt.in_offset : fmt.in_offset + fmt.in_features])

    def restrict(self, start: int, stop: int) -> Weight:
        """The rows [start, stop) of the kernel, as cores sliced along their input axes."""
        fmt, net = self.format.restrict(start, stop), self.format.network()
        cut, _ = net.slices(*fmt.padded_range)
        cores = net.arrays(self.cores)
        for name, indices in net.operands:
            for axis, index in enumerate(indices):
                if index in cut:
                    cores[name] = jax.lax.slice_in_dim(cores[name], *cut[index], axis=axis)
        return Weight(cores, fmt)

    def prepare(
        self,
        batch: int,
        *,
        mode: schedules.Mode = "infer",
        arithmetic: schedules.Arithmetic | None = None,
    ) -> Prepared:
        """The weight with its cores multiplied as far as they can be before an input is there.

        Args:
            batch: rows of the inputs to come; any number works, this one is planned for.
            mode, arithmetic: what the schedule is chosen for, as in `ht_jax.plan`.
        """
        dtype = next(iter(self.cores.values())).dtype
        return self.merge(self.format.plan(batch, dtype=dtype, mode=mode, arithmetic=arithmetic))

    def merge(
        self, schedule: schedules.Schedule, precision: jax.lax.PrecisionLike = None
    ) -> Prepared:
        """The weight with its cores multiplied as a schedule does without an input."""
        return Prepared(schedules.merge(schedule, self.cores, precision), self.format, schedule)

    def astype(self, dtype: jax.typing.DTypeLike) -> Weight:
        """The same weight with cores of another dtype."""
        return jax.tree.map(lambda core: core.astype(dtype), self)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prepared:
    """A weight whose cores have been multiplied with each other as its schedule says.

    It is the weight for a reader of many inputs: what `Weight.prepare` made once serves all of
    them. Calling it is `apply` with the same weight.

    Attributes:
        merged: the arrays that meet the input, by their names in the schedule.
        format: the static description.
        schedule: the order of contraction.

    Example:
        >>> import jax, ht_jax as ht
        >>> weight = ht.HT((8, 6), (4, 4), rank=3).init(jax.random.key(0))
        >>> prepared = weight.prepare(batch=4)
        >>> prepared(jnp.ones((4, 48))).shape
        (4, 16)
    """

    merged: dict[str, Array]
    format: Format = dataclasses.field(metadata={"static": True})
    schedule: schedules.Schedule = dataclasses.field(metadata={"static": True})

    def __call__(
        self,
        x: Shaped[Array, "*batch in_features"],
        *,
        reading: schedules.Reading | None = None,
        precision: jax.lax.PrecisionLike = None,
    ) -> Shaped[Array, "*batch out_features"]:
        """`x @ kernel`; see `apply`."""
        fmt = self.format
        if x.ndim < 1 or x.shape[-1] != fmt.in_features:
            raise ValueError(
                f"x has shape {x.shape}: its last axis must be in_features {fmt.in_features} of "
                f"{fmt}"
            )
        rows = x.reshape(math.prod(x.shape[:-1]), fmt.in_features)
        options = {"pad": fmt.padding, "reading": reading, "precision": precision}
        y = schedules.run_merged(self.schedule, self.merged, rows, **options)
        return fmt.crop_outputs(y).reshape(*x.shape[:-1], fmt.out_features)


def apply(
    weight: Weight,
    x: Shaped[Array, "*batch in_features"],
    *,
    reading: schedules.Reading | None = None,
    mode: schedules.Mode = "train",
    precision: jax.lax.PrecisionLike = None,
    schedule: schedules.Schedule | None = None,
) -> Shaped[Array, "*batch out_features"]:
    """`x @ weight.to_dense()`, contracted as planned; the kernel is formed where that is cheaper.

    Args:
        weight: the cores.
        x: inputs, of the cores' dtype, or integers (uint8 frames), of which no float copy is made.
        reading: how integers are read; by default as they are.
        mode: what the schedule is chosen for: "train" or "infer".
        precision: of the matrix products, as in `jax.lax.dot_general`.
        schedule: contract in this order instead of the planned one.

    Raises:
        ValueError: the last axis of `x` is not `in_features` long, or the schedule is that of
            another network.

    Example:
        >>> import jax, ht_jax as ht
        >>> weight = ht.HT((8, 6), (4, 4), rank=3).init(jax.random.key(0))
        >>> ht.apply(weight, jax.numpy.ones((5, 48))).shape
        (5, 16)
    """
    fmt = weight.format
    if schedule is None:
        integers = jnp.issubdtype(x.dtype, jnp.integer)
        arithmetic = (reading or schedules.Reading()).arithmetic if integers else None
        dtype = next(iter(weight.cores.values())).dtype
        rows = math.prod(x.shape[:-1])
        schedule = fmt.plan(rows, dtype=dtype, mode=mode, arithmetic=arithmetic)
    elif schedule.network != fmt.network():
        raise ValueError(f"the schedule is one of another network than that of {fmt}")
    with jax.named_scope(type(fmt).__name__):
        return weight.merge(schedule, precision)(x, reading=reading, precision=precision)


def squared_norm(weight: Weight) -> Float[Array, ""]:
    """Squared Frobenius norm of the kernel, contracted from two copies of the cores.

    Example:
        >>> import jax, ht_jax as ht
        >>> weight = ht.HT((8, 6), (4, 4), rank=3).init(jax.random.key(0))
        >>> bool(jnp.allclose(squared_norm(weight), jnp.sum(weight.to_dense() ** 2)))
        True
    """
    fmt, net = weight.format, weight.format.network()
    opened = {*net.inputs, *net.outputs}
    tensors: list[Tensor] = []
    for core, at in net.tensors(weight.cores):
        twin = tuple(i if i in opened else f"{i}'" for i in at)
        tensors += [(core, at), (core.conj(), twin)]
    dtype = tensors[0][0].dtype
    for mask, at in ((fmt.input_mask(), net.inputs), (fmt.output_mask(), net.outputs)):
        if mask is not None:
            tensors.append((jnp.asarray(mask.reshape([net.size[i] for i in at]), dtype), at))
    return contract(tensors, ()).real
