"""Swapping the layers of a user's model."""

import functools

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


def tensorize(model, formats):
    return ht.tensorize(model, formats, rngs=nnx.Rngs(1))


def shaped(make, formats):
    """The model that comes of `make()`, without its arrays, and the report."""
    reports = []

    def run():
        swapped, report = tensorize(make(), formats)
        reports.append(report)
        return swapped

    return nnx.eval_shape(run), reports[0]


def make():
    return Model(nnx.Rngs(0))


EVERYTHING = {
    "encoder/embed": ht.TT((9, 10), (8, 6), rank=3),
    "encoder/rnn": {"joint": ht.HT((8, 8), (4, 4), rank=2)},
    "encoder/both/*": {"recurrent": ht.TT((4, 2), (4, 2), rank=2)},
    "out": None,
    "*": SQUARE,
}


@functools.cache
def everything():
    return shaped(make, EVERYTHING)


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
def test_layer_is_swapped(path, kind):
    found, _ = everything()
    for name in path.split("."):
        found = getattr(found, name)
    assert type(found) is kind


def test_swapped_model_is_called_and_differentiated_as_before():
    graph, params, rest = nnx.split(everything()[0], nnx.Param, ...)

    def loss(params):
        y = nnx.merge(graph, params, rest)(X)
        assert y.shape == (2, 5, 4)
        return jnp.sum(jnp.square(y))

    grads = jax.eval_shape(jax.grad(loss), params)
    assert jax.tree.map(jnp.shape, grads) == jax.tree.map(jnp.shape, params)


@pytest.fixture
def pair():
    """Two layers of numbers, which stand side by side."""
    return nnx.Sequential(*(nnx.Linear(16, 16, rngs=nnx.Rngs(n)) for n in range(2)))


def test_original_stays_as_it_is(pair):
    graph, before = nnx.graphdef(pair), nnx.to_pure_dict(nnx.state(pair))
    tensorize(pair, {"*": SQUARE})
    assert nnx.graphdef(pair) == graph
    jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(nnx.state(pair)), before)


def test_layers_that_are_not_matched_keep_their_weights(pair):
    swapped, _ = tensorize(pair, {"layers/0": SQUARE})
    np.testing.assert_array_equal(swapped.layers[1].kernel[...], pair.layers[1].kernel[...])


def test_layer_that_stands_twice_is_swapped_once():
    swapped, report = shaped(make, {"first": SQUARE})
    assert swapped.tied is swapped.first
    assert [swap.path for swap in report.swaps] == ["first"]


def test_layer_within_a_tuple():
    swapped, _ = shaped(make, {"boxes/*": SQUARE})
    layer, number = swapped.boxes["pair"]
    assert layer.format == SQUARE
    assert layer.bias is None
    assert number == 3.0


def test_first_pattern_decides():
    swapped, _ = shaped(make, {"first": ht.TT((4, 4), (4, 4), rank=2), "[fb]*": SQUARE})
    assert isinstance(swapped.first.format, ht.TT)
    assert swapped.boxes["pair"][0].format == SQUARE


def test_function_chooses_by_size():
    swapped, _ = shaped(make, {"out": lambda n, m: ht.LowRank(n, m, rank=2)})
    assert swapped.out.format == ht.LowRank(16, 4, rank=2)


def test_bare_format_of_a_cell_is_for_its_input():
    swapped, _ = shaped(make, {"encoder/rnn/cell": ht.HT((8, 6), (4, 4), rank=2)})
    cell = swapped.encoder.rnn.cell
    assert isinstance(cell.input.format, ht.HT)
    assert isinstance(cell.recurrent.format, ht.Dense)


def test_cell_of_its_own_is_swapped():
    fmt = ht.HT((8, 6), (4, 4), rank=2)
    cell, _ = shaped(lambda: nnx.LSTMCell(48, 16, rngs=nnx.Rngs(0)), {"*": fmt})
    assert type(cell) is ht.nn.LSTMCell
    assert cell.input.format == fmt.with_gates(4)


def test_options_of_the_layers_are_kept():
    options = {"reverse": True, "keep_order": True, "time_major": True, "return_carry": True}
    options["unroll"] = 2

    def make():
        types = {"dtype": jnp.bfloat16, "param_dtype": jnp.float64}
        return nnx.RNN(nnx.GRUCell(16, 16, **types, rngs=nnx.Rngs(0)), **options, rngs=False)

    swapped, _ = shaped(make, {"": SQUARE})
    assert {name: getattr(swapped, name) for name in options} == options
    assert (swapped.cell.dtype, swapped.cell.param_dtype) == (jnp.bfloat16, jnp.float64)


def test_rnn_with_state_axes_keeps_running_the_cell():
    def make():
        return nnx.RNN(nnx.GRUCell(16, 16, rngs=nnx.Rngs(0)), broadcast_rngs="params", rngs=False)

    swapped, _ = shaped(make, {"cell": SQUARE})
    assert type(swapped) is nnx.RNN
    assert type(swapped.cell) is ht.nn.GRUCell


def test_report_counts_before_and_after():
    formats = {"first": SQUARE, "encoder/embed": EVERYTHING["encoder/embed"]}
    swapped, report = shaped(make, formats)
    found = {swap.path: (swap.params_before, swap.params_after) for swap in report.swaps}
    assert found == {"first": (16 * 17, 68 + 16), "encoder/embed": (90 * 48, 3 * (72 + 60))}
    assert report.params_before == ht.summary(nnx.eval_shape(make)).params
    assert report.params_after == ht.summary(swapped).params
    assert "first" in str(report)
    assert repr(SQUARE) in str(report)


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        ({"decoder/*": SQUARE}, "'decoder/\\*' matches no layer .* the layers are 'boxes/pair/0'"),
        ({"first": SQUARE, "fir*": SQUARE}, "'fir\\*' matches no layer that is left"),
        ({"first": SQUARE, "out": ht.HT((3, 5), (2, 2), rank=1)}, "'out': in_modes .* below"),
        ({"first": SQUARE, "out": SQUARE}, r"'out' is of size \(16, 4\), but out_modes"),
        ({"first": ht.LowRank(16, 8, rank=1)}, "'first': .* is not of size"),
        ({"first": {"joint": SQUARE}}, "'first' \\(Linear\\): give formats for kernel"),
        ({"encoder/rnn": {}}, "give formats for input or recurrent or joint"),
        ({"encoder/rnn": {"joint": SQUARE}}, "'encoder/rnn/cell': in_modes .* below"),
    ],
)
def test_refusals_change_nothing(formats, message):
    model = nnx.eval_shape(make)
    graph, before = nnx.graphdef(model), jax.tree.leaves(nnx.state(model))
    with pytest.raises(ValueError, match=message):
        tensorize(model, formats)
    assert nnx.graphdef(model) == graph
    assert all(a is b for a, b in zip(jax.tree.leaves(nnx.state(model)), before, strict=True))


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
