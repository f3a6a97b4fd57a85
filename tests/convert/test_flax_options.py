"""Options of layers of Flax: carried, or refused by name."""

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ht_jax import convert
from tests.convert.sequences import H, W
from tests.convert.sources import subclass

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, W)), jnp.float32)


def gru(seed=0, width=W, **options):
    return nnx.GRUCell(width, H, rngs=nnx.Rngs(seed), **options)


def rnn(seed=0, width=W, **options):
    return nnx.RNN(gru(seed, width), **options)


@pytest.mark.parametrize(
    "options", [{"time_major": True}, {"merge_fn": jnp.add}, {"return_carry": True}], ids=str
)
def test_a_bidirectional_layer_keeps_its_options(options):
    theirs = nnx.Bidirectional(rnn(0), rnn(1), **options)
    actual, expected = convert.from_flax(theirs)(X), theirs(X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), actual, expected)


def test_layers_on_top_of_each_other_keep_their_directions():
    layers = [rnn(0, reverse=True, keep_order=True), rnn(1, H)]
    expected = layers[1](layers[0](X))
    np.testing.assert_allclose(convert.from_flax(layers)(X), expected, rtol=0, atol=1e-6)


def test_the_dtype_of_a_cell_is_carried():
    assert convert.from_flax(nnx.SimpleCell(W, H, rngs=nnx.Rngs(0))).cell.dtype == jnp.float32
    assert convert.from_flax(gru()).cell.dtype is None


def _cast():
    cell = gru()
    for linear in (cell.dense_i, cell.dense_h):
        linear.kernel.set_value(linear.kernel[...].astype(jnp.bfloat16))
    return cell


def _changed(layer, path, value):
    *inner, name = path.split(".")
    target = layer
    for part in inner:
        target = getattr(target, part)
    setattr(target, name, value)
    return layer


REFUSED = {
    "cell subclass": (lambda: subclass(nnx.GRUCell)(W, H, rngs=nnx.Rngs(0)), "subclass of GRUCell"),
    "cell subclass inside": (
        lambda: nnx.RNN(subclass(nnx.SimpleCell)(W, H, rngs=nnx.Rngs(0))),
        "subclass of SimpleCell",
    ),
    "RNN subclass": (lambda: subclass(nnx.RNN)(gru()), "subclass of RNN"),
    "RNN subclass inside": (
        lambda: nnx.Bidirectional(subclass(nnx.RNN)(gru()), rnn(1)),
        "subclass of RNN",
    ),
    "Bidirectional subclass": (
        lambda: subclass(nnx.Bidirectional)(rnn(0), rnn(1)),
        "subclass of Bidirectional",
    ),
    "other layer": (lambda: nnx.Linear(W, H, rngs=nnx.Rngs(0)), "Linear is none of them"),
    "gate": (lambda: gru(gate_fn=nnx.hard_sigmoid), "gate_fn=hard_sigmoid.*only sigmoid is"),
    "activation": (lambda: gru(activation_fn=nnx.relu), "activation_fn=relu"),
    "residual": (
        lambda: nnx.SimpleCell(W, H, residual=True, rngs=nnx.Rngs(0)),
        "residual=True.*only False is",
    ),
    "wider state": (lambda: gru(dtype=jnp.bfloat16), "dtype=bfloat16 beside param_dtype=float32"),
    "cast parameters": (_cast, "has param_dtype=float32, but its parameters are .*bfloat16"),
    "precision": (lambda: _changed(gru(), "dense_h.precision", "highest"), "precision='highest'"),
    "subclass of a matrix": (
        lambda: _changed(gru(), "dense_i", subclass(nnx.Linear)(W, 3 * H, rngs=nnx.Rngs(0))),
        "subclass of Linear",
    ),
    "unknown option": (lambda: _changed(rnn(), "zoneout", 0.1), "zoneout=0.1.*remove it"),
    "broadcast": (lambda: rnn(broadcast_rngs="dropout"), "broadcast_rngs='dropout'"),
    "shared": (lambda: nnx.Bidirectional(*[rnn()] * 2), "GRUCell stands in two places"),
    "no layer": (lambda: [], "no layer to convert"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_lost_is_refused_by_name(case):
    make, reason = REFUSED[case]
    with pytest.raises(ValueError, match=reason):
        convert.from_flax(make())


GRU = {f"{s}{g}": {"kernel": np.ones((n, 3))} for s, n in (("i", 5), ("h", 3)) for g in "rzn"}


@pytest.mark.parametrize(
    ("params", "module", "reason"),
    [
        (GRU | {"hn": {"kernel": np.ones((3, 3)), "scale": 1.0}}, None, "hn holds .*scale"),
        (GRU | {"hn": np.ones((3, 3))}, None, "hn holds"),
        (GRU, linen.LSTMCell(3), "not the parameters of LSTMCell"),
        (GRU, linen.GRUCell(3, gate_fn=nnx.relu), "gate_fn=relu"),
        (GRU, linen.RNN(linen.GRUCell(3), variable_carry="memory"), "variable_carry='memory'"),
        (GRU, subclass(linen.GRUCell)(3), "subclass of GRUCell"),
    ],
)
def test_what_linen_would_lose_is_refused_by_name(params, module, reason):
    with pytest.raises(ValueError, match=reason):
        convert.from_linen(params, module)


def test_a_linen_rnn_keeps_its_options():
    module = linen.RNN(linen.GRUCell(3, param_dtype=jnp.float64), reverse=True, time_major=True)
    layer = convert.from_linen(GRU, module)
    assert layer.reverse
    assert layer.time_major
