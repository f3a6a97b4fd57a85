"""Cells in every format and place against the dense equations, written out in NumPy."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht
from ht_jax.formats import squared_norm

pytestmark = pytest.mark.filterwarnings("ignore::ht_jax.RankWarning")
X, H, T, B = 54, 12, 4, 3  # input, hidden, frames, batch
CELLS = {"lstm": ht.nn.LSTMCell, "gru": ht.nn.GRUCell, "simple": ht.nn.SimpleCell}
PLACES = ("none", "input", "recurrent", "input+recurrent", "joint")


FORMATS = {
    "ht": lambda i, o: ht.HT(i, o, rank=3),
    "tt": lambda i, o: ht.TT(i, o, rank=3),
    "tr": lambda i, o: ht.TR(i, o, rank=2),
    "bt": lambda i, o: ht.BT(i, o, rank=2, terms=2),
    "kcp": lambda i, o: ht.KCP(i, o, rank=1, terms=4),
    "cp": lambda i, o: ht.CP(i, o, rank=4),
    "tucker": lambda i, o: ht.Tucker(i, o, rank=2),
    "low_rank": lambda i, o: ht.LowRank(math.prod(i), math.prod(o), rank=3),
}


def formats(place, family="ht"):
    """The formats of a cell; those of the input and of [x; h] are padded, where they can be."""
    make, padded = FORMATS[family], family != "low_rank"
    chosen = {
        "input": make((4, 7, 2) if padded else (X,), (2, 3, 2)),
        "recurrent": make((2, 3, 2), (2, 3, 2)),
        "joint": make((7, 5, 2) if padded else (X + H,), (2, 3, 2)),
    }
    return {name: chosen[name] for name in place.split("+") if name in chosen}


@functools.cache
def made(kind, place, family="ht"):
    """A cell in float64, as graph and parameters, with inputs."""
    cell = CELLS[kind](X, H, **formats(place, family), param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (B, T, X), jnp.float64)
    graph, params = nnx.split(cell)
    return graph, params, x


def dense(graph, params):
    """The kernels (X, G), (H, G) and the bias, from the whole joint kernel where there is one."""
    return tuple(map(np.asarray, dense_of(graph)(params)))


@functools.cache
def dense_of(graph):
    @jax.jit
    def dense(params):
        cell = nnx.merge(graph, params)
        if cell.joint is not None:
            kernel = cell.joint.weight.to_dense()
            return kernel[:X], kernel[X:], cell.bias[...]
        return cell.input.weight.to_dense(), cell.recurrent.weight.to_dense(), cell.bias[...]

    return dense


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(kind, w, u, bias, x, candidate_bias=0.0):
    """All outputs (B, T, H), one frame after the other."""
    h = c = np.zeros((x.shape[0], H))
    outputs = []
    for t in range(x.shape[1]):
        a, b = x[:, t] @ w + bias, h @ u
        if kind == "lstm":
            i, f, g, o = np.split(a + b, 4, -1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif kind == "gru":
            (ar, as_, an), (br, bs, bn) = np.split(a, 3, -1), np.split(b, 3, -1)
            r, s = sigmoid(ar + br), sigmoid(as_ + bs)
            h = (1 - s) * np.tanh(an + r * (bn + candidate_bias)) + s * h
        else:
            h = np.tanh(a + b)
        outputs.append(h)
    return np.stack(outputs, 1)


kinds = pytest.mark.parametrize("kind", CELLS)
places = pytest.mark.parametrize("place", PLACES)


FAST = {
    ("lstm", "joint", "ht"),
    ("gru", "joint", "ht"),
    ("simple", "input", "ht"),
    ("lstm", "none", "ht"),
    ("lstm", "joint", "kcp"),
}


def marked(*system):
    """A system that is in the fast tests only if it is one of the few in FAST."""
    return pytest.param(*system, marks=() if system in FAST else pytest.mark.slow)


systems = pytest.mark.parametrize(
    ("kind", "place", "family"),
    [
        marked(*system)
        for system in itertools.product(CELLS, PLACES, FORMATS)
        if system[1] != "none" or system[2] == "ht"
    ],
)


@functools.cache
def outputs_of(graph):
    return jax.jit(lambda params, x: ht.nn.RNN(nnx.merge(graph, params))(x))


@systems
def test_outputs_equal_the_dense_equations(kind, place, family):
    graph, params, x = made(kind, place, family)
    wanted = by_hand(kind, *dense(graph, params), np.asarray(x))
    np.testing.assert_allclose(outputs_of(graph)(params, x), wanted, atol=1e-12, rtol=1e-10)


@systems
def test_gradients_equal_finite_differences_of_the_dense_equations(kind, place, family):
    graph, params, x = made(kind, place, family)
    rng = np.random.default_rng(0)
    towards = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape)), params)
    target = rng.normal(size=(B, T, H))

    gradient = jax.jit(jax.grad(lambda p: jnp.vdot(outputs_of(graph)(p, x), target)))(params)
    slope = sum(jnp.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, towards))))

    def loss(step):
        moved = jax.tree.map(lambda p, d: p + step * d, params, towards)
        extra = np.asarray(moved["candidate_bias"][...]) if kind == "gru" else 0.0
        return np.vdot(by_hand(kind, *dense(graph, moved), np.asarray(x), extra), target)

    e = 1e-4  # a five-point rule: its error is of order e^4
    numeric = (8 * (loss(e) - loss(-e)) - (loss(2 * e) - loss(-2 * e))) / (12 * e)
    assert slope == pytest.approx(numeric, rel=1e-7)


@kinds
@pytest.mark.parametrize("place", ["none", "joint"])
def test_one_step_after_the_other_equals_the_layer(kind, place):
    graph, params, x = made(kind, place)
    cell = nnx.merge(graph, params)
    theirs = nnx.RNN(cell, rngs=False)(x, initial_carry=cell.initialize_carry((B, X)))
    np.testing.assert_allclose(outputs_of(graph)(params, x), theirs, atol=1e-12)


@systems
def test_initial_gates_have_the_dense_variance_for_100_seeds(kind, place, family):
    x = jax.random.normal(jax.random.key(1), (4096, X), jnp.float32)
    h = jax.random.normal(jax.random.key(2), (4096, H), jnp.float32)

    def rms(seed, places):
        cell = CELLS[kind](X, H, **places, rngs=nnx.Rngs(params=seed))
        z = cell.project(x) + ht.apply(cell.recurrent_weight(), h)
        return jnp.sqrt(jnp.mean(jnp.square(z - cell.bias[...])))

    seeds = jax.random.split(jax.random.key(3), 100)
    ours = np.asarray(jax.jit(jax.vmap(lambda s: rms(s, formats(place, family))))(seeds))
    # Two layers of unit variance are added, but a joint one is a single layer over [x; h].
    dense = 1.0 if place == "joint" else np.sqrt(2)
    assert np.all(np.abs(ours / dense - 1) < 0.05), (ours.min(), ours.max())


@pytest.mark.slow
@pytest.mark.parametrize("family", FORMATS)
def test_gradient_of_the_gradient_of_a_whole_layer(family):
    graph, params, x = made("lstm", "joint", family)

    def squares(params):
        outputs = lambda p: jnp.sum(jnp.square(outputs_of(graph)(p, x)))  # noqa: E731
        return sum(jnp.vdot(g, g) for g in jax.tree.leaves(jax.grad(outputs)(params)))

    towards = jax.tree.map(jnp.ones_like, params)
    gradient = jax.jit(jax.grad(squares))(params)
    slope = float(sum(jnp.sum(g) for g in jax.tree.leaves(gradient)))
    e = 1e-5
    up, down = (jax.tree.map(lambda p, d, s=s: p + s * d, params, towards) for s in (e, -e))
    numeric = float(squares(up) - squares(down)) / (2 * e)
    assert slope == pytest.approx(numeric, rel=1e-5)


def test_gates_of_the_papers_fdht_lstm_answer_unit_inputs_as_dense_ones_do():
    fmt = ht.HT((9, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5)
    fmt = fmt.sized(57_856, 256).with_gates(4)

    def mean_square(key):  # of x @ W over unit-normal x: the squared norm of W, a gate's share
        return squared_norm(fmt.init(key).restrict(0, 57_600)) / 1024

    found = jax.vmap(mean_square)(jax.random.split(jax.random.key(0), 100))
    assert np.all(np.abs(np.sqrt(found) - 1) < 0.05)


def test_forget_bias_starts_at_one():
    graph, params, _ = made("lstm", "joint")
    bias = nnx.merge(graph, params).bias[...]
    np.testing.assert_array_equal(bias, np.repeat([0.0, 1.0, 0.0, 0.0], H))


def test_joint_is_one_tensor_over_inputs_and_hidden_state():
    fmt = ht.HT((9, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5)
    cell = nnx.eval_shape(lambda: ht.nn.LSTMCell(57_600, 256, joint=fmt, rngs=nnx.Rngs(0)))
    sizes = {core.size for core in cell.joint.cores.values()}
    assert sum(core.size for core in cell.joint.cores.values()) == 1309, sizes
    assert cell.joint.format.restrict(0, 57_600).in_modes == (8, 10, 10, 9, 8)
    assert cell.joint.format.restrict(57_600, 57_856).in_modes == (1, 1, 4, 9, 8)


def test_integer_inputs_are_normalised():
    graph, params, _ = made("lstm", "input")
    cell = nnx.merge(graph, params)
    x = np.random.default_rng(0).integers(0, 256, (B, X), np.uint8)
    wanted = cell.project(jnp.asarray(x / 127.5 - 1.0))
    got = cell.project(jnp.asarray(x), reading=ht.Reading(1 / 127.5, -1.0))
    np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_bfloat16_computation_keeps_float32_parameters():
    cell = ht.nn.LSTMCell(X, H, **formats("input"), dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    y = ht.nn.RNN(cell)(jnp.ones((B, T, X), jnp.float32))
    assert y.dtype == jnp.bfloat16
    assert {p.dtype for p in jax.tree.leaves(nnx.state(cell))} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("place", "fmt", "says"),
    [
        ("input", ht.HT((4, 7), (2, 6), rank=2), "input: in_modes .* multiply to 28"),
        ("recurrent", ht.HT((4, 3), (2, 2), rank=2), "recurrent: out_modes .* multiply to 4"),
        ("joint", ht.HT((8, 8), (2, 6), rank=2), "joint: in_modes .* below in_features 66"),
        ("input", ht.Dense(X, H + 1), "not of size"),
        ("input", ht.HT((4, 7, 2), (2, 3, 2), rank=2).with_gates(4), "give it without"),
        ("input", ht.HT((4, 7, 2), (2, 3, 2), rank=2).restrict(0, 40), "not of size"),
    ],
)
def test_a_format_that_does_not_fit_is_named(place, fmt, says):
    with pytest.raises(ValueError, match=says):
        ht.nn.LSTMCell(X, H, **{place: fmt}, rngs=nnx.Rngs(0))


def test_joint_stands_alone():
    with pytest.raises(ValueError, match="give it alone"):
        ht.nn.LSTMCell(X, H, **formats("input+joint"), rngs=nnx.Rngs(0))
