"""Random layers of Keras 3, converted: the outputs and gradients are Keras's, or it is refused."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.research.comparison import compare
from experiments.research.outcome import Outcome
from ht_jax import convert

os.environ["KERAS_BACKEND"] = "jax"
import keras

WIDTH = 3
KINDS = ("LSTM", "GRU", "SimpleRNN")
MERGED = ("concat", "sum", "mul", "ave")
POLICIES = (*["float32"] * 8, "bfloat16", "float16", "mixed_bfloat16", "mixed_float16")


@keras.saving.register_keras_serializable()  # Bidirectional copies it by its name
class OtherGRU(keras.layers.GRU):
    """A user's subclass with equations of its own."""

    def inner_loop(self, *args: Any, **options: Any) -> Any:
        """Twice the outputs are what a GRU does not make."""
        last, outputs, states = super().inner_loop(*args, **options)
        return keras.ops.multiply(last, 2), keras.ops.multiply(outputs, 2), states


OtherGRU.__name__ = "GRU"
# What has to be refused: options of the recurrent layer, or the Bidirectional around it.
PECULIAR: tuple[dict[str, Any], ...] = (
    {"activation": "relu"},
    {"recurrent_activation": "hard_sigmoid"},
    {"reset_after": False},
    {"stateful": True},
    {"dropout": 0.2},
    {"recurrent_dropout": 0.3},
    {"return_sequences": False},
    {"kernel_constraint": "unit_norm"},
    {"bias_regularizer": "l2"},
    {"activity_regularizer": "l1"},
    {"merge_mode": None},
    {"kind": OtherGRU},
)


def run_case(seed: int) -> Outcome:
    """Draws layers, converts them, and compares both.

    Args:
        seed: of all that is drawn.
    """
    draw = np.random.default_rng(seed)
    peculiar = PECULIAR[draw.integers(len(PECULIAR))] if draw.random() < 0.25 else {}
    policy = POLICIES[draw.integers(len(POLICIES))]
    filed = not peculiar and policy == "float32" and bool(draw.random() < 0.2)
    shape = (int(draw.integers(1, 4)), int(draw.integers(1, 7)), WIDTH)
    lengths = draw.integers(0, shape[1] + 1, shape[0]) if draw.random() < 0.5 else None
    layers, text = _layers(draw, shape, policy, filed, peculiar)
    told = f"{text}, x {shape}, lengths {None if lengths is None else lengths.tolist()}"
    try:
        ours = _converted(layers, filed)
    except ValueError as error:
        return Outcome("refused" if peculiar else "failed", 0.0, f"{told}: {error}")
    valid = None if lengths is None else np.arange(shape[1]) < lengths[:, None]
    backwards = getattr(layers[-1], "go_backwards", False)

    def theirs(x: jax.Array) -> list[jax.Array]:
        for layer in layers:
            x = layer(x, mask=None if valid is None else jnp.asarray(valid))
        outputs, *states = x if isinstance(x, (list, tuple)) else [x]
        return [_masked(outputs, valid, backwards), *states]

    def converted(x: jax.Array) -> list[jax.Array]:
        y = ours(x, seq_lengths=None if lengths is None else jnp.asarray(lengths))
        if not isinstance(y, tuple):
            return [y]
        carry = y[0][-1] if len(layers) > 1 else y[0]  # of all layers
        return [y[1], *_states(carry, layers[-1])]

    x = jnp.asarray(draw.normal(size=shape), layers[0].compute_dtype)
    try:
        jax.eval_shape(theirs, x)
    except TypeError:  # Keras itself cannot run some of its layers in half precision
        return run_case(seed + 1)
    return compare(theirs, converted, x, told, seed)


def _converted(layers: Sequence[Any], filed: bool) -> Any:
    """The converted layers, read from a file or from the layers themselves."""
    if not filed:
        return convert.from_keras(layers if len(layers) > 1 else layers[0])
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/a.weights.h5"
        keras.Sequential([keras.Input((None, WIDTH)), *layers]).save_weights(path)
        return convert.from_keras(path, [f"layers/{name}" for name in _stored(layers)])


