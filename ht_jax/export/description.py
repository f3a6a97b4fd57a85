"""A model as plain JSON data, and back: which classes it is made of, and with what arguments.

Only the classes of one table are built from a description; nothing in it is executed.
"""

from __future__ import annotations

import dataclasses
import json
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from ht_jax import nn
from ht_jax.export.same import REMEDY, check_same, general_class
from ht_jax.formats import Format, RankWarning, parse_format
from ht_jax.models import VideoClassifier

Plain = dict[str, Any]
_ACTIVATIONS: dict[str, Callable] = {
    name: getattr(jax.nn, name) for name in ("relu", "gelu", "silu", "sigmoid", "softplus")
} | {"tanh": jnp.tanh}


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """How one class is written down and built again."""

    cls: type
    describe: Callable[[Any], Plain]
    build: Callable[..., Any]  # called with what `describe` gave and `rngs`


def describe(model: Any) -> Plain:
    """A model as data that JSON holds.

    Args:
        model: a module made of the classes of this library and of a few of Flax.

    Returns:
        `{"type": name, ...}`, nested as the modules are. Systems by name (`FDHTLSTMCell`) are
        described as the general class that they are made of.

    Raises:
        ValueError: a class that is not in the table, such as a subclass of one that is, or an
            attribute of a module that its description does not hold.

    Example:
        >>> import ht_jax as ht
        >>> describe(ht.nn.TensorDense(ht.TT((4, 4), (2, 2), 2), rngs=nnx.Rngs(0)))["format"]
        'TT(in_modes=(4, 4), out_modes=(2, 2), rank=2)'
    """
    description = _as_json(_described(model))
    check_same(model, nnx.eval_shape(lambda: build(description)), type(model).__name__)
    return description


def _as_json(description: Plain) -> Plain:
    """The description as JSON gives it back; NumPy's integers are Python's from then on."""
    try:
        return json.loads(json.dumps(description, allow_nan=False, default=operator.index))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{description['type']} has an argument that JSON cannot hold ({error}): give plain "
            "numbers of Python"
        ) from error


def _described(model: Any) -> Plain:
    cls = general_class(type(model))
    if cls.__name__ not in _RECIPES or _RECIPES[cls.__name__].cls is not cls:
        raise ValueError(f"{cls.__name__} is not one of {', '.join(_RECIPES)}: {REMEDY}")
    try:
        return {"type": cls.__name__, **_RECIPES[cls.__name__].describe(model)}
    except AttributeError as error:  # of a part that is of another class
        raise ValueError(
            f"{cls.__name__} has a part of a foreign class ({error}): {REMEDY}"
        ) from error


def build(description: Any) -> Any:
    """The model that `describe` wrote down, with freshly drawn numbers.

    Args:
        description: the data.

    Raises:
        ValueError: a class that is not in the table, or arguments that it refuses.

    Example:
        >>> layer = build({"type": "TensorDense", "format": "TT((4, 4), (2, 2), rank=2)"})
        >>> layer.format.num_params
        32
    """
    if not isinstance(description, Mapping) or description.get("type") not in _RECIPES:
        raise ValueError(f"{str(description)[:80]!r} describes no class that is known here")
    kwargs = {name: _built(value) for name, value in description.items() if name != "type"}
    try:
        with warnings.catch_warnings(action="ignore", category=RankWarning):
            return _RECIPES[description["type"]].build(**kwargs, rngs=nnx.Rngs(0))
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"{description['type']} refuses its description: {error}") from error


def _built(value: Any) -> Any:
    if isinstance(value, Mapping):
        return build(value)
    return [_built(each) for each in value] if isinstance(value, list) else value


def format_text(fmt: Format) -> str:
    """The text that `parse_format` reads back as `fmt`.

    Raises:
        ValueError: it would not be read back.
    """
    with warnings.catch_warnings(action="ignore", category=RankWarning):
        if parse_format(repr(fmt)) != fmt:
            raise ValueError(f"{fmt!r} is not read back as it was written")
    return repr(fmt)


def _computing(module: Any) -> Plain:
    """dtype, param_dtype and precision; those that are at their default are left out."""
    found: Plain = {}
    if getattr(module, "dtype", None) is not None:
        found["dtype"] = jnp.dtype(module.dtype).name
    if jnp.dtype(module.param_dtype) != jnp.float32:
        found["param_dtype"] = jnp.dtype(module.param_dtype).name
    precision = getattr(module, "precision", None)
    if precision is not None:
        found["precision"] = _precision(precision)
    return found


def _precision(precision: Any) -> str:
    name = precision.name.lower() if isinstance(precision, jax.lax.Precision) else precision
    if not isinstance(name, str):
        raise ValueError(f"precision {precision} cannot be described: give one for both operands")
    return name


def _cell(cell: nn.RecurrentCell) -> Plain:
    layers = {place: getattr(cell, place) for place in ("input", "recurrent", "joint")}
    formats = {place: format_text(layer.format) for place, layer in layers.items() if layer}
    sizes = {"in_features": cell.in_features, "hidden_features": cell.hidden_features}
    options: Plain = {}
    if cell.dropout.rate:
        options["recurrent_dropout"] = cell.dropout.rate
    if cell.norms is not None:
        options["layer_norm"] = True
    return {**sizes, **formats, **options, **_computing(cell)}


