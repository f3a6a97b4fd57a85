"""Layers of PyTorch from modules or their state dicts: two biases, matrices (out, in)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ht_jax.convert.cells import KIND_OF_GATES, CellWeights, dtype_of, one_or_both, stacked
from ht_jax.convert.options import Options, check_class, check_options
from ht_jax.export.files import fill, read

_RECURRENT = Options(
    "input_size hidden_size num_layers bias batch_first bidirectional", "mode training"
)
_LINEAR = Options("in_features out_features", "training")


def from_torch(state: Any, prefix: str = "") -> Any:
    """A `torch.nn.LSTM`, `GRU`, `RNN` (tanh) or `Linear`, or its state dict.

    A state dict has the parameters but not the options: it is read as that of a layer with
    `nonlinearity="tanh"` and without dropout, whose inputs are (batch, time, features). The module
    itself carries `batch_first`, and is refused with any other option that is not exact here.

    Args:
        state: one of these modules; or the state dict of one, or `dict(module.named_parameters())`,
            of tensors or arrays of any floating dtype; or the path of a safetensors file of one.
        prefix: of the layer's names in the state dict, such as "encoder.lstm.".

    Returns:
        `nn.RNN`, or `nn.Bidirectional`; of several layers, `nn.Stacked`; of a Linear,
        `nnx.Linear`. They return outputs alone, unless called with `return_carry`.

    Raises:
        ValueError: the names, shapes, dtypes or options are not those of such a layer, names are
            left over, a tensor has no numbers (device "meta"), or a number is not finite.
        FileNotFoundError: there is no such file.

    Example:
        >>> state = {"weight_ih_l0": np.ones((12, 5)), "weight_hh_l0": np.ones((12, 3))}
        >>> from_torch(state)(jnp.ones((2, 7, 5))).shape
        (2, 7, 3)
    """
    if isinstance(state, str | os.PathLike):
        try:
            return _of_state(read(state)[0], prefix)
        except ValueError as error:
            place = os.fspath(state)
            raise ValueError(f"{error}" if place in f"{error}" else f"{place}: {error}") from error
    if isinstance(state, Mapping):
        return _of_state(state, prefix)
    return _of_module(state, prefix)


def _of_state(state: Mapping[str, Any], prefix: str, time_major: bool = False) -> Any:
    left = {name.removeprefix(prefix): a for name, a in state.items() if name.startswith(prefix)}
    if not left:
        raise ValueError(f"no array has the prefix {prefix!r}: there are {sorted(state)[:20]}")
    layer = _linear(left) if "weight" in left else _layers(left, time_major)
    if left:
        raise ValueError(
            f"{sorted(left)} is not of one LSTM, GRU, RNN or Linear of PyTorch: give the prefix of "
            'the layer with its dot, such as "encoder.lstm." (projections are not read)'
        )
    return layer


def _of_module(module: Any, prefix: str) -> Any:
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(module, torch.nn.Module):
        raise ValueError(f"{type(module).__name__} is no state dict: give module.state_dict()")
    if prefix:
        raise ValueError(f"prefix {prefix!r} goes with a state dict: give module.state_dict()")
    recurrent = (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN)
    check_class(module, (*recurrent, torch.nn.Linear))
    fresh = type(module)(1, 1, device="meta")  # draws no random numbers
    check_options(module, fresh, _RECURRENT if isinstance(module, recurrent) else _LINEAR)
    return _of_state(module.state_dict(), "", not getattr(module, "batch_first", True))


def _take(left: dict[str, Any], name: str, ndim: int) -> np.ndarray:
    """The array of that name, which is left no longer."""
    if name not in left:
        raise ValueError(f"{name} is missing")
    array = _array(name, left.pop(name))
    if array.ndim != ndim or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}: it has {ndim} axes in PyTorch")
    return array


def _array(name: str, value: Any) -> np.ndarray:
    """A tensor or an array in its own floating dtype; bfloat16 passes exactly through float32."""
    if not hasattr(value, "detach"):
        return np.asarray(value)
    if value.is_meta:
        raise ValueError(f"{name} is on the device 'meta' and has no numbers: load them first")
    try:
        value = value.detach().cpu()
        narrow = str(value.dtype) == "torch.bfloat16"
        return value.float().numpy().astype(jnp.bfloat16) if narrow else value.numpy()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{name} ({value.dtype}) cannot be read: {error}") from error


def _linear(left: dict[str, Any]) -> nnx.Linear:
    arrays = {"kernel": _take(left, "weight", 2).T}
    if "bias" in left:
        arrays["bias"] = _take(left, "bias", 1)
    options = {"use_bias": "bias" in arrays, "param_dtype": dtype_of(arrays)}
    sizes = arrays["kernel"].shape
    layer = nnx.eval_shape(lambda: nnx.Linear(*sizes, **options, rngs=nnx.Rngs(0)))
    fill(layer, arrays)
    return layer


def _layers(left: dict[str, Any], time_major: bool) -> Any:
    if projections := sorted(name for name in left if name.startswith("weight_hr")):
        raise ValueError(f"{projections} are projections (proj_size), which ht_jax does not have")
    layers = []
    while f"weight_ih_l{len(layers)}" in left:
        ends = [f"_l{len(layers)}", f"_l{len(layers)}_reverse"]
        ends = ends if f"weight_ih{ends[1]}" in left else ends[:1]
        layers.append(one_or_both([_cell(left, end) for end in ends], time_major=time_major))
    return stacked(layers) if layers else None  # then names are left over


def _cell(left: dict[str, Any], suffix: str) -> CellWeights:
    """Both of PyTorch's biases are added, but a GRU's of the hidden candidate, which r scales."""
    input, recurrent = (_take(left, f"weight_{end}{suffix}", 2).T for end in ("ih", "hh"))
    hidden, gated = recurrent.shape
    kind = KIND_OF_GATES.get(gated // hidden)
    if kind is None or gated % hidden:
        raise ValueError(f"weight_hh{suffix} has shape {recurrent.T.shape}: not that of a cell")
    zeros = np.zeros(gated, input.dtype)
    names = f"bias_ih{suffix}", f"bias_hh{suffix}"
    bias, own = (_take(left, name, 1) if name in left else zeros for name in names)
    if bias.shape != own.shape:
        raise ValueError(f"{names[0]} has shape {bias.shape}, {names[1]} {own.shape}")
    if kind != "gru":
        return CellWeights(kind, input, recurrent, bias + own)
    shared = np.concatenate([own[: 2 * hidden], zeros[2 * hidden :]])
    return CellWeights(kind, input, recurrent, bias + shared, own[2 * hidden :])
