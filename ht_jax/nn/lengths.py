"""Which frames of padded sequences are valid: frame t of a sequence is, if 0 <= t < min(length, T).

All that reads `seq_lengths` reads this one mask, so that the contract holds everywhere alike.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Shaped

Lengths = Int[Array, "*batch"] | np.ndarray | list[Any] | tuple[Any, ...] | int


def valid_frames(
    seq_lengths: Lengths | None, shape: tuple[int, ...], *, time_major: bool
) -> Bool[Array, "time *batch 1"] | None:
    """The mask of the valid frames, time-major; None if all are valid.

    Args:
        seq_lengths: numbers of valid frames (*batch), of any integer dtype; also a NumPy array,
            a list or a tuple. Below 0 they act as 0, above `time` as `time`.
        shape: of the inputs, (*batch, time, features) or (time, *batch, features); the time may
            be symbolic, under `jax.export`.
        time_major: which of the two.

    Raises:
        TypeError: lengths that are not integers, such as a mask of bool.
        ValueError: lengths of another shape than the batch axes.

    Example:
        >>> valid = valid_frames([3, 0, 9], (3, 4, 1), time_major=False)
        >>> valid[..., 0].astype(int)
        Array([[1, 0, 1],
               [1, 0, 1],
               [1, 0, 1],
               [0, 0, 1]], dtype=int32)
    """
    if seq_lengths is None:
        return None
    lengths = _integers(seq_lengths)
    time, *batch = shape[:-1] if time_major else (shape[-2], *shape[:-2])
    if lengths.shape != tuple(batch):
        raise ValueError(
            f"seq_lengths have shape {lengths.shape}, but the batch axes of the inputs are "
            f"{tuple(batch)}: give one length for each sequence"
        )
    times = jnp.arange(time, dtype=lengths.dtype).reshape(-1, *[1] * len(batch))
    return (times < lengths)[..., None]


def _integers(lengths: Any) -> Int[Array, "*batch"]:
    """Lengths in a dtype that holds every frame number: of 32 bits or more."""
    traced = any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(lengths))
    lengths = jnp.asarray(lengths) if traced else np.asarray(lengths)
    if not lengths.size and isinstance(lengths, np.ndarray):  # [] is an array of floats
        lengths = lengths.astype(np.int32)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(
            f"seq_lengths have dtype {lengths.dtype}: give integers, the number of valid frames "
            "of each sequence (of a mask: mask.sum(time_axis))"
        )
    if isinstance(lengths, np.ndarray):  # JAX would wrap 64 bits around where x64 is off
        most = min(np.iinfo(lengths.dtype).max, np.iinfo(np.int32).max)
        lengths = jnp.asarray(lengths.clip(0, most).astype(np.int32))
    return lengths.astype(jnp.int32) if lengths.dtype.itemsize < 4 else lengths


def masked(
    inputs: Shaped[Array, "*batch_and_time_and_features"],
    valid: Bool[Array, "time *batch 1"] | None,
    *,
    time_major: bool,
) -> Shaped[Array, "*batch_and_time_and_features"]:
    """The inputs with zeros in place of what stands outside the sequences; of any feature axes.

    To mask what a product makes of them would not do: its gradient for the weights multiplies
    the inputs by zeros, and NaN * 0 is NaN.
    """
    if valid is None:
        return inputs
    valid = valid if time_major else jnp.moveaxis(valid, 0, -2)
    valid = jnp.expand_dims(valid, tuple(range(valid.ndim, inputs.ndim)))
    return jnp.where(valid, inputs, jnp.zeros((), inputs.dtype))


def flipped(
    frames: Shaped[Array, "*batch_and_time features"],
    valid: Bool[Array, "time *batch 1"] | None,
    *,
    time_major: bool,
) -> Shaped[Array, "*batch_and_time features"]:
    """The valid frames in the opposite order; those outside stay where they are."""
    axis = 0 if time_major else -2
    if valid is None:
        return jnp.flip(frames, axis)
    times = jnp.arange(valid.shape[0], dtype=jnp.int32).reshape(-1, *[1] * (valid.ndim - 1))
    index = jnp.where(valid, _count(valid) - 1 - times, times)
    return jnp.take_along_axis(frames, jnp.moveaxis(index, 0, axis), axis=axis)


def last_valid(
    outputs: Shaped[Array, "*batch time features"], valid: Bool[Array, "time *batch 1"] | None
) -> Shaped[Array, "*batch features"]:
    """The outputs at the last valid frame; of an empty sequence, at the first frame."""
    if valid is None:
        return outputs[..., -1, :]
    last = jnp.maximum(_count(valid) - 1, 0)
    return jnp.take_along_axis(outputs, last[..., None, :], axis=-2)[..., 0, :]


def _count(valid: Bool[Array, "time *batch 1"]) -> Int[Array, "*batch 1"]:
    return valid.sum(0, dtype=jnp.int32)
