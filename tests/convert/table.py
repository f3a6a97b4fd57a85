"""Every option of every class that is converted: tried, and written down as exact or refused.

`python -m tests.convert.table` writes docs/conversions.md, which `test_table.py` compares.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.convert.sources import LIBRARIES, Source, W, subclass

PAGE = Path(__file__).parents[2] / "docs" / "conversions.md"
X = np.random.default_rng(0).normal(size=(2, 2, W)).astype(np.float32)  # batch or time first
HEAD = """# Conversions

What `ht_jax.convert` does with each option of a layer of another library, tried with the value
that is shown. Exact: the outputs of the converted layer are those of the original one, to 1e-5 or
to the rounding of half precision. Refused: a `ValueError` names the option. An option that is not
in these tables is refused unless it has its default.

Files, state dicts and parameters alone do not have the options: they are read as those of a layer
with the default ones.

`python -m tests.convert.table` writes this page, and `tests/convert/test_table.py` holds it.
"""


def tried(source: Source, option: str, value: Any) -> str:
    """Whether the conversion of a layer with that option is exact or refused.

    Raises:
        AssertionError: it is neither.
    """
    with warnings.catch_warnings(action="ignore"):
        theirs = source.make(**{option: value})
        try:
            ours = source.convert(theirs)
        except ValueError as error:
            named = ("subclass" if option == "kind" else option) in str(error)
            return "refused" if named else f"refused without a word of it: {error}"
        wanted = jax.tree.leaves(source.run(theirs, X))
        dtype = jnp.asarray(wanted[0]).dtype
        found = jax.tree.leaves(ours(jnp.asarray(X, dtype)))
    assert _equal(wanted, found), f"{source.name} {option}={value}: neither exact nor refused"
    return "exact"


def _equal(wanted: list[Any], found: list[Any]) -> bool:
    """Whether the same arrays are there; Keras has the states behind the outputs."""
    rest = list(found)
    for array in wanted:
        same = [n for n, other in enumerate(rest) if _near(array, other)]
        if not same:
            return False
        rest.pop(same[0])
    return not rest


def _near(a: Any, b: Any) -> bool:
    close = 1e-5 if jnp.asarray(a).dtype.itemsize > 2 else 0.02
    shaped = np.shape(a) == np.shape(b) and jnp.asarray(a).dtype == b.dtype
    return shaped and bool(np.abs(np.asarray(a, float) - np.asarray(b, float)).max() < close)


def section(library: str) -> str:
    """The part of the page about one library."""
    found: dict[str, list[str]] = {}
    # Keras and Linen mix float32 and float64 where JAX has both; PyTorch has both.
    with jax.enable_x64(library == "PyTorch"), jax.numpy_dtype_promotion("standard"):
        for source in LIBRARIES[library]():
            for option, value in _pairs(source):
                row = found.setdefault(_text(option, value), [])
                row.append(f"{source.name}: {tried(source, option, value)}")
    rows = [f"| {text} | {_grouped(outcomes)} |" for text, outcomes in found.items()]
    table = "\n".join(["| option | outcome |", "|---|---|", *rows])
    return f"\n## {library}\n\n{LIBRARIES[library].__doc__}\n\n{table}\n"


def _pairs(source: Source) -> list[tuple[str, Any]]:
    return [(option, value) for option, values in source.values.items() for value in values]


def _grouped(outcomes: list[str]) -> str:
    names: dict[str, list[str]] = {}
    for name, outcome in (each.split(": ", 1) for each in outcomes):
        names.setdefault(outcome, []).append(f"`{name}`")
    return "; ".join(f"**{outcome}**: {', '.join(each)}" for outcome, each in names.items())


def _text(option: str, value: Any) -> str:
    if value is subclass:
        return "a subclass"
    name = getattr(value, "__name__", None) or repr(value).replace("Ellipsis", "...")
    return f"`{option}={name}`"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(HEAD + "".join(map(section, LIBRARIES)), encoding="utf-8")
