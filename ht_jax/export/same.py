"""Whether two modules compute alike from the same parameters: their classes and attributes.

What a description does not hold differs in the module that is built from it, so it is refused.
"""

from __future__ import annotations

import enum
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ht_jax.nn import named

REMEDY = "save it with described=False and load it into a model of its own class"
_MODE = {"deterministic", "rngs"}  # training or not, and random streams: `load` starts them anew


def general_class(cls: type) -> type:
    """The class that a system by name, such as `FDHTLSTMCell`, is short for; any other as it is.

    Example:
        >>> import ht_jax as ht
        >>> general_class(ht.nn.FDHTLSTMCell).__name__
        'LSTMCell'
    """
    if cls.__module__ != named.__name__ or getattr(named, cls.__name__, None) is not cls:
        return cls
    return next(base for base in cls.__mro__ if base.__module__ != named.__name__)


def check_same(model: Any, other: Any, path: str) -> None:
    """Compares a model with the one that its description builds.

    Args:
        model: a module, or a part of one.
        other: its counterpart, which may be abstract.
        path: of the part, for the message.

    Raises:
        ValueError: a class or an attribute differs, or the shape or dtype of a parameter.

    Example:
        >>> import ht_jax as ht
        >>> cell = ht.nn.GRUCell(4, 3, rngs=nnx.Rngs(0))
        >>> check_same(ht.nn.RNN(cell, reverse=True), ht.nn.RNN(cell), "RNN")
        Traceback (most recent call last):
        ValueError: RNN.reverse is True, but a description would give False: ...
    """
    parts, others = _parts(model), _parts(other)
    if parts is None or others is None:
        same = _is_equal(_plain(path, model), _plain(path, other))
    else:
        same = general_class(type(model)) is general_class(type(other))
        same = same and parts.keys() == others.keys()
    if not same:
        texts = _text(model, parts), _text(other, others)
        raise ValueError(f"{path} is {texts[0]}, but a description would give {texts[1]}: {REMEDY}")
    for name, part in (parts or {}).items():
        check_same(part, (others or {})[name], f"{path}.{name}")


def _parts(value: Any) -> dict[Any, Any] | None:
    """What is compared one by one; None if the value is compared as a whole."""
    if isinstance(value, nnx.Variable):
        return {"shape": value.get_value().shape, "dtype": value.get_value().dtype}
    if isinstance(value, nnx.Pytree):
        hidden = {name for name in vars(value) if name.startswith("_pytree__")}
        return {name: part for name, part in vars(value).items() if name not in hidden | _MODE}
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    return value if isinstance(value, dict) else None


def _plain(path: str, value: Any) -> Any:
    """Names that stand for one dtype or precision as the same name."""
    if path.endswith((".dtype", ".param_dtype")) and value is not None:
        return jnp.dtype(value).name
    return value.name.lower() if isinstance(value, enum.Enum) else value


def _is_equal(a: Any, b: Any) -> bool:
    equal = a is b or a == b
    return bool(np.ndim(equal) == 0 and equal)


def _text(value: Any, parts: Any) -> str:
    if parts is not None:
        names = ", ".join(map(str, parts))
        return f"a {type(value).__module__}.{type(value).__name__} of {names or 'nothing'}"
    return repr(value) if len(repr(value)) < 80 else f"{repr(value)[:80]} ..."
