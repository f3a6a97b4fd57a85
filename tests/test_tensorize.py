"""Swapping the layers of a user's model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht

SQUARE = ht.HT((4, 4), (4, 4), rank=2)  # 16 -> 16
X = jnp.arange(10).reshape(2, 5)


class Encoder(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(90, 48, rngs=rngs)
        self.rnn = nnx.RNN(nnx.OptimizedLSTMCell(48, 16, rngs=rngs))
        forward = nnx.RNN(nnx.GRUCell(16, 8, rngs=rngs))
        backward = nnx.RNN(nnx.SimpleCell(16, 8, rngs=rngs))
        self.both = nnx.Bidirectional(forward, backward)

    def __call__(self, ids):
        return self.both(self.rnn(self.embed(ids)))


class Model(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(16, 16, rngs=rngs)
        self.encoder = Encoder(rngs)
        self.tied = self.first
        self.boxes = nnx.data({"pair": (nnx.Linear(16, 16, use_bias=False, rngs=rngs), 3.0)})
        self.out = nnx.Linear(16, 4, rngs=rngs)

    def __call__(self, ids):
        y = self.tied(self.first(self.encoder(ids)))
        return self.out(self.boxes["pair"][0](y))


@pytest.fixture
def model():
    return Model(nnx.Rngs(0))


def tensorize(model, formats):
    return ht.tensorize(model, formats, rngs=nnx.Rngs(1))


def same(a, b):
    return jax.tree.all(jax.tree.map(np.array_equal, nnx.state(a), nnx.state(b)))


EVERYTHING = {
    "encoder/embed": ht.TT((9, 10), (8, 6), rank=3),
    "encoder/rnn": {"joint": ht.HT((8, 8), (4, 4), rank=2)},
    "encoder/both/*": {"recurrent": ht.TT((4, 2), (4, 2), rank=2)},
    "out": None,
    "*": SQUARE,
}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("first", ht.nn.TensorDense),
        ("encoder.embed", ht.nn.TensorEmbed),
        ("encoder.rnn", ht.nn.RNN),
        ("encoder.rnn.cell", ht.nn.LSTMCell),
        ("encoder.both.forward_rnn.cell", ht.nn.GRUCell),
        ("encoder.both.backward_rnn.cell", ht.nn.SimpleCell),
        ("out", nnx.Linear),
    ],
)
def test_layer_is_swapped(model, path, kind):
    found, _ = tensorize(model, EVERYTHING)
    for name in path.split("."):
        found = getattr(found, name)
    assert type(found) is kind


def test_swapped_model_runs_and_learns(model):
    swapped, _ = tensorize(model, EVERYTHING)
    assert swapped(X).shape == (2, 5, 4)
    grads = nnx.grad(lambda m: jnp.sum(jnp.square(m(X))))(swapped)
    norms = [float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(grads)]
    assert min(norms) > 0


def test_original_stays_as_it_is(model):
    before, outputs = nnx.clone(model), model(X)
    tensorize(model, EVERYTHING)
    assert same(model, before)
    np.testing.assert_array_equal(model(X), outputs)


def test_layers_that_are_not_matched_keep_their_weights(model):
    swapped, _ = tensorize(model, {"first": SQUARE})
    assert same(swapped.encoder, model.encoder)


def test_layer_that_stands_twice_is_swapped_once(model):
    swapped, report = tensorize(model, {"first": SQUARE})
    assert swapped.tied is swapped.first
    assert [swap.path for swap in report.swaps] == ["first"]


def test_layer_within_a_tuple(model):
    swapped, _ = tensorize(model, {"boxes/*": SQUARE})
    layer, number = swapped.boxes["pair"]
    assert layer.format == SQUARE
    assert layer.bias is None
    assert number == 3.0


def test_first_pattern_decides(model):
    swapped, _ = tensorize(model, {"first": ht.TT((4, 4), (4, 4), rank=2), "[fb]*": SQUARE})
    assert isinstance(swapped.first.format, ht.TT)
    assert swapped.boxes["pair"][0].format == SQUARE


def test_function_chooses_by_size(model):
    swapped, _ = tensorize(model, {"out": lambda n, m: ht.LowRank(n, m, rank=2)})
    assert swapped.out.format == ht.LowRank(16, 4, rank=2)


def test_bare_format_of_a_cell_is_for_its_input(model):
    swapped, _ = tensorize(model, {"encoder/rnn/cell": ht.HT((8, 6), (4, 4), rank=2)})
    cell = swapped.encoder.rnn.cell
    assert isinstance(cell.input.format, ht.HT)
    assert isinstance(cell.recurrent.format, ht.Dense)


def test_cell_of_its_own_is_swapped():
    cell, _ = tensorize(
        nnx.LSTMCell(48, 16, rngs=nnx.Rngs(0)), {"*": ht.HT((8, 6), (4, 4), rank=2)}
    )
    carry, _ = cell(cell.initialize_carry((2, 48)), jnp.ones((2, 48), jnp.float32))
    assert [state.shape for state in carry] == [(2, 16), (2, 16)]


def test_options_of_the_layers_are_kept():
    rngs = nnx.Rngs(0)
    cell = nnx.GRUCell(16, 16, dtype=jnp.bfloat16, param_dtype=jnp.float64, rngs=rngs)
    rnn = nnx.RNN(cell, reverse=True, keep_order=True, time_major=True, return_carry=True, unroll=2)
    swapped, _ = tensorize(rnn, {"": SQUARE})
    for name in ("reverse", "keep_order", "time_major", "return_carry", "unroll"):
        assert getattr(swapped, name) == getattr(rnn, name)
    assert (swapped.cell.dtype, swapped.cell.param_dtype) == (jnp.bfloat16, jnp.float64)


def test_rnn_with_state_axes_keeps_running_the_cell():
    rngs = nnx.Rngs(0)
    rnn = nnx.RNN(nnx.GRUCell(16, 16, rngs=rngs), broadcast_rngs="params")
    swapped, _ = tensorize(rnn, {"cell": SQUARE})
    assert type(swapped) is nnx.RNN
    assert type(swapped.cell) is ht.nn.GRUCell


def test_report_counts_before_and_after(model):
    swapped, report = tensorize(
        model, {"first": SQUARE, "encoder/embed": EVERYTHING["encoder/embed"]}
    )
    found = {swap.path: (swap.params_before, swap.params_after) for swap in report.swaps}
    assert found == {"first": (16 * 17, 68 + 16), "encoder/embed": (90 * 48, 3 * (72 + 60) + 24)}
    assert report.params_before == ht.summary(model).params
    assert report.params_after == ht.summary(swapped).params
    assert "first" in str(report)
    assert repr(SQUARE) in str(report)


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        ({"decoder/*": SQUARE}, "'decoder/\\*' matches no layer .* the layers are 'first'"),
        ({"first": SQUARE, "fir*": SQUARE}, "'fir\\*' matches no layer that is left"),
        ({"first": SQUARE, "out": ht.HT((3, 5), (2, 2), rank=1)}, "'out': in_modes .* below"),
        ({"first": SQUARE, "out": SQUARE}, r"'out' is of size \(16, 4\), but out_modes"),
        ({"first": ht.LowRank(16, 8, rank=1)}, "'first': .* is not of size"),
        ({"first": {"joint": SQUARE}}, "'first' \\(Linear\\): give formats for kernel"),
        ({"encoder/rnn": {}}, "give formats for input or recurrent or joint"),
        ({"encoder/rnn": {"joint": SQUARE}}, "'encoder/rnn/cell': in_modes .* below"),
    ],
)
def test_refusals_change_nothing(model, formats, message):
    before = nnx.clone(model)
    with pytest.raises(ValueError, match=message):
        tensorize(model, formats)
    assert same(model, before)
    assert type(model.first) is nnx.Linear


@pytest.mark.parametrize(
    "layer",
    [
        nnx.LSTMCell(16, 16, activation_fn=nnx.relu, rngs=nnx.Rngs(0)),
        nnx.SimpleCell(16, 16, residual=True, rngs=nnx.Rngs(0)),
        nnx.Linear(16, 16, dot_general=lambda *args, **options: None, rngs=nnx.Rngs(0)),
    ],
)
def test_layer_with_a_rule_of_its_own_is_refused(layer):
    with pytest.raises(ValueError, match="of its own"):
        tensorize(layer, {"*": SQUARE})
