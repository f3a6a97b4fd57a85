"""RNN: runs a cell over time, with the inputs of all frames projected before the scan."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.recurrent import flip_sequences
from jaxtyping import Array, Int, Shaped

from ht_jax.nn.cells import Carry, RecurrentCell
from ht_jax.schedule import Arithmetic, Reading


class RNN(nnx.Module):
    """Runs a cell of this package over a sequence; call it as `nnx.RNN`.

    Unlike `nnx.RNN` it keeps no random state, zeroes the outputs past the end of a sequence,
    and stops the carry there.

    Args:
        cell: the cell.
        time_major: whether the inputs are (time, batch, features), not (batch, time, features).
        return_carry: whether to return (carry, outputs), not the outputs alone.
        reverse: whether to run from the last frame to the first.
        keep_order: whether a reversed run's outputs are put back in the order of the inputs.
        unroll: frames a loop iteration of the scan.
        scale, offset: integer inputs, such as uint8 frames, are read as `x * scale + offset`.
        arithmetic: of the product with integer inputs: "float", or faster "split" or "bfloat16";
            see `ht_jax.Reading`.

    Raises:
        TypeError: a cell that does not separate the projection of its inputs; `nnx.RNN` runs it.

    Example:
        >>> import ht_jax as ht, jax.numpy as jnp
        >>> from flax import nnx
        >>> cell = ht.nn.LSTMCell(48, 16, input=ht.HT((8, 6), (4, 4), rank=3), rngs=nnx.Rngs(0))
        >>> RNN(cell)(jnp.ones((2, 7, 48))).shape
        (2, 7, 16)
    """

    cell: RecurrentCell
    time_major: bool
    return_carry: bool
    reverse: bool
    keep_order: bool
    unroll: int
    reading: Reading

    def __init__(
        self,
        cell: RecurrentCell,
        *,
        time_major: bool = False,
        return_carry: bool = False,
        reverse: bool = False,
        keep_order: bool = False,
        unroll: int = 1,
        scale: float = 1.0,
        offset: float = 0.0,
        arithmetic: Arithmetic = "float",
    ):
        if not isinstance(cell, RecurrentCell):
            raise TypeError(f"{type(cell).__name__} is not a cell of ht_jax.nn: use flax's nnx.RNN")
        self.cell = cell
        self.time_major, self.return_carry = time_major, return_carry
        self.reverse, self.keep_order = reverse, keep_order
        self.unroll, self.reading = unroll, Reading(scale, offset, arithmetic)

    def __call__(
        self,
        inputs: Shaped[Array, "*batch_and_time features"],
        *,
        initial_carry: Carry | None = None,
        seq_lengths: Int[Array, "*batch"] | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: Any = None,
    ) -> Any:
        """The cell's outputs over time, and the last carry if asked for.

        Args:
            inputs: (batch, time, features), or (time, batch, features) if time-major; any
                number of batch axes.
            initial_carry: the carry to start with; zeros by default.
            seq_lengths: number of valid frames of each sequence. Outputs past it are zero and
                the carry stays what it was at the last valid frame.
            return_carry, time_major, reverse, keep_order: in place of the layer's own.
            rngs: the stream `dropout`, if the cell has recurrent dropout and is training.
        """
        return_carry = self.return_carry if return_carry is None else return_carry
        time_major = self.time_major if time_major is None else time_major
        reverse = self.reverse if reverse is None else reverse
        keep_order = self.keep_order if keep_order is None else keep_order

        if inputs.ndim < 2:
            raise ValueError(
                f"inputs of shape {inputs.shape} have no time axis: (..., time, features)"
            )
        z = self.cell.project(inputs, reading=self.reading)
        z = z if time_major else jnp.moveaxis(z, -2, 0)
        if initial_carry is None:
            carry = self._initial_carry(z)
        else:
            carry = jax.tree.map(lambda state: jnp.asarray(state, z.dtype), initial_carry)
        mask = self.cell.dropout_mask(carry, rngs)
        carry, outputs = self._scan(carry, z, seq_lengths, mask, reverse)
        if reverse and not keep_order:
            outputs = flip_sequences(outputs, seq_lengths, outputs.ndim - 2, time_major=True)
        outputs = outputs if time_major else jnp.moveaxis(outputs, 0, -2)
        return (carry, outputs) if return_carry else outputs

    def _initial_carry(self, z: Shaped[Array, "time *batch gated"]) -> Carry:
        # Made from z, not from a shape: under shard_map and explicit meshes a fresh constant
        # would lack z's sharding, and the scan would refuse the carry.
        zero = jnp.zeros_like(z[..., :1]).sum(0)
        shape = (*z.shape[1:-1], self.cell.hidden_features)
        return self.cell.carry_of(jnp.broadcast_to(zero, shape))

    def _scan(
        self,
        carry: Carry,
        z: Shaped[Array, "time *batch gated"],
        seq_lengths: Array | None,
        mask: Array | None,
        reverse: bool,
    ):
        rows = math.prod(z.shape[1:-1])
        recurrence = self.cell.recurrence(rows, z.shape[0])
        valid = None
        if seq_lengths is not None:
            times = jnp.arange(z.shape[0], dtype=seq_lengths.dtype).reshape(-1, *[1] * (z.ndim - 1))
            valid = times < seq_lengths[..., None]

        def body(carry: Carry, frame: tuple[Array, Array | None]):
            z, valid = frame
            # Without the barrier XLA:CPU fuses the slice of z into the product, badly.
            z = jax.lax.optimization_barrier(z)
            new, y = self.cell.step(carry, z, recurrence, mask)
            if valid is None:
                return new, y
            new = jax.tree.map(lambda a, b: jnp.where(valid, a, b), new, carry)
            return new, jnp.where(valid, y, jnp.zeros_like(y))

        with jax.named_scope("recurrence"):
            return jax.lax.scan(body, carry, (z, valid), reverse=reverse, unroll=self.unroll)


class Bidirectional(nnx.Bidirectional):
    """Two RNNs, forward and backward, their outputs concatenated.

    Flax's layer without its random state, so that jit, vmap and export may close over it.

    Args:
        forward_rnn: run over the sequence as it stands.
        backward_rnn: run from its end.
        options: `merge_fn`, `time_major`, `return_carry`, as in `nnx.Bidirectional`.

    Example:
        >>> import ht_jax as ht
        >>> forward, backward = (RNN(ht.nn.GRUCell(4, 8, rngs=nnx.Rngs(n))) for n in (0, 1))
        >>> Bidirectional(forward, backward)(jnp.ones((2, 5, 4))).shape
        (2, 5, 16)
    """

    def __init__(self, forward_rnn: Any, backward_rnn: Any, **options: Any):
        super().__init__(forward_rnn, backward_rnn, rngs=False, **options)

    def __call__(self, inputs: Array, *, rngs: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See `nnx.Bidirectional`; `rngs` is for recurrent dropout."""
        # Flax would take the stream `carry` of an Rngs; the layers inside take any stream.
        has_stream = isinstance(rngs, nnx.Rngs) and ("dropout" in rngs or "default" in rngs)
        stream = rngs.dropout if has_stream else None if isinstance(rngs, nnx.Rngs) else rngs
        return super().__call__(inputs, rngs=stream, **options)


