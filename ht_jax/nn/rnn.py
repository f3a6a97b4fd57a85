"""RNN: runs a cell over time, with the inputs of all frames projected before the scan."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Shaped

from ht_jax.nn.cells import Carry, RecurrentCell
from ht_jax.nn.lengths import Lengths, flipped, masked, valid_frames
from ht_jax.schedule import Arithmetic, Reading


class RNN(nnx.Module):
    """Runs a cell of this package over a sequence; call it as `nnx.RNN`.

    Unlike `nnx.RNN` it keeps no random state and reads nothing past the end of a sequence. Of
    sequences padded to T frames, frame t is valid if `0 <= t < min(length, T)`:

    - The outputs, carries and gradients are those of the valid frames alone, whatever stands in
      the padding (NaN and infinity too) and in either direction.
    - In the padding the outputs and the gradient for the inputs are zero. A reversed run starts
      at the last valid frame, and its outputs start at the first frame in either order.
    - A sequence of length 0 (or below) has outputs of zero and keeps its initial carry.

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
        seq_lengths: Lengths | None = None,
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
            seq_lengths: number of valid frames of each sequence (*batch), integers of any dtype;
                all frames are valid by default.
            return_carry, time_major, reverse, keep_order: in place of the layer's own.
            rngs: the stream `dropout`, if the cell has recurrent dropout and is training.

        Raises:
            TypeError: `seq_lengths` that are not integers.
            ValueError: `seq_lengths` of another shape than the batch, inputs without a time axis.
        """
        return_carry = self.return_carry if return_carry is None else return_carry
        time_major = self.time_major if time_major is None else time_major
        reverse = self.reverse if reverse is None else reverse
        keep_order = self.keep_order if keep_order is None else keep_order

        if inputs.ndim < 2:
            raise ValueError(
                f"inputs of shape {inputs.shape} have no time axis: (..., time, features)"
            )
        valid = valid_frames(seq_lengths, inputs.shape, time_major=time_major)
        inputs = masked(inputs, valid, time_major=time_major)
        z = self.cell.project(inputs, reading=self.reading)
        z = z if time_major else jnp.moveaxis(z, -2, 0)
        if initial_carry is None:
            carry = self._initial_carry(z)
        else:
            carry = jax.tree.map(lambda state: jnp.asarray(state, z.dtype), initial_carry)
        mask = self.cell.dropout_mask(carry, rngs)
        carry, outputs = self._scan(carry, z, valid, mask, reverse)
        if reverse and not keep_order:
            outputs = flipped(outputs, valid, time_major=True)
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
        valid: Bool[Array, "time *batch 1"] | None,
        mask: Array | None,
        reverse: bool,
    ):
        rows = math.prod(z.shape[1:-1])
        recurrence = self.cell.recurrence(rows, z.shape[0])

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

    Flax's layer without its random state, so that jit, vmap and export may close over it. The
    options of the two RNNs are its own, whatever they were made with: as in `nnx.Bidirectional`.

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

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        inputs: Shaped[Array, "*batch_and_time features"],
        *,
        initial_carry: tuple[Carry, Carry] | None = None,
        seq_lengths: Lengths | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: Any = None,
    ) -> Any:
        """The merged outputs, and the pair of last carries (forward, backward) if asked for.

        Args:
            inputs, initial_carry, seq_lengths, rngs: as for `RNN`; a pair of initial carries.
            return_carry, time_major: in place of the layer's own.
            reverse: whether to read the sequence turned around: the forward RNN runs from its
                end, the backward RNN from its start.
            keep_order: whether the outputs are then put back in the order of the inputs.
        """
        return_carry = self.return_carry if return_carry is None else return_carry
        time_major = self.time_major if time_major is None else time_major
        if reverse and not keep_order:
            valid = valid_frames(seq_lengths, inputs.shape, time_major=time_major)
            inputs, reverse = flipped(inputs, valid, time_major=time_major), False

        # A layer of Flax would take the stream `carry` of an Rngs; all layers take a stream.
        has_stream = isinstance(rngs, nnx.Rngs) and ("dropout" in rngs or "default" in rngs)
        stream = rngs.dropout if has_stream else None if isinstance(rngs, nnx.Rngs) else rngs
        options = {"seq_lengths": seq_lengths, "time_major": time_major, "rngs": stream}
        options |= {"return_carry": True, "keep_order": True}
        starts = (None, None) if initial_carry is None else initial_carry
        carries, outputs = zip(
            self.forward_rnn(inputs, initial_carry=starts[0], reverse=bool(reverse), **options),
            self.backward_rnn(inputs, initial_carry=starts[1], reverse=not reverse, **options),
        )
        outputs = jax.tree.map(self.merge_fn, *outputs)
        return (carries, outputs) if return_carry else outputs


class Stacked(nnx.Module):
    """RNNs on top of each other: each reads the outputs of the one before.

    Every layer runs as it is configured, with its own `reverse` and `keep_order`: the stack is
    the layers called one after the other. It is time-major if its layers are, and returns the
    carries (of all layers) if its last layer does.

    Args:
        layers: `RNN`s, `Bidirectional`s or other layers that are called alike.
        dropout: rate of dropout between the layers; needs `rngs` with a stream `dropout`.
        rngs: for the dropout.

    Raises:
        ValueError: no layers, or layers of which some are time-major and some are not.

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
        majors = [getattr(layer, "time_major", False) for layer in layers]
        if len(set(majors)) > 1:
            raise ValueError(
                f"the layers have time_major {majors}: each reads the outputs of the one before, "
                "so give all of them the same"
            )
        self.layers = nnx.List(layers)
        self.dropout = nnx.Dropout(dropout, rngs=rngs) if dropout else nnx.data(None)

    @property
    def time_major(self) -> bool:
        """Whether the inputs are (time, batch, features): what the layers say."""
        return getattr(self.layers[-1], "time_major", False)

    @property
    def return_carry(self) -> bool:
        """Whether the carries of all layers are returned: what the last layer says."""
        return getattr(self.layers[-1], "return_carry", False)

    def __call__(
        self,
        inputs: Shaped[Array, "*batch_and_time features"],
        *,
        initial_carry: Any = None,
        seq_lengths: Lengths | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: Any = None,
    ) -> Any:
        """The last layer's outputs, and the list of last carries if asked for.

        Args:
            inputs, seq_lengths: as for `RNN`.
            initial_carry: a carry for each layer.
            return_carry: whether to return (carries, outputs), in place of the stack's own.
            time_major, keep_order: in place of every layer's own.
            reverse: in place of every layer's own. If true, all layers run from the end of the
                sequence: those below the last keep the order.
            rngs: for the dropout, in place of the layer's own.
        """
        return_carry = self.return_carry if return_carry is None else return_carry
        given = {"time_major": time_major, "reverse": reverse, "keep_order": keep_order}
        options = {name: value for name, value in given.items() if value is not None}
        options |= {"seq_lengths": seq_lengths, "return_carry": True, "rngs": rngs}
        below = options | ({"keep_order": True} if reverse else {})
        starts = [None] * len(self.layers) if initial_carry is None else initial_carry
        *lower, last = zip(self.layers, starts, strict=True)

        carries = []
        for layer, start in lower:
            carry, inputs = layer(inputs, initial_carry=start, **below)
            inputs = inputs if self.dropout is None else self.dropout(inputs, rngs=rngs)
            carries.append(carry)
        layer, start = last
        carry, outputs = layer(inputs, initial_carry=start, **options)
        return ([*carries, carry], outputs) if return_carry else outputs
