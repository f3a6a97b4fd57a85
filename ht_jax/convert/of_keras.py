"""Layers of Keras, built ones or those of a `.weights.h5` file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from ht_jax import nn
from ht_jax.convert.cells import CellWeights, layer_of, one_or_both, stacked
from ht_jax.convert.keras_file import read_layers
from ht_jax.convert.options import Options, check_class, check_options, check_unshared

_KINDS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "simple"}
_BASE = (  # of every layer of Keras
    "name build built call_signature_parameters quantize supports_jit input_spec "
    "states state_size single_state output_size"
)
_LAYER = Options(
    "cell go_backwards return_sequences return_state",
    f"{_BASE} unroll use_cudnn zero_output_for_mask",
)
_CELL = Options(
    "kernel recurrent_kernel bias units use_bias",
    f"{_BASE} implementation dropout_mask_count seed seed_generator "
    "unit_forget_bias kernel_initializer recurrent_initializer bias_initializer",
)
_BOTH = Options("forward_layer backward_layer merge_mode return_sequences return_state", _BASE)


def average(
    forward: Shaped[Array, "*shape"], backward: Shaped[Array, "*shape"]
) -> Shaped[Array, "*shape"]:
    """The mean of both directions, as merge_mode "ave" makes it."""
    return (forward + backward) / 2


_MERGED = {"concat": None, "sum": jnp.add, "mul": jnp.multiply, "ave": average}


def from_keras(layers: Any, names: Sequence[str] | None = None) -> Any:
    """Keras LSTM, GRU (reset_after=True), SimpleRNN, or Bidirectional layers of them.

    The options of built layers are carried or refused, and a subclass is refused. Names,
    initialisers and `trainable` end here.

    Args:
        layers: one built layer with `return_sequences=True`, or a sequence of them, the first one
            first; or the path of what `model.save_weights("name.weights.h5")` wrote. A file does
            not have the options: its layers are read as those with the default ones.
        names: of a file's layers to read, the first one first, such as ("layers/lstm",); by
            default all recurrent ones, if the file tells their order.

    Returns:
        As `from_torch`, with all outputs over time. `return_state` becomes `return_carry`:
        (carry, outputs), the carry (c, h) of an LSTM. Where Keras has a mask, `seq_lengths` says
        how many frames come first: outputs past them are zero, and a layer that goes backwards
        starts at the last of them.

    Raises:
        ValueError: another kind of layer, one that is not built, or an option that would be lost;
            a file that is corrupt or foreign, which is named.
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
    converted = stacked([_built_layer(layer) for layer in layers])
    check_unshared(cell for layer in layers for cell in _cells_of(layer))
    return converted


def _from_file(path: str | os.PathLike[str], names: Sequence[str] | None) -> Any:
    layers = []
    for name, cells in read_layers(path, names).items():
        try:
            layers.append(one_or_both([_cell(cell.kind, *cell.arrays) for cell in cells]))
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {name}: {error}") from error
    return stacked(layers)


def _cells_of(layer: Any) -> Iterator[Any]:
    for each in getattr(layer, "forward_layer", layer), getattr(layer, "backward_layer", None):
        if each is not None:
            yield each.cell


def _built_layer(layer: Any) -> Any:
    """The layer of a built layer of Keras: an RNN, or a Bidirectional of two."""
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(layer, keras.layers.Layer):
        raise ValueError(f"{type(layer).__name__} is not a built LSTM, GRU or SimpleRNN of Keras")
    library = keras.layers
    check_class(layer, [library.Bidirectional, *(getattr(library, kind) for kind in _KINDS)])
    if not isinstance(layer, library.Bidirectional):
        cell = _built_cell(layer, library)
        return layer_of(cell, reverse=layer.go_backwards, return_carry=layer.return_state)
    pair = layer.forward_layer, layer.backward_layer
    fresh = library.Bidirectional(_fresh(library.LSTM), name="fresh")
    _check(layer, fresh, _BOTH, pair)
    cells = [_built_cell(each, library) for each in pair]
    if pair[0].go_backwards or layer.merge_mode not in _MERGED:
        raise ValueError(
            f"{layer.name} has merge_mode={layer.merge_mode!r}, and its forward_layer "
            f"go_backwards={pair[0].go_backwards}: only merge_mode of {[*_MERGED]} and "
            "go_backwards=False are converted"
        )
    merge = _MERGED[layer.merge_mode]
    options = {"return_carry": layer.return_state} | ({"merge_fn": merge} if merge else {})
    return nn.Bidirectional(*map(layer_of, cells), **options)


def _built_cell(layer: Any, library: Any) -> CellWeights:
    check_class(layer, [getattr(library, kind) for kind in _KINDS])
    if not layer.built:
        raise ValueError(f"{layer.name} is not built: call it, or model.build, first")
    kind, cell = type(layer).__name__, layer.cell
    check_class(cell, [getattr(library, f"{kind}Cell")])
    fresh = _fresh(type(layer))
    _check(layer, fresh, _LAYER, [cell])
    check_options(cell, fresh.cell, _CELL)
    dtype = jnp.dtype(cell.variable_dtype)  # torch's bfloat16 comes as float32
    arrays = [np.asarray(array).astype(dtype) for array in layer.get_weights()]
    return _cell(_KINDS[kind], *arrays)._replace(dtype=jnp.dtype(cell.compute_dtype))


def _check(layer: Any, fresh: Any, table: Options, inner: Sequence[Any]) -> None:
    """Raises unless the options are carried, and the dtypes are those of what is inside."""
    if not layer.return_sequences:
        raise ValueError(
            f"{layer.name} has return_sequences=False, which is not converted: set it to True, "
            "also in the layers inside a Bidirectional, and take the last of all outputs"
        )
    check_options(layer, fresh, table)
    policy = layer.dtype_policy
    if policy.quantization_mode or any(each.dtype_policy != policy for each in inner):
        names = [each.dtype_policy.name for each in (layer, *inner)]
        raise ValueError(f"{layer.name} has the dtype policies {names}: give one policy of floats")


def _fresh(kind: type) -> Any:
    """A layer with default options that takes nothing from the global random state."""
    zeros = {f"{name}_initializer": "zeros" for name in ("kernel", "recurrent", "bias")}
    return kind(1, seed=0, name="fresh", **zeros)


def _cell(
    kind: str, input: np.ndarray, recurrent: np.ndarray, bias: np.ndarray | None = None
) -> CellWeights:
    """The parameters of a cell, from Keras's order of gates."""
    hidden, gated = recurrent.shape
    bias = np.zeros(gated, input.dtype) if bias is None else bias
    order = np.asarray(nn.reorder_gates(jnp.arange(gated), kind, "keras", "ht_jax"))
    input, recurrent, bias = (array[..., order] for array in (input, recurrent, bias))
    if kind != "gru":
        return CellWeights(kind, input, recurrent, bias)
    # A GRU's bias has structure [of the input, of the hidden state], or there is none at all.
    ours, own = np.broadcast_to(bias, (2, gated))
    shared = np.concatenate([own[: 2 * hidden], np.zeros(hidden, own.dtype)])
    return CellWeights(kind, input, recurrent, ours + shared, own[2 * hidden :])