class Stacked(nnx.Module):
    """RNNs on top of each other: each reads the outputs of the one before.

    Args:
        layers: `RNN`s, `Bidirectional`s or other layers that are called alike.
        dropout: rate of dropout between the layers; needs `rngs` with a stream `dropout`.
        rngs: for the dropout.

    Example:
        >>> import ht_jax as ht, jax.numpy as jnp
        >>> from flax import nnx
        >>> rngs = nnx.Rngs(0)
        >>> layers = [RNN(ht.nn.GRUCell(n, 8, rngs=rngs)) for n in (4, 8)]
        >>> Stacked(layers)(jnp.ones((2, 5, 4))).shape
        (2, 5, 8)
    """

    layers: nnx.List[Any]
    dropout: nnx.Dropout | None

    def __init__(self, layers: Any, *, dropout: float = 0.0, rngs: nnx.Rngs | None = None):
        if not layers:
            raise ValueError("Stacked needs at least one layer")
        self.layers = nnx.List(layers)
        self.dropout = nnx.Dropout(dropout, rngs=rngs) if dropout else nnx.data(None)

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        return_carry: bool = False,
        reverse: bool = False,
        keep_order: bool = False,
        rngs: Any = None,
        **options: Any,
    ) -> Any:
        """The last layer's outputs, and the list of carries if asked for.

        Args:
            inputs: as for `RNN`.
            initial_carry: a carry for each layer.
            return_carry: whether to return (carries, outputs).
            reverse, keep_order: as for `RNN`; all layers run in the same direction.
            rngs: for the dropout, in place of the layer's own.
            options: `seq_lengths`, `time_major` and the like, passed to every layer.
        """
        carries, outputs = [], inputs
        last = len(self.layers) - 1
        for n, layer in enumerate(self.layers):
            if n and self.dropout is not None:
                outputs = self.dropout(outputs, rngs=rngs)
            start = None if initial_carry is None else initial_carry[n]
            options = {**options, "initial_carry": start, "return_carry": True, "rngs": rngs}
            options |= {"reverse": reverse, "keep_order": keep_order or n < last}
            carry, outputs = layer(outputs, **options)
            carries.append(carry)
        return (carries, outputs) if return_carry else outputs
