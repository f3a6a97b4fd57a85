"""Layers of Flax NNX: its cells, and `nnx.RNN` and `nnx.Bidirectional` layers of them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ht_jax import nn
from ht_jax.convert.cells import CellWeights, layer_of, stacked
from ht_jax.convert.options import Options, check_class, check_options, check_unshared

_KINDS = {
    nnx.LSTMCell: "lstm",
    nnx.OptimizedLSTMCell: "lstm",
    nnx.GRUCell: "gru",
    nnx.SimpleCell: "simple",
}
_CELL = "in_features hidden_features dtype param_dtype"
_OPTIONS = {
    nnx.LSTMCell: Options(f"{_CELL} ii if_ ig io hi hf hg ho", "rngs"),
    nnx.OptimizedLSTMCell: Options(f"{_CELL} dense_i dense_h", "rngs"),
    nnx.GRUCell: Options(f"{_CELL} dense_i dense_h", "rngs"),
    nnx.SimpleCell: Options(f"{_CELL} dense_i dense_h", "rngs"),
    nnx.Linear: Options("in_features out_features use_bias dtype param_dtype kernel bias"),
    nnx.RNN: Options("cell time_major return_carry reverse keep_order unroll", "rngs"),
    nnx.Bidirectional: Options("forward_rnn backward_rnn merge_fn time_major return_carry", "rngs"),
}


def from_flax(layers: Any) -> Any:
    """Flax NNX cells, `nnx.RNN` and `nnx.Bidirectional` layers of them.

    The options of the layers and the dtype of the cells are carried. Gates and activations have
    to be the defaults; what is not exact here is refused, and so is a subclass. Metadata of the
    parameters, such as their sharding, end here.

    Args:
        layers: one layer or cell, or a sequence of them, the first one first.

    Returns:
        As `from_torch`. Outputs past the end of a sequence are zero, where `nnx.RNN` runs on.

    Raises:
        ValueError: another kind of layer, or an option that would be lost.

    Example:
        >>> layer = from_flax(nnx.RNN(nnx.GRUCell(5, 3, rngs=nnx.Rngs(0))))
        >>> layer(jnp.ones((2, 7, 5))).shape
        (2, 7, 3)
    """
    layers = layers if isinstance(layers, Sequence) else [layers]
    converted = stacked([_layer(layer) for layer in layers])
    check_unshared(cell for layer in layers for cell in _cells_of(layer))
    return converted


def check_dtypes(cell: Any, held: Iterable[Any]) -> None:
    """Raises ValueError unless Flax holds the state in the dtype in which a cell computes.

    Args:
        cell: of Flax NNX or Linen; its states start in its `param_dtype`.
        held: the dtypes of its parameters.
    """
    wanted = jnp.dtype(cell.param_dtype)
    computed = wanted if cell.dtype is None else jnp.dtype(cell.dtype)
    if {wanted, computed} != {jnp.dtype(dtype) for dtype in held} | {computed}:
        raise ValueError(
            f"{type(cell).__name__} has param_dtype={wanted}, but its parameters are "
            f"{sorted({str(dtype) for dtype in held})}: cast them to it"
        )
    if wanted != computed:
        raise ValueError(
            f"{type(cell).__name__} has dtype={computed} beside param_dtype={wanted}: Flax keeps "
            f"the state in {wanted}, ht_jax in {computed}; set dtype=None, or cast the parameters "
            "and param_dtype to it"
        )


def _cells_of(layer: Any) -> Iterator[Any]:
    if isinstance(layer, nnx.Bidirectional):
        for rnn in (layer.forward_rnn, layer.backward_rnn):
            yield from _cells_of(rnn)
    else:
        yield layer.cell if isinstance(layer, nnx.RNN) else layer


def _layer(layer: Any) -> Any:
    check_class(layer, (nnx.Bidirectional, nnx.RNN, *_KINDS))
    if not isinstance(layer, nnx.Bidirectional):
        return _rnn(layer)
    _check(layer)
    pair = layer.forward_rnn, layer.backward_rnn
    for rnn in pair:
        check_class(rnn, [nnx.RNN])
    carried = {name: getattr(layer, name) for name in ("merge_fn", "time_major", "return_carry")}
    return nn.Bidirectional(*(_rnn(rnn) for rnn in pair), **carried)


def _rnn(layer: Any) -> nn.RNN:
    if not isinstance(layer, nnx.RNN):
        return layer_of(_cell(layer))
    _check(layer)
    names = ("time_major", "return_carry", "reverse", "keep_order", "unroll")
    return layer_of(_cell(layer.cell), **{name: getattr(layer, name) for name in names})


def _cell(cell: Any) -> CellWeights:
    check_class(cell, _KINDS)
    _check(cell)
    if isinstance(cell, nnx.LSTMCell):
        inputs = [cell.ii, cell.if_, cell.ig, cell.io]
        hiddens = [cell.hi, cell.hf, cell.hg, cell.ho]
    else:
        inputs, hiddens = [cell.dense_i], [cell.dense_h]
    for linear in (*inputs, *hiddens):
        check_class(linear, [nnx.Linear])
        _check(linear)
        if linear.dtype != cell.dtype:
            raise ValueError(f"a Linear has dtype={linear.dtype}, its cell {cell.dtype}: set both")
    check_dtypes(cell, {linear.kernel.dtype for linear in (*inputs, *hiddens)})
    kind, bias = _KINDS[type(cell)], _bias(inputs) + _bias(hiddens)
    return CellWeights(kind, _wide(inputs), _wide(hiddens), bias, dtype=cell.dtype)


def _wide(layers: list[nnx.Linear]) -> np.ndarray:
    return np.concatenate([np.asarray(layer.kernel[...]) for layer in layers], axis=-1)


def _bias(layers: list[nnx.Linear]) -> np.ndarray:
    """Of all gates; zeros where there is none, as on the hidden side of a GRU of Flax NNX."""
    zeros = [np.zeros(layer.out_features, layer.kernel.dtype) for layer in layers]
    given = [zero if x.bias is None else x.bias[...] for x, zero in zip(layers, zeros)]
    return np.concatenate([np.asarray(bias) for bias in given])


def _check(layer: Any) -> None:
    check_options(layer, _fresh(type(layer)), _OPTIONS[type(layer)])


@functools.cache
def _fresh(kind: type) -> Any:
    """A layer of that class with default options and without parameters."""
    rnn = functools.partial(nnx.RNN, rngs=False)
    if kind is nnx.RNN:
        return rnn(_fresh(nnx.GRUCell))
    if kind is nnx.Bidirectional:
        return nnx.Bidirectional(*[rnn(_fresh(nnx.GRUCell))] * 2, rngs=False)
    return nnx.eval_shape(lambda: kind(1, 1, rngs=nnx.Rngs(0)))
