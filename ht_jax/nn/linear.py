"""TensorDense: a linear layer whose kernel is held in any format."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jaxtyping import Array, Shaped

from ht_jax.formats import Format, Weight, apply
from ht_jax.formats.base import check_format


class TensorDense(nnx.Module):
    """A linear transformation `x @ kernel + bias` with the kernel held as cores.

    Each core is one `nnx.Param`, at the path `cores/<name>`.

    Args:
        fmt: how the kernel is held.
        use_bias: whether to add a bias.
        dtype: of the computation; by default that of the arguments and parameters.
        param_dtype: of the parameters.
        precision: of the matrix products, as in `jax.lax.dot_general`.
        rngs: the stream `params` is drawn from.

    Example:
        >>> import ht_jax as ht, jax.numpy as jnp
        >>> from flax import nnx
        >>> layer = TensorDense(ht.HT((8, 6), (4, 4), rank=3), rngs=nnx.Rngs(0))
        >>> layer(jnp.ones((5, 48))).shape
        (5, 16)
    """

    format: Format
    cores: dict[str, nnx.Param[Array]]
    bias: nnx.Param[Array] | None
    observer: Any  # turns the weight into one whose products are observed; None
    dtype: Any
    param_dtype: Any
    precision: jax.lax.PrecisionLike

    def __init__(
        self,
        fmt: Format,
        *,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: jax.lax.PrecisionLike = None,
        rngs: nnx.Rngs,
    ):
        self.hold(check_format("fmt", fmt).init(rngs.params(), param_dtype))
        bias = nnx.Param(jnp.zeros(fmt.out_features, param_dtype)) if use_bias else None
        self.bias = nnx.data(bias)
        self.observer = nnx.data(None)
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.precision = precision

    @property
    def weight(self) -> Weight:
        """The kernel as a pytree of arrays."""
        weight = Weight({name: core[...] for name, core in self.cores.items()}, self.format)
        return weight if self.observer is None else self.observer(weight)

    def hold(self, weight: Weight) -> None:
        """Takes another kernel of the same size, in whatever format."""
        self.format = weight.format
        self.cores = nnx.data({name: nnx.Param(core) for name, core in weight.cores.items()})

    def __call__(self, x: Shaped[Array, "*batch in_features"]) -> Array:
        """Applies the layer to the last axis of `x`."""
        bias = None if self.bias is None else self.bias[...]
        x, weight, bias = promote((x, self.weight, bias), self.dtype)
        y = apply(weight, x, precision=self.precision)
        return y if bias is None else y + bias


def promote(tree: Any, dtype: Any) -> Any:
    """All arrays of a pytree in `dtype`, or in the one that they promote to."""
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, dtypes.promote_dtype(tuple(leaves), dtype=dtype))
