"""Freezing a cell: its cores are multiplied once, for an inference that runs step by step.

A frozen cell computes the same numbers. It no longer reads its parameters, so what is trained
after the freezing does not reach it.
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from ht_jax.formats import Prepared
from ht_jax.nn.cells import RecurrentCell
from ht_jax.nn.linear import promote
from ht_jax.schedule import Arithmetic, Reading

Cell = TypeVar("Cell", bound=RecurrentCell)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Frozen:
    """What a frozen cell reads in place of its parameters.

    Attributes:
        input: the input-to-hidden kernel, planned for one frame of each sequence.
        recurrent: what `RecurrentCell.recurrence` returned.
        bias: of all gates.
    """

    input: Prepared
    recurrent: Prepared | Array
    bias: Array

    def project(self, x: Array, reading: Reading | None) -> Array:
        """The input-to-hidden product."""
        if not jnp.issubdtype(x.dtype, jnp.integer):
            x = x.astype(self.bias.dtype)
        return self.input(x, reading=reading)


def freeze(cell: Cell, batch: int = 1, *, arithmetic: Arithmetic | None = None) -> Cell:
    """A copy of a cell for inference: `step`, `project` and `RNN` take it as they take the cell.

    Args:
        cell: the cell; it stays as it is.
        batch: sequences that run side by side.
        arithmetic: of integer inputs, where `project` will be given such; see `ht_jax.Reading`.

    Returns:
        The copy, whose outputs are those of `cell` to rounding.

    Example:
        >>> import ht_jax as ht, jax.numpy as jnp
        >>> from flax import nnx
        >>> cell = ht.nn.LSTMCell(48, 16, input=ht.HT((8, 6), (4, 4), rank=3), rngs=nnx.Rngs(0))
        >>> frozen, x = ht.nn.freeze(cell), jnp.ones((1, 48))
        >>> carry, y = frozen(frozen.initialize_carry(x.shape), x)
        >>> bool(jnp.allclose(y, cell(cell.initialize_carry(x.shape), x)[1], atol=1e-6))
        True
    """
    weight, bias = promote((cell.input_weight(), cell.bias[...]), cell.dtype)
    prepared = weight.prepare(batch, arithmetic=arithmetic)
    frozen = nnx.clone(cell)
    frozen.frozen = nnx.data(Frozen(prepared, cell.recurrence(batch, 1), bias))
    return frozen
