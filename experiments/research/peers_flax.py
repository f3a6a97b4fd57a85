"""Random layers of Flax NNX, converted: the outputs and gradients are Flax's, or it is refused."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.research.comparison import compare
from experiments.research.outcome import Outcome
from ht_jax import convert

WIDTH = 3
CELLS = (nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell)
MERGED = {"concat": None, "add": jnp.add, "multiply": jnp.multiply, "maximum": jnp.maximum}
DTYPES = (*[jnp.float32] * 8, jnp.bfloat16, jnp.float16)


class OtherGRU(nnx.GRUCell):
    """A user's subclass with equations of its own."""

    def __call__(self, carry: Any, inputs: Any) -> Any:
        """Twice the carry is what a GRUCell does not make."""
        carry, y = super().__call__(carry, inputs)
        return carry, 2 * y


class OtherRNN(nnx.RNN):
    """A user's subclass of a layer."""


# What has to be refused: options of the cell, of a matrix in it or of the layer around it.
PECULIAR: tuple[dict[str, Any], ...] = (
    {"gate_fn": nnx.hard_sigmoid},
    {"activation_fn": nnx.relu},
    {"residual": True},
    {"carry_init": nnx.initializers.ones_init()},
    {"dtype": jnp.float16, "param_dtype": jnp.float32},
    {"cell": OtherGRU},
    {"rnn": OtherRNN},
    {"around": {"broadcast_rngs": "dropout"}},
    {"linear": {"precision": "highest"}},
)


def run_case(seed: int) -> Outcome:
    """Draws layers, converts them, and compares both.

    Args:
        seed: of all that is drawn.
    """
    draw = np.random.default_rng(seed)
    peculiar = PECULIAR[draw.integers(len(PECULIAR))] if draw.random() < 0.25 else {}
    time_major = bool(draw.random() < 0.3)
    dtype = DTYPES[draw.integers(len(DTYPES))]
    with warnings.catch_warnings(action="ignore"):  # Flax's, of carry_init
        layers, text = _layers(draw, time_major, dtype, peculiar)
    batch = [int(size) for size in draw.integers(1, 4, draw.integers(1, 3))]
    steps = int(draw.integers(1, 7))
    shape = (steps, *batch, WIDTH) if time_major else (*batch, steps, WIDTH)
    # Of several batch axes Flax itself takes no lengths.
    some = len(batch) == 1 and draw.random() < 0.5
    lengths = jnp.asarray(draw.integers(1, steps + 1, batch)) if some else None
    text = f"{text}, x {shape}, seq_lengths {None if lengths is None else lengths.tolist()}"
    try:
        ours = convert.from_flax(layers if len(layers) > 1 else layers[0])
    except ValueError as error:
        return Outcome("refused" if peculiar else "failed", 0.0, f"{text}: {error}")

    valid = jnp.asarray(True) if lengths is None else _valid(lengths, steps, time_major)

    parts = nnx.split(layers)

    def theirs(x: Any) -> list[jax.Array]:
        for layer in nnx.merge(*parts, copy=True):  # those of another trace cannot be scanned
            layer = nnx.RNN(layer) if isinstance(layer, nnx.RNNCellBase) else layer
            x = layer(x, seq_lengths=lengths, rngs=nnx.Rngs(0))
        return _arrays(x, valid)

    def converted(x: jax.Array) -> list[jax.Array]:
        y = ours(x, seq_lengths=lengths)
        several = isinstance(y, tuple) and len(layers) > 1  # the carries of all layers
        return _arrays((y[0][-1], y[1]) if several else y, valid)

    x = jnp.asarray(draw.normal(size=shape), dtype)
    return compare(theirs, converted, x, text, seed)


def _layers(
    draw: np.random.Generator, time_major: bool, dtype: Any, peculiar: dict[str, Any]
) -> tuple[list[Any], str]:
    """Layers on top of each other, the last one with the peculiar option; and their description."""
    layers, texts, width, depth = [], [], WIDTH, int(draw.integers(1, 4))
    for n in range(depth):
        last = n == depth - 1
        cell, hidden = CELLS[draw.integers(4)], int(draw.integers(1, 5))
        options = {"param_dtype": dtype, "dtype": dtype if draw.random() < 0.5 else None}
        own = peculiar if last else {}
        make = lambda: _cell(draw, cell, width, hidden, options, own)  # noqa: B023, E731
        layer, text = _around(draw, make, time_major, last, own)
        width = hidden * (2 if "Bidirectional(concat" in text else 1)
        layers.append(layer)
        texts.append(f"{cell.__name__}({hidden}) {text}")
    return layers, f"{jnp.dtype(dtype)}: {', then '.join(texts)}, {peculiar or 'plain'}"


def _cell(
    draw: np.random.Generator,
    cell: Any,
    width: int,
    hidden: int,
    options: dict[str, Any],
    peculiar: dict[str, Any],
) -> Any:
    own = {k: v for k, v in peculiar.items() if k not in ("cell", "rnn", "around", "linear")}
    if own.get("residual"):
        cell = nnx.SimpleCell
    if cell is nnx.SimpleCell and own.pop("gate_fn", None):
        own["activation_fn"] = nnx.relu
    own["recurrent_kernel_init"] = nnx.initializers.lecun_normal()  # orthogonal has no halves
    made = peculiar.get("cell", cell)(
        width, hidden, **(options | own), rngs=nnx.Rngs(int(draw.integers(1 << 30)))
    )
    for _, param in nnx.to_flat_state(nnx.state(made, nnx.Param)):
        value = draw.uniform(-0.7, 0.7, param.get_value().shape)
        param.set_value(jnp.asarray(value, options["param_dtype"]))
    nnx.update(made, nnx.state(made, nnx.Param))
    for name, value in peculiar.get("linear", {}).items():
        setattr(made.hi if isinstance(made, nnx.LSTMCell) else made.dense_h, name, value)
    return made


def _around(
    draw: np.random.Generator, make: Any, time_major: bool, last: bool, peculiar: dict[str, Any]
) -> tuple[Any, str]:
    """The layer around a cell: none, an RNN or a Bidirectional."""
    returned = bool(last and draw.random() < 0.4)
    rnn, around = peculiar.get("rnn", nnx.RNN), peculiar.get("around", {})
    common = {"time_major": time_major, "return_carry": returned}
    if not time_major and not peculiar and draw.random() < 0.1:
        return make(), "alone"
    options = {name: bool(draw.random() < 0.4) for name in ("reverse", "keep_order")}
    options |= around | {"unroll": int(draw.integers(1, 3))}
    if draw.random() < 0.35:
        name = [*MERGED][draw.integers(len(MERGED))]
        merged = {} if MERGED[name] is None else {"merge_fn": MERGED[name]}
        pair = [rnn(make(), **options) for _ in range(2)]
        return nnx.Bidirectional(*pair, **merged, **common), f"Bidirectional({name}, {common})"
    return rnn(make(), **options, **common), f"RNN({options | common})"


def _valid(lengths: jax.Array, steps: int, time_major: bool) -> jax.Array:
    """Which frames of the outputs count: Flax runs on behind the end of a sequence."""
    valid = (jnp.arange(steps) < lengths[..., None])[..., None]
    return jnp.moveaxis(valid, -2, 0) if time_major else valid


def _arrays(result: Any, valid: jax.Array) -> list[jax.Array]:
    carry, outputs = result if isinstance(result, tuple) else ((), result)
    return [jnp.where(valid, outputs, jnp.zeros_like(outputs)), *jax.tree.leaves(carry)]
