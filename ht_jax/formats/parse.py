"""Reading a format from the text that its repr writes.

This one textual form serves command lines, configurations and file metadata. The text is parsed
as a call with literal arguments; nothing in it is executed.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any

from ht_jax.formats.base import Format, Restricted


def parse_format(text: str) -> Format:
    """The format that `text` describes.

    Args:
        text: such as `"HT(in_modes=(8, 6), out_modes=(4, 4), rank=3)"`.

    Raises:
        ValueError: the text is not a call of a known format with literal arguments, or the
            format refuses the arguments.

    Example:
        >>> parse_format("HT(in_modes=(8, 6), out_modes=(4, 4), rank=3)").num_params
        177
    """
    name, args, kwargs = _call(text)
    known = {cls.__name__: cls for cls in _formats(Format)}
    if name not in known:
        raise ValueError(f"{name!r} in {text!r} is not a format: known are {sorted(known)}")
    try:
        return known[name](*args, **kwargs)
    except TypeError as error:
        raise ValueError(f"{text!r} does not fit the format {name}: {error}") from error


def _call(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("it is not of the form Name(argument=value, ...)")
        kwargs = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
        return call.func.id, [ast.literal_eval(arg) for arg in call.args], kwargs
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"{text!r} does not describe a format: {error}") from error


def _formats(base: type[Format]) -> Iterator[type[Format]]:
    """Those that can be made; what derives from one of them is somebody's own matter."""
    for cls in base.__subclasses__():
        if inspect.isabstract(cls):
            yield from _formats(cls)
        elif cls is not Restricted:
            yield cls
