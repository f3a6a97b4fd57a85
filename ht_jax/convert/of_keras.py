"""Layers of Keras, built ones or those of a `.weights.h5` file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ht_jax import nn
from ht_jax.convert.cells import CellWeights, layer_of, stacked
from ht_jax.convert.keras_file import Stored, read_layers

_KINDS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "simple"}


def from_keras(layers: Any, names: Sequence[str] | None = None) -> Any:
    """Keras LSTM, GRU (reset_after=True), SimpleRNN, or Bidirectional layers of them.

    Args:
        layers: one built layer, or a sequence of them, the first one first; or the path of what
            `model.save_weights("name.weights.h5")` wrote. The activations are Keras's defaults,
            and Bidirectional layers concatenate; a file does not tell, so there it is assumed.
        names: of a file's layers to read, the first one first, such as ("layers/lstm",); by
            default all recurrent ones, if the file tells their order.

    Returns:
        As `from_torch`; all outputs over time, whatever `return_sequences` says.

    Raises:
        ValueError: another kind of layer, one that is not built, or other activations; a file
            that is corrupt or foreign, which is named.
        FileNotFoundError: there is no such file.
        ImportError: a file, and h5py is missing.

    Example:
        >>> layer = from_keras("model.weights.h5", names=["layers/lstm"])  # doctest: +SKIP
        >>> from_keras(object())
        Traceback (most recent call last):
        ValueError: object is not a built LSTM, GRU or SimpleRNN of Keras
    """
    if isinstance(layers, str | os.PathLike):
        return _from_file(layers, names)
    if names is not None:
        raise ValueError(f"names {names!r} go with a file: leave out the layers in their place")
    layers = layers if isinstance(layers, Sequence) else [layers]
    return stacked([_built_layer(layer) for layer in layers])


def _from_file(path: str | os.PathLike[str], names: Sequence[str] | None) -> Any:
    layers = []
    for name, cells in read_layers(path, names).items():
        try:
            layers.append(_directions([_stored_cell(cell) for cell in cells]))
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {name}: {error}") from error
    return stacked(layers)


def _directions(cells: Sequence[CellWeights]) -> Any:
    """A layer of one cell, or a Bidirectional of two."""
    layers = [layer_of(cell) for cell in cells]
    return layers[0] if len(layers) == 1 else nn.Bidirectional(*layers)


def _stored_cell(stored: Stored) -> CellWeights:
    return _cell(stored.kind, *stored.arrays)


def _built_layer(layer: Any) -> Any:
    if type(layer).__name__ == "Bidirectional":
        if layer.merge_mode != "concat":
            raise ValueError(f"merge_mode {layer.merge_mode!r} is not 'concat'")
        return _directions([_built_cell(x) for x in (layer.forward_layer, layer.backward_layer)])
    if getattr(layer, "go_backwards", False):
        raise ValueError(f"{layer.name} goes backwards: put it into a Bidirectional")
    return _directions([_built_cell(layer)])


def _built_cell(layer: Any) -> CellWeights:
    kind = _KINDS.get(type(layer).__name__)
    if kind is None or not layer.built:
        raise ValueError(f"{type(layer).__name__} is not a built LSTM, GRU or SimpleRNN of Keras")
    config = layer.get_config()
    asked = {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True}
    for name, value in asked.items():
        if config.get(name, value) != value:
            raise ValueError(f"{layer.name} has {name}={config[name]!r}: only {value!r} is read")
    return _cell(kind, *map(np.asarray, layer.get_weights()))


def _cell(
    kind: str, input: np.ndarray, recurrent: np.ndarray, bias: np.ndarray | None = None
) -> CellWeights:
    """The numbers of a cell, from Keras's order of gates."""
    hidden, gated = recurrent.shape
    bias = np.zeros(gated, input.dtype) if bias is None else bias
    input, recurrent, bias = (_reordered(a, kind) for a in (input, recurrent, bias))
    if kind != "gru":
        return CellWeights(kind, input, recurrent, bias)
    # A GRU's bias has structure [of the input, of the hidden state], or there is none at all.
    ours, own = np.broadcast_to(bias, (2, gated))
    shared = np.concatenate([own[: 2 * hidden], np.zeros(hidden, own.dtype)])
    return CellWeights(kind, input, recurrent, ours + shared, own[2 * hidden :])


def _reordered(array: np.ndarray, kind: str) -> np.ndarray:
    return np.asarray(nn.reorder_gates(jnp.asarray(array), kind, "keras", "ht_jax"))