def _stored(layers: Sequence[Any]) -> list[str]:
    """The names that a file has for these layers: of their classes, numbered from the second on."""
    snake = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "simple_rnn"}
    stems = [snake.get(type(layer).__name__, "bidirectional") for layer in layers]
    counts = [stems[:n].count(stem) for n, stem in enumerate(stems)]
    return [f"{stem}_{count}" if count else stem for stem, count in zip(stems, counts)]


def _layers(
    draw: np.random.Generator,
    shape: tuple[int, ...],
    policy: str,
    filed: bool,
    peculiar: dict[str, Any],
) -> tuple[list[Any], str]:
    """Layers on top of each other, the last one with the peculiar option; and their description."""
    layers, texts, depth = [], [], int(draw.integers(1, 4))
    for n in range(depth):
        last = n == depth - 1
        layer, text = _layer(draw, policy, filed, last, peculiar if last else {})
        layer.build(shape)
        layer.set_weights([draw.uniform(-0.7, 0.7, w.shape) for w in layer.get_weights()])
        shape = shape if last else layer.compute_output_shape(shape)
        layers.append(layer)
        texts.append(text)
    return layers, f"{policy}{' file' if filed else ''}: {', then '.join(texts)}"


def _layer(
    draw: np.random.Generator, policy: str, filed: bool, last: bool, peculiar: dict[str, Any]
) -> tuple[Any, str]:
    kind = KINDS[draw.integers(3)]
    kind = "GRU" if "reset_after" in peculiar or "kind" in peculiar else kind
    kind = "LSTM" if "recurrent_activation" in peculiar else kind
    both = "merge_mode" in peculiar or bool(draw.random() < 0.35)
    backwards = last and not both and not filed and draw.random() < 0.3
    options: dict[str, Any] = {
        "units": int(draw.integers(1, 5)),
        "use_bias": bool(draw.random() < 0.7) or (filed and kind == "GRU"),
        "unroll": bool(draw.random() < 0.2),
        "zero_output_for_mask": bool(draw.random() < 0.3),
        # Only the last layer: Keras gives the ones behind it the mask of the order before.
        "go_backwards": bool(backwards),
        "return_state": bool(last and not filed and draw.random() < 0.4),
        "return_sequences": True,
    }
    merge = "concat" if filed else MERGED[draw.integers(4)]
    options |= {name: v for name, v in peculiar.items() if name not in ("kind", "merge_mode")}
    made = peculiar.get("kind", getattr(keras.layers, kind))(
        **options, dtype=policy, recurrent_initializer="glorot_uniform"
    )
    if both:
        merge = peculiar.get("merge_mode", merge)
        made = keras.layers.Bidirectional(made, merge_mode=merge, dtype=policy)
    about = f"{kind}({options}{peculiar or ''})"
    return made, f"Bidirectional({about}, {merge!r})" if both else about


def _masked(outputs: Any, valid: np.ndarray | None, backwards: bool) -> Any:
    """Keras's outputs of the valid frames, in front; zeros behind them.

    A layer that goes backwards meets the padding first, and so has its outputs at the end.
    """
    if valid is None:
        return outputs
    if backwards:
        times = np.arange(valid.shape[1])
        order = (times - valid.sum(1)[:, None]) % valid.shape[1]
        outputs = jnp.take_along_axis(outputs, jnp.asarray(order)[..., None], 1)
    return jnp.where(valid[..., None], outputs, jnp.zeros_like(outputs))


def _states(carry: Any, layer: Any) -> list[Any]:
    """In Keras's order: h before c, the forward direction first."""
    if isinstance(layer, keras.layers.Bidirectional):
        ends = zip(carry, (layer.forward_layer, layer.backward_layer))
        return [state for part, end in ends for state in _states(part, end)]
    return [*reversed(carry)] if isinstance(carry, tuple) else [carry]
