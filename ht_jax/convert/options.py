"""What conversions do with the options of another library's layer: carry them, or refuse.

An option is carried, or inert (no output depends on it), or it has to be as in a fresh layer of
the class: whatever a later version of the library adds is refused, not dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

ADVICE = {
    "carry_init": "give `initial_carry` when calling",
    "stateful": "give `initial_carry` when calling",
    "dropout": "it acts in training only; `ht_jax.nn.Stacked` has its own",
    "recurrent_dropout": "it acts in training only; the cells of ht_jax have their own",
    "reset_after": "a GRU of ht_jax resets after the product, as that of cuDNN",
    "proj_size": "ht_jax has no projections",
}


class Options(NamedTuple):
    """The options of one class by what becomes of them; all others have their defaults.

    Attributes:
        carried: names of those that the conversion reads.
        inert: names of those that no output depends on.
    """

    carried: str
    inert: str = ""


def options_of(layer: Any) -> dict[str, Any]:
    """The public attributes of a layer."""
    return {name: value for name, value in vars(layer).items() if not name.startswith("_")}


def check_options(layer: Any, fresh: Any, table: Options) -> None:
    """Raises unless each option is carried, inert or as in a fresh layer.

    Args:
        layer: of another library.
        fresh: a layer of the same class with default options.
        table: of the class.

    Raises:
        ValueError: an option that would be lost.

    Example:
        >>> from types import SimpleNamespace as Layer
        >>> check_options(Layer(units=8, gate="relu"), Layer(gate="tanh"), Options("units"))
        Traceback (most recent call last):
        ValueError: SimpleNamespace has gate='relu', which is not converted: only 'tanh' is
    """
    known, defaults = {*table.carried.split(), *table.inert.split()}, options_of(fresh)
    for name, value in options_of(layer).items():
        if name not in known and (name not in defaults or not _same(value, defaults[name])):
            only = f"only {_text(defaults[name])} is" if name in defaults else "remove it"
            found = f"{type(layer).__name__} has {name}={_text(value)}, which is not converted"
            raise ValueError("; ".join([f"{found}: {only}", *_advice(name)]))


def check_class(layer: Any, classes: Iterable[type]) -> None:
    """Raises ValueError unless a layer is of exactly one of the classes.

    Args:
        layer: of another library. What a subclass computes is not known.
        classes: that are converted.
    """
    classes = list(classes)
    if type(layer) not in classes:
        names = ", ".join(dict.fromkeys(each.__name__ for each in classes))
        kin = [each.__name__ for each in classes if isinstance(layer, each)]
        what = (
            f"a subclass of {kin[0]}, which may compute something else" if kin else "none of them"
        )
        raise ValueError(
            f"{type(layer).__module__}.{type(layer).__qualname__} is {what}: {names} are "
            "converted; give one of these"
        )


def check_unshared(layers: Iterable[Any]) -> None:
    """Raises ValueError if one layer stands twice, with parameters that would no longer be shared.

    Args:
        layers: all that hold parameters.
    """
    layers = list(layers)
    if len({id(layer) for layer in layers}) < len(layers):
        raise ValueError(
            f"one {type(layers[0]).__name__} stands in two places and shares its parameters, "
            "which is not converted: convert it once, and use the result twice"
        )


def _advice(name: str) -> list[str]:
    return [ADVICE[name]] if name in ADVICE else []


def _text(value: Any) -> str:
    return getattr(value, "__name__", repr(value))


def _same(value: Any, default: Any) -> bool:
    return value is default or (not hasattr(value, "shape") and bool(value == default))
