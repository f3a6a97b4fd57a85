"""Layers of PyTorch from their state dicts: two biases, matrices (out, in)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from ht_jax import nn
from ht_jax.convert.cells import KIND_OF_GATES, CellWeights, layer_of, stacked
from ht_jax.export.files import fill, read


def from_torch(state: Mapping[str, Any] | str | os.PathLike[str], prefix: str = "") -> Any:
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
        >>> from_torch(state)(jax.numpy.ones((2, 7, 5))).shape
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
    return stacked(layers)


def _torch_cell(arrays: Mapping[str, np.ndarray], suffix: str) -> CellWeights:
    """Both of PyTorch's biases are added, but a GRU's of the hidden candidate, which r scales."""
    names = (f"weight_ih{suffix}", f"weight_hh{suffix}")
    if missing := [name for name in names if name not in arrays]:
        raise ValueError(f"{missing[0]} is missing")
    input, recurrent = (arrays[name].T for name in names)
    hidden = recurrent.shape[0]
    kind = KIND_OF_GATES.get(recurrent.shape[-1] // hidden)
    if kind is None or recurrent.shape[-1] % hidden:
        raise ValueError(f"weight_hh{suffix} has shape {recurrent.T.shape}: not that of a cell")
    zeros = np.zeros(recurrent.shape[-1], input.dtype)
    bias, own = arrays.get(f"bias_ih{suffix}", zeros), arrays.get(f"bias_hh{suffix}", zeros)
    if kind != "gru":
        return CellWeights(kind, input, recurrent, bias + own)
    shared = np.concatenate([own[: 2 * hidden], zeros[2 * hidden :]])
    return CellWeights(kind, input, recurrent, bias + shared, own[2 * hidden :])
