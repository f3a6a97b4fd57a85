"""Recurrent layers of other libraries as layers of this one, with the same outputs.

All put the gates of a cell side by side, in orders of their own (`ht_jax.nn.GATE_ORDER`). What
comes out is dense; `ht_jax.compress` takes it from there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ht_jax import nn
from ht_jax.export.files import fill, read
from ht_jax.nn.gates import Library

_CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "simple": nn.SimpleCell}
_KIND_OF_GATES = {4: "lstm", 3: "gru", 1: "simple"}


class CellWeights(NamedTuple):
    """The numbers of one cell, gates in this library's order.

    Attributes:
        kind: "lstm", "gru" or "simple".
        input: input-to-hidden kernel.
        recurrent: hidden-to-hidden kernel.
        bias: of all gates; its forget gate has no 1 added.
        candidate_bias: of a GRU's hidden candidate, inside the reset gate's product.

    Example:
        >>> weights = CellWeights("simple", np.ones((5, 3)), np.eye(3), np.zeros(3))
        >>> layer_of(weights)(jnp.ones((2, 7, 5))).shape
        (2, 7, 3)
    """

    kind: str
    input: Float[np.ndarray, "in_features gated"]
    recurrent: Float[np.ndarray, "hidden gated"]
    bias: Float[np.ndarray, " gated"]
    candidate_bias: Float[np.ndarray, " hidden"] | None = None


def from_torch(state: Mapping[str, Any] | str | os.PathLike, prefix: str = "") -> Any:
    """A `torch.nn.LSTM`, `GRU`, `RNN` (tanh) or `Linear` from its state dict.

    Args:
        state: a state dict of tensors or arrays, or the path of a safetensors file of one.
        prefix: of the layer's names in the state dict, such as "encoder.lstm.".

    Returns:
        `nn.RNN`, or `nn.Bidirectional`; of several layers, `nn.Stacked`; of a Linear,
        `nnx.Linear`. Their inputs are (batch, time, features) unless called with `time_major`.

    Raises:
        ValueError: the names or shapes are not those of such a layer, or a number is not finite.

    Example:
        >>> state = {"weight_ih_l0": np.ones((12, 5)), "weight_hh_l0": np.ones((12, 3))}
        >>> from_torch(state)(jnp.ones((2, 7, 5))).shape
        (2, 7, 3)
    """
    place = f"{os.fspath(state)}: " if isinstance(state, str | os.PathLike) else ""
    arrays = read(state)[0] if isinstance(state, str | os.PathLike) else state
    mine = {
        n.removeprefix(prefix): np.asarray(a) for n, a in arrays.items() if n.startswith(prefix)
    }
    try:
        return _linear(mine) if "weight" in mine else _torch_layers(mine)
    except ValueError as error:
        raise ValueError(f"{place}{error}") from error


def from_keras(layers: Any) -> Any:
    """Keras LSTM, GRU (reset_after=True), SimpleRNN, or Bidirectional layers of them.

    Args:
        layers: one built layer, or a sequence of them, the first one first. The activations are
            Keras's defaults.

    Returns:
        As `from_torch`; all outputs over time, whatever `return_sequences` says.

    Raises:
        ValueError: another kind of layer, one that is not built, or other activations.

    Example:
        >>> layer = from_keras(keras.Sequential(...).layers)  # doctest: +SKIP
        >>> from_keras(nnx.LSTMCell(5, 3, rngs=nnx.Rngs(0)))
        Traceback (most recent call last):
        ValueError: LSTMCell is not a built LSTM, GRU or SimpleRNN of Keras
    """
    layers = layers if isinstance(layers, Sequence) else [layers]
    return _stacked([_keras_layer(layer) for layer in layers])


def from_flax(layers: Any) -> Any:
    """Flax NNX cells, `nnx.RNN` and `nnx.Bidirectional` layers of them.

    Args:
        layers: one layer or cell, or a sequence of them, the first one first. Their gates and
            activations are the defaults.

    Returns:
        As `from_torch`. Outputs past the end of a sequence are zero, where `nnx.RNN` runs on.

    Raises:
        ValueError: another kind of layer, or other activations.

    Example:
        >>> layer = from_flax(nnx.RNN(nnx.GRUCell(5, 3, rngs=nnx.Rngs(0))))
        >>> layer(jnp.ones((2, 7, 5))).shape
        (2, 7, 3)
    """
    layers = layers if isinstance(layers, Sequence) else [layers]
    return _stacked([_flax_layer(layer) for layer in layers])


def from_linen(params: Mapping[str, Any]) -> Any:
    """The parameters of one cell of Flax Linen: (Optimized)LSTMCell, GRUCell or SimpleCell.

    Args:
        params: such as `variables["params"]["OptimizedLSTMCell_0"]`.

    Returns:
        `nn.RNN`.

    Raises:
        ValueError: the names are not those of such a cell.

    Example:
        >>> sides = {"i": {"kernel": np.ones((5, 3))}, "h": {"kernel": np.eye(3)}}
        >>> from_linen(sides)(jnp.ones((2, 7, 5))).shape  # what a linen.SimpleCell holds
        (2, 7, 3)
    """
    for kind, letters in (("lstm", "ifgo"), ("gru", "rzn"), ("simple", None)):
        names = [*letters] if letters else [""]
        if {side + name for side in "ih" for name in names} == set(params):
            return layer_of(_linen_cell(kind, names, params))
    raise ValueError(f"{sorted(params)} are not the parameters of a Linen cell")


def layer_of(weights: CellWeights) -> nn.RNN:
    """The layer that holds these numbers.

    Args:
        weights: of the cell.

    Raises:
        ValueError: shapes that do not fit together, or numbers that are not finite.

    Example:
        >>> layer_of(CellWeights("gru", np.ones((5, 9)), np.ones((3, 9)), np.ones(9))).cell.gates
        3
    """
    in_features, hidden = weights.input.shape[0], weights.recurrent.shape[0]
    cell = _CELLS[weights.kind]
    dtype = jax.dtypes.canonicalize_dtype(weights.input.dtype)
    arrays = {
        "cell.input.cores.kernel": weights.input,
        "cell.input.bias": weights.bias,
        "cell.recurrent.cores.kernel": weights.recurrent,
    }
    if weights.kind == "gru":
        own = weights.candidate_bias
        arrays["cell.candidate_bias"] = np.zeros(hidden, dtype) if own is None else own
    layer = nnx.eval_shape(
        lambda: nn.RNN(cell(in_features, hidden, param_dtype=dtype, rngs=nnx.Rngs(0)))
    )
    fill(layer, arrays)
    return layer


def _stacked(layers: list[Any]) -> Any:
    return layers[0] if len(layers) == 1 else nn.Stacked(layers)


def _reordered(array: np.ndarray, kind: str, source: Library) -> np.ndarray:
    return np.asarray(nn.reorder_gates(jnp.asarray(array), kind, source, "ht_jax"))


def _linear(arrays: Mapping[str, np.ndarray]) -> nnx.Linear:
    weight, bias = arrays["weight"], arrays.get("bias")
    if weight.ndim != 2:
        raise ValueError(f"weight has shape {weight.shape}: a Linear has (out, in)")
    sizes = (weight.shape[1], weight.shape[0])
    dtype = jax.dtypes.canonicalize_dtype(weight.dtype)
    options = {"use_bias": bias is not None, "param_dtype": dtype}
    layer = nnx.eval_shape(lambda: nnx.Linear(*sizes, **options, rngs=nnx.Rngs(0)))
    fill(layer, {"kernel": weight.T} | ({} if bias is None else {"bias": bias}))
    return layer


def _torch_layers(arrays: Mapping[str, np.ndarray]) -> Any:
    layers, left = [], set(arrays)
    while f"weight_ih_l{len(layers)}" in arrays:
        suffix = f"_l{len(layers)}"
        layer = layer_of(_torch_cell(arrays, suffix))
        if f"weight_ih{suffix}_reverse" in arrays:
            layer = nn.Bidirectional(layer, layer_of(_torch_cell(arrays, f"{suffix}_reverse")))
        layers.append(layer)
        used = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        left -= {name + s for name in used for s in (suffix, f"{suffix}_reverse")}
    if left or not layers:
        raise ValueError(
            f"{sorted(left) or 'no array'} is not of an LSTM, GRU, RNN or Linear of PyTorch: "
            "give the prefix of the layer (projections are not read)"
        )
    return _stacked(layers)


def _torch_cell(arrays: Mapping[str, np.ndarray], suffix: str) -> CellWeights:
    """Both of PyTorch's biases are added, but a GRU's of the hidden candidate, which r scales."""
    names = (f"weight_ih{suffix}", f"weight_hh{suffix}")
    if missing := [name for name in names if name not in arrays]:
        raise ValueError(f"{missing[0]} is missing")
    input, recurrent = (arrays[name].T for name in names)
    hidden = recurrent.shape[0]
    kind = _KIND_OF_GATES.get(recurrent.shape[-1] // hidden)
    if kind is None or recurrent.shape[-1] % hidden:
        raise ValueError(f"weight_hh{suffix} has shape {recurrent.T.shape}: not that of a cell")
    zeros = np.zeros(recurrent.shape[-1], input.dtype)
    bias, own = arrays.get(f"bias_ih{suffix}", zeros), arrays.get(f"bias_hh{suffix}", zeros)
    if kind != "gru":
        return CellWeights(kind, input, recurrent, bias + own)
    shared = np.concatenate([own[: 2 * hidden], zeros[2 * hidden :]])
    return CellWeights(kind, input, recurrent, bias + shared, own[2 * hidden :])


def _keras_layer(layer: Any) -> Any:
    if type(layer).__name__ == "Bidirectional":
        if layer.merge_mode != "concat":
            raise ValueError(f"merge_mode {layer.merge_mode!r} is not 'concat'")
        pair = (layer.forward_layer, layer.backward_layer)
        return nn.Bidirectional(*(layer_of(_keras_cell(each)) for each in pair))
    if getattr(layer, "go_backwards", False):
        raise ValueError(f"{layer.name} goes backwards: put it into a Bidirectional")
    return layer_of(_keras_cell(layer))


def _keras_cell(layer: Any) -> CellWeights:
    kind = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "simple"}.get(type(layer).__name__)
    if kind is None or not layer.built:
        raise ValueError(f"{type(layer).__name__} is not a built LSTM, GRU or SimpleRNN of Keras")
    config = layer.get_config()
    asked = {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True}
    for name, value in asked.items():
        if config.get(name, value) != value:
            raise ValueError(f"{layer.name} has {name}={config[name]!r}: only {value!r} is read")
    input, recurrent, *biases = (np.asarray(weight) for weight in layer.get_weights())
    hidden, gated = recurrent.shape
    bias = biases[0] if biases else np.zeros(gated, input.dtype)
    turn: Callable[[np.ndarray], np.ndarray] = lambda a: _reordered(a, kind, "keras")  # noqa: E731
    if kind != "gru":
        return CellWeights(kind, turn(input), turn(recurrent), turn(bias))
    # A GRU's bias has structure [of the input, of the hidden state], or one where it has none.
    ours, own = (turn(part) for part in np.broadcast_to(bias, (2, gated)) * bool(biases))
    shared = np.concatenate([own[: 2 * hidden], np.zeros(hidden, own.dtype)])
    return CellWeights(kind, turn(input), turn(recurrent), ours + shared, own[2 * hidden :])


def _flax_layer(layer: Any) -> Any:
    if isinstance(layer, nnx.Bidirectional):
        pair = (layer.forward_rnn, layer.backward_rnn)
        return nn.Bidirectional(*(_flax_layer(each) for each in pair))
    if isinstance(layer, nnx.RNN):
        rnn = layer_of(_flax_cell(layer.cell))
        for name in ("time_major", "return_carry", "reverse", "keep_order"):
            setattr(rnn, name, getattr(layer, name))
        return rnn
    return layer_of(_flax_cell(layer))


def _flax_cell(cell: Any) -> CellWeights:
    gate, activation = getattr(cell, "gate_fn", nnx.sigmoid), getattr(cell, "activation_fn", None)
    if gate is not nnx.sigmoid or activation not in (nnx.tanh, jnp.tanh):
        raise ValueError(f"{type(cell).__name__}: only sigmoid gates and tanh are read")
    if isinstance(cell, nnx.LSTMCell):
        inputs = [cell.ii, cell.if_, cell.ig, cell.io]
        hiddens = [cell.hi, cell.hf, cell.hg, cell.ho]
        return CellWeights("lstm", _wide(inputs), _wide(hiddens), _biases(inputs, hiddens))
    kinds = {nnx.OptimizedLSTMCell: "lstm", nnx.GRUCell: "gru", nnx.SimpleCell: "simple"}
    kind = next((kind for cls, kind in kinds.items() if isinstance(cell, cls)), None)
    if kind is None or getattr(cell, "residual", False):
        raise ValueError(f"{type(cell).__name__} is not a plain cell of Flax NNX")
    inputs, hiddens = [cell.dense_i], [cell.dense_h]
    return CellWeights(kind, _wide(inputs), _wide(hiddens), _biases(inputs, hiddens))


def _wide(layers: list[nnx.Linear]) -> np.ndarray:
    return np.concatenate([np.asarray(layer.kernel[...]) for layer in layers], axis=-1)


def _biases(inputs: list[nnx.Linear], hiddens: list[nnx.Linear]) -> np.ndarray:
    """The sum of the two sides' biases; a GRU of Flax NNX has none on the hidden side."""
    sides = []
    for layers in (inputs, hiddens):
        one = [
            np.zeros(x.out_features, np.float32) if x.bias is None else x.bias[...] for x in layers
        ]
        sides.append(np.concatenate([np.asarray(bias) for bias in one]))
    return sides[0] + sides[1]


def _linen_cell(kind: str, names: list[str], params: Mapping[str, Any]) -> CellWeights:
    sides = {side: [params[side + name] for name in names] for side in "ih"}
    kernels = [
        np.concatenate([np.asarray(p["kernel"]) for p in side], -1) for side in sides.values()
    ]
    hidden = kernels[1].shape[0]
    zeros = np.zeros(hidden, kernels[0].dtype)
    biases = [[np.asarray(p.get("bias", zeros)) for p in side] for side in sides.values()]
    own = None
    if kind == "gru":  # the candidate's hidden bias stays inside the reset gate's product
        own, biases[1][-1] = biases[1][-1], zeros
    bias = np.concatenate(biases[0]) + np.concatenate(biases[1])
    return CellWeights(kind, kernels[0], kernels[1], bias, own)