def _cell_builder(cls: type[nn.RecurrentCell]) -> Callable[..., Any]:
    def build_cell(*, input=None, recurrent=None, joint=None, rngs, **options):
        cell = cls(**options, rngs=rngs)
        shared = ("dtype", "param_dtype", "precision")
        options = {name: value for name, value in options.items() if name in shared}
        # The formats are gated already, so they take the place of the dense layers.
        for place, text in {"input": input, "recurrent": recurrent, "joint": joint}.items():
            layer = None
            if text is not None:
                fmt, biased = parse_format(text), place != "recurrent"
                layer = nn.TensorDense(fmt, use_bias=biased, **options, rngs=rngs)
            setattr(cell, place, nnx.data(layer))
        return cell

    return build_cell


def _dense(layer: nn.TensorDense) -> Plain:
    biased = {} if layer.bias is not None else {"use_bias": False}
    return {"format": format_text(layer.format), **biased, **_computing(layer)}


def _build_dense(*, format, **options):
    return nn.TensorDense(parse_format(format), **options)


def _embed(layer: nn.TensorEmbed) -> Plain:
    sizes = {"num_embeddings": layer.num_embeddings, "features": layer.features}
    return {**sizes, "format": format_text(layer.format), **_computing(layer)}


def _build_embed(*, format, **options):
    return nn.TensorEmbed(fmt=parse_format(format), **options)


_RNN_OPTIONS = ("time_major", "return_carry", "reverse", "keep_order")


def _rnn(rnn: nn.RNN) -> Plain:
    found = {name: True for name in _RNN_OPTIONS if getattr(rnn, name)}
    for name, default in (("scale", 1.0), ("offset", 0.0), ("arithmetic", "float")):
        value = getattr(rnn.reading, name)
        found |= {name: value} if value != default else {}
    found |= {"unroll": rnn.unroll} if rnn.unroll != 1 else {}
    return {**found, "cell": _described(rnn.cell)}


def _build_rnn(*, cell, rngs, **options):
    del rngs
    return nn.RNN(cell, **options)


def _bidirectional(layer: nn.Bidirectional) -> Plain:
    found = {name: True for name in ("time_major", "return_carry") if getattr(layer, name)}
    rnns = {name: _described(getattr(layer, name)) for name in ("forward_rnn", "backward_rnn")}
    return {**found, **rnns}


def _build_bidirectional(*, rngs, **options):
    del rngs
    return nn.Bidirectional(**options)


def _stacked(stack: nn.Stacked) -> Plain:
    rate = {} if stack.dropout is None else {"dropout": stack.dropout.rate}
    return {**rate, "layers": [_described(layer) for layer in stack.layers]}


def _cnn(cnn: nn.SmallCNN) -> Plain:
    found: Plain = {"in_channels": cnn.layers[0].in_features, "out_features": cnn.out_features}
    found["channels"] = [layer.out_features for layer in cnn.layers]
    found |= {"dtype": jnp.dtype(cnn.dtype).name} if cnn.dtype is not None else {}
    return {**found, "scale": cnn.scale}


def _build_cnn(*, in_channels, out_features, channels, **options):
    cnn = nn.SmallCNN((1, 1, in_channels), tuple(channels), **options)
    cnn.out_features = out_features
    return cnn


def _classifier(model: VideoClassifier) -> Plain:
    head = model.classifier
    sizes = head.format if isinstance(head, nn.TensorDense) else head
    found: Plain = {"hidden_features": getattr(sizes, "in_features", 0)}
    found |= {"num_classes": getattr(sizes, "out_features", 0), "classifier": _described(head)}
    found |= {"dropout": model.dropout.rate} if model.dropout.rate else {}
    found |= {} if model.features is None else {"features": _described(model.features)}
    return {**found, "rnn": _described(model.rnn)}


def _linear(layer: nnx.Linear) -> Plain:
    sizes = {"in_features": layer.in_features, "out_features": layer.out_features}
    return {**sizes, "use_bias": layer.bias is not None, **_computing(layer)}


def _flax_embed(layer: nnx.Embed) -> Plain:
    sizes = {"num_embeddings": layer.num_embeddings, "features": layer.features}
    return {**sizes, **_computing(layer)}


def _sequential(model: nnx.Sequential) -> Plain:
    named = {function: name for name, function in _ACTIVATIONS.items()}
    layers = [named.get(layer) or _described(layer) for layer in model.layers]
    return {"layers": layers}


def _build_sequential(*, layers, rngs):
    del rngs
    return nnx.Sequential(*(_ACTIVATIONS[x] if isinstance(x, str) else x for x in layers))


_CELLS = (nn.LSTMCell, nn.GRUCell, nn.SimpleCell)
_RECIPES: dict[str, _Recipe] = {
    recipe.cls.__name__: recipe
    for recipe in (
        *(_Recipe(cls, _cell, _cell_builder(cls)) for cls in _CELLS),
        _Recipe(nn.TensorDense, _dense, _build_dense),
        _Recipe(nn.TensorEmbed, _embed, _build_embed),
        _Recipe(nn.RNN, _rnn, _build_rnn),
        _Recipe(nn.Bidirectional, _bidirectional, _build_bidirectional),
        _Recipe(nn.Stacked, _stacked, nn.Stacked),
        _Recipe(nn.SmallCNN, _cnn, _build_cnn),
        _Recipe(VideoClassifier, _classifier, VideoClassifier),
        _Recipe(nnx.Linear, _linear, nnx.Linear),
        _Recipe(nnx.Embed, _flax_embed, nnx.Embed),
        _Recipe(nnx.Sequential, _sequential, _build_sequential),
    )
}
