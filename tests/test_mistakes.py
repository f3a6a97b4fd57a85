"""The usual mistakes are told by one error that quotes the value and says what to do."""

import re

import jax.numpy as jnp
import pytest
from flax import nnx

import ht_jax as ht

TT = ht.TT((8, 6), (4, 4), rank=2)
TEXT = "TT((8, 6), (4, 4), rank=2)"


def cell(**options):
    return ht.nn.LSTMCell(48, 16, **options, rngs=nnx.Rngs(0))


MISTAKES = {
    "a text for a layer": (
        lambda: ht.nn.TensorDense(TEXT, rngs=nnx.Rngs(0)),
        TypeError,
        f"fmt {TEXT!r} is not a format .* ht.parse_format",
    ),
    "a text for a cell": (lambda: cell(input=TEXT), TypeError, f"input {TEXT!r} is not a format"),
    "a text for a swap": (
        lambda: ht.tensorize(nnx.Linear(48, 16, rngs=nnx.Rngs(0)), {"*": TEXT}),
        TypeError,
        f"{TEXT!r} is not a format",
    ),
    "a format for a model": (
        lambda: ht.summary(ht.TT((8, 6), (4, 4), rank=3)),
        TypeError,
        "summary takes an nnx model, not TT",
    ),
    "no time axis": (
        lambda: ht.nn.RNN(cell(input=TT))(jnp.ones(48, "float32")),
        ValueError,
        "inputs of shape (48,) have no time axis",
    ),
    "batch as text": (lambda: ht.plan(TT, batch="3"), ValueError, "batch '3' must be"),
    "unknown mode": (lambda: ht.plan(TT, 3, "test"), ValueError, "mode 'test' is neither"),
    "no folder": (
        lambda: ht.export.save(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), "no/where.safetensors"),
        FileNotFoundError,
        "no/where.safetensors: its folder does not exist; make it first",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told(name):
    make, kind, says = MISTAKES[name]
    with pytest.raises(kind, match=".*".join(map(re.escape, says.split(" .* ")))):
        make()


def test_an_unknown_format_is_told_the_names_that_users_know():
    with pytest.raises(ValueError, match="'HTT' in 'HTT\\(3\\)' is not a format") as told:
        ht.parse_format("HTT(3)")
    known = ["BT", "CP", "Dense", "HT", "KCP", "LowRank", "TR", "TT", "Tucker"]
    named = re.findall(r"'(\w+)'", str(told.value).partition("known are")[2])
    assert set(known) <= set(named)
    assert not {"Unsplit", "Observed", "Recorded"} & set(named)
