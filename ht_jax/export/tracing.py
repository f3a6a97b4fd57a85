"""What the exporters trace: a model, or one step of it, over symbolic or fixed shapes.

The signature is plain arrays: a clip gives logits, or the states and a frame give the next states
and logits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jax import export
from jaxtyping import Array

from ht_jax.export.program import layers_of
from ht_jax.models import VideoClassifier

Shape = Sequence[int | str]
States = list[Array]


@dataclasses.dataclass(frozen=True)
class Traceable:
    """A function of arrays, its arguments' shapes, and names for what goes in and comes out."""

    function: Callable[..., Any]
    specs: tuple[jax.ShapeDtypeStruct, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def traceable(
    model: Any, shape: Shape, *, dtype: Any = "float32", seq_lengths: bool = False
) -> Traceable:
    """A model called with one array, and with the lengths of its sequences if asked for.

    Args:
        model: a module, or any function of arrays.
        shape: of the array; a name in place of a number leaves that size open.
        dtype: of the array.
        seq_lengths: whether the function takes `seq_lengths` (batch,) as well.

    Raises:
        ValueError: a shape of something else than numbers and names.
    """
    spec = _spec(shape, dtype)
    if not seq_lengths:
        return Traceable(lambda x: model(x), (spec,), ("inputs",), ("outputs",))
    batch = spec.shape[1:2] if getattr(model, "time_major", False) else spec.shape[:1]
    lengths = jax.ShapeDtypeStruct(batch, jnp.int32)
    function = lambda x, lengths: model(x, seq_lengths=lengths)  # noqa: E731
    return Traceable(function, (spec, lengths), ("inputs", "seq_lengths"), ("outputs",))


def traceable_step(model: VideoClassifier, shape: Shape, *, dtype: Any = "uint8") -> Traceable:
    """One step of a classifier: `(*states, frame) -> (*states, logits)`.

    Args:
        model: the classifier; its recurrent layers run forward.
        shape: of the frames (batch, ...); a name leaves that size open.
        dtype: of the frames.

    Raises:
        ValueError: a layer that cannot run frame by frame.
    """
    spec, step = _spec(shape, dtype), stream(model)[1]
    states = jax.eval_shape(lambda x: stream(model)[0](x), spec)
    names = tuple(f"state_{n}" for n in range(len(states)))

    def function(*args: Array) -> tuple[Array, ...]:
        states, logits = step(list(args[:-1]), args[-1])
        return (*states, logits)

    outputs = tuple(f"next_{name}" for name in names)
    return Traceable(function, (*states, spec), (*names, "frame"), (*outputs, "logits"))


def stream(
    model: VideoClassifier,
) -> tuple[Callable[[Array], States], Callable[[States, Array], tuple[States, Array]]]:
    """A classifier that is fed frame by frame.

    Args:
        model: the classifier; its recurrent layers run forward.

    Returns:
        `start(frame) -> states` for frames of that shape, and `step(states, frame) -> (states,
        logits)`, both with a batch axis; the states are arrays that zeros start.

    Raises:
        ValueError: a layer that cannot run frame by frame.

    Example:
        >>> import ht_jax as ht
        >>> rngs = nnx.Rngs(0)
        >>> rnn = ht.nn.RNN(ht.nn.GRUCell(12, 8, rngs=rngs))
        >>> start, step = stream(ht.models.VideoClassifier(rnn, 8, 5, rngs=rngs))
        >>> frame = jnp.ones((1, 2, 2, 3))
        >>> states, logits = step(start(frame), frame)
        >>> logits.shape
        (1, 5)
    """
    rnns = list(layers_of(model).values())

    def start(frame: Array) -> States:
        # Made from the frame, so that a symbolic batch stays symbolic.
        zero = jnp.zeros_like(frame.reshape(frame.shape[0], -1)[:, :1])
        return [
            jnp.broadcast_to(zero, (frame.shape[0], rnn.cell.hidden_features)).astype(_dtype(rnn))
            for rnn in rnns
            for _ in range(rnn.cell.num_states)
        ]

    def step(states: States, frame: Array) -> tuple[States, Array]:
        x, left, after = frame[:, None], list(states), []
        x = x if model.features is None else model.features(x)
        x = einops.rearrange(x, "batch time ... -> batch time (...)")
        for rnn in rnns:
            carry = tuple(left.pop(0) for _ in range(rnn.cell.num_states))
            carry = carry if rnn.cell.num_states > 1 else carry[0]
            carry, x = rnn(x, initial_carry=carry, return_carry=True)
            after += jax.tree.leaves(carry)
        return after, model.classifier(x[:, 0]).astype(jnp.float32)

    return start, step


def _dtype(rnn: Any) -> Any:
    return rnn.cell.dtype or rnn.cell.param_dtype


def _spec(shape: Shape, dtype: Any) -> jax.ShapeDtypeStruct:
    if not all(isinstance(size, int | str) and not isinstance(size, bool) for size in shape):
        raise ValueError(f"shape {tuple(shape)} must consist of numbers and names of open sizes")
    sizes = export.symbolic_shape(", ".join(map(str, shape)))
    return jax.ShapeDtypeStruct(sizes, jnp.dtype(dtype))


def evaluated(model: Any) -> Any:
    """The model in evaluation mode, as another object; a plain function as it is."""
    if not isinstance(model, nnx.Module):
        return model
    model = nnx.clone(model)
    model.eval()
    return model
