"""The parameters of a cell of Flax Linen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ht_jax import nn
from ht_jax.convert.cells import CellWeights, layer_of
from ht_jax.convert.of_flax import check_dtypes
from ht_jax.convert.options import Options, check_class, check_options

_GATES = {"lstm": [*"ifgo"], "gru": [*"rzn"], "simple": [""]}
_KINDS = {
    "LSTMCell": "lstm",
    "OptimizedLSTMCell": "lstm",
    "GRUCell": "gru",
    "SimpleCell": "simple",
}
_CELL = Options(
    "features dtype param_dtype", "kernel_init recurrent_kernel_init bias_init name parent"
)
_RNN_OPTIONS = ("time_major", "return_carry", "reverse", "keep_order", "unroll")
_RNN = Options(" ".join(["cell", *_RNN_OPTIONS]), "name parent")


def from_linen(params: Mapping[str, Any], module: Any = None) -> nn.RNN:
    """The parameters of one cell of Flax Linen: (Optimized)LSTMCell, GRUCell or SimpleCell.

    Args:
        params: such as `variables["params"]["OptimizedLSTMCell_0"]`.
        module: the cell or the `linen.RNN` whose parameters they are; its options are carried or
            refused as by `from_flax`. Parameters alone do not have the options: they are read as
            those of a layer with the default ones.

    Raises:
        ValueError: the names are not those of such a cell, or an option would be lost.

    Example:
        >>> import jax.numpy as jnp
        >>> sides = {"i": {"kernel": np.ones((5, 3))}, "h": {"kernel": np.eye(3)}}
        >>> from_linen(sides)(jnp.ones((2, 7, 5))).shape  # what a linen.SimpleCell holds
        (2, 7, 3)
    """
    weights = _weights(params)
    if module is None:
        return layer_of(weights)
    cell, options = _checked(module)
    if _KINDS[type(cell).__name__] != weights.kind or cell.features != len(weights.recurrent):
        raise ValueError(f"{sorted(params)} are not the parameters of {cell}")
    check_dtypes(cell, [weights.input.dtype, weights.recurrent.dtype])
    return layer_of(weights._replace(dtype=cell.dtype), **options)


def _checked(module: Any) -> tuple[Any, dict[str, Any]]:
    """The cell of a module, and the options of the RNN around it."""
    import flax.linen as linen

    cells = [getattr(linen, name) for name in _KINDS]
    check_class(module, (linen.RNN, *cells))
    options = {}
    if isinstance(module, linen.RNN):
        check_options(module, linen.RNN(linen.GRUCell(1)), _RNN)
        options = {name: getattr(module, name) for name in _RNN_OPTIONS}
        module = module.cell
    check_class(module, cells)
    check_options(module, type(module)(1), _CELL)
    return module, options


def _weights(params: Mapping[str, Any]) -> CellWeights:
    kinds = [
        kind
        for kind, gates in _GATES.items()
        if {side + gate for side in "ih" for gate in gates} == set(params)
    ]
    if not kinds:
        raise ValueError(f"{sorted(params)} are not the parameters of a Linen cell")
    (kind,) = kinds
    (input, bias), (recurrent, shared) = (_side(side, kind, params) for side in "ih")
    hidden, own = len(recurrent), None
    if kind == "gru":  # the candidate's hidden bias stays inside the reset gate's product
        own = shared[2 * hidden :].copy()
        shared[2 * hidden :] = 0
    return CellWeights(kind, input, recurrent, bias + shared, own)


def _side(side: str, kind: str, params: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The kernel and the bias of all gates, on the input's or the hidden state's side."""
    kernels, biases = [], []
    for gate in _GATES[kind]:
        arrays = params[side + gate]
        held = sorted(arrays) if isinstance(arrays, Mapping) else type(arrays).__name__
        if held not in (["kernel"], ["bias", "kernel"]):
            raise ValueError(f"{side + gate} holds {held}, not a kernel and a bias alone")
        kernels.append(np.asarray(arrays["kernel"]))
        if kernels[-1].ndim != 2:
            raise ValueError(
                f"{side + gate} has a kernel of shape {kernels[-1].shape}, not (in, out)"
            )
        zeros = np.zeros(kernels[-1].shape[-1], kernels[-1].dtype)
        biases.append(np.asarray(arrays.get("bias", zeros)))
    return np.concatenate(kernels, -1), np.concatenate(biases)
