"""Layers of Flax: NNX cells and the layers of them, the parameters of a Linen cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ht_jax import nn
from ht_jax.convert.cells import CellWeights, layer_of, stacked


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
    return stacked([_flax_layer(layer) for layer in layers])


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
