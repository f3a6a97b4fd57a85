"""Options of the cells: dropout, layer norm, and the gate orders of other libraries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht

X = jax.random.normal(jax.random.key(0), (3, 4, 6), jnp.float64)
CELLS = {"lstm": ht.nn.LSTMCell, "gru": ht.nn.GRUCell, "simple": ht.nn.SimpleCell}


def cell(kind, **options):
    return CELLS[kind](6, 8, param_dtype=jnp.float64, rngs=nnx.Rngs(0), **options)


@pytest.mark.parametrize("kind", CELLS)
def test_recurrent_dropout_hides_the_same_entries_in_every_step(kind):
    layer = ht.nn.RNN(cell(kind, recurrent_dropout=0.5))
    rngs = nnx.Rngs(dropout=1)
    mask = layer.cell.dropout_mask(layer.cell.initialize_carry((3, 6)), nnx.Rngs(dropout=1))
    assert set(np.unique(mask)) == {0.0, 2.0}
    carry = layer.cell.initialize_carry((3, 6))
    for t in range(4):
        carry, y = layer.cell.step(carry, layer.cell.project(X[:, t]), None, mask)
    np.testing.assert_allclose(layer(X, rngs=rngs)[:, -1], y, atol=1e-14)


def test_recurrent_dropout_is_off_in_evaluation():
    layer = ht.nn.RNN(cell("lstm", recurrent_dropout=0.5))
    layer.eval()
    np.testing.assert_array_equal(layer(X), ht.nn.RNN(cell("lstm"))(X))


def test_dropout_reaches_all_layers_of_a_stack():
    layers = [ht.nn.RNN(cell("gru", recurrent_dropout=0.5)) for _ in range(2)]
    stack = ht.nn.Stacked([ht.nn.Bidirectional(*layers)])
    once, again, other = (stack(X, rngs=nnx.Rngs(dropout=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert not np.allclose(once, other)


@pytest.mark.parametrize("kind", CELLS)
def test_layer_norm_makes_the_gates_independent_of_the_scale_of_the_weights(kind):
    normed, plain = (cell(kind, layer_norm=on) for on in (True, False))
    before = [ht.nn.RNN(c)(X) for c in (normed, plain)]
    for c in (normed, plain):
        for layer in (c.input, c.recurrent):
            layer.cores["kernel"][...] *= 3
    after = [ht.nn.RNN(c)(X) for c in (normed, plain)]
    np.testing.assert_allclose(after[0], before[0], atol=1e-3)  # to the norm's epsilon
    assert not np.allclose(after[1], before[1], atol=1e-2)


def test_lstm_gates_stand_as_in_flax():
    ours = cell("lstm")
    flax = nnx.OptimizedLSTMCell(6, 8, param_dtype=jnp.float64, rngs=nnx.Rngs(1))
    ours.input.cores["kernel"][...] = flax.dense_i.kernel[...]
    ours.recurrent.cores["kernel"][...] = flax.dense_h.kernel[...]
    ours.bias[...] = flax.dense_h.bias[...]
    assert_same_outputs(ours, flax)


def test_gru_gates_stand_as_in_flax():
    ours, flax = cell("gru"), nnx.GRUCell(6, 8, param_dtype=jnp.float64, rngs=nnx.Rngs(1))
    flax.dense_i.bias[...] += jnp.arange(24.0) / 10
    ours.input.cores["kernel"][...] = flax.dense_i.kernel[...]
    ours.recurrent.cores["kernel"][...] = flax.dense_h.kernel[...]
    ours.bias[...] = flax.dense_i.bias[...]
    assert_same_outputs(ours, flax)


def assert_same_outputs(ours, flax):
    wanted = nnx.RNN(flax, rngs=False)(X, initial_carry=ours.initialize_carry((3, 6)))
    np.testing.assert_allclose(ht.nn.RNN(ours)(X), wanted, atol=1e-14)


@pytest.mark.parametrize(
    ("kind", "library", "first_columns"),  # of our gates i f g o, r s n, in the library's matrix
    [
        ("lstm", "torch", [0, 2, 4, 6]),  # W_ii, W_if, W_ig, W_io
        ("lstm", "flax", [0, 2, 4, 6]),  # i, f, g, o of OptimizedLSTMCell
        ("lstm", "keras", [0, 2, 4, 6]),  # i, f, c, o
        ("gru", "torch", [0, 2, 4]),  # W_ir, W_iz, W_in
        ("gru", "flax", [0, 2, 4]),  # r, z, n
        ("gru", "keras", [2, 0, 4]),  # z, r, h
        ("simple", "keras", [0]),
    ],
)
def test_gates_come_from_where_the_library_has_them(kind, library, first_columns):
    columns = jnp.arange(2 * len(first_columns))
    ours = ht.nn.reorder_gates(columns, kind, library, "ht_jax")
    np.testing.assert_array_equal(ours[::2], first_columns)
    np.testing.assert_array_equal(ht.nn.reorder_gates(ours, kind, "ht_jax", library), columns)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("lstm", "theano", "ht_jax"), "theano"),
        (("peephole", "torch", "ht_jax"), "peephole"),
        (("gru", "torch", "ht_jax"), "10 columns do not divide into the 3 gates"),
    ],
)
def test_unknown_orders_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        ht.nn.reorder_gates(jnp.arange(10), *arguments)
