"""Valid frames: 0 <= t < min(length, T), for lengths of any integer type."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

import ht_jax as ht
from ht_jax.nn.lengths import flipped, last_valid, valid_frames

F, H, T = 6, 4, 5
X = np.random.default_rng(0).normal(size=(3, T, F))
LENGTHS = [9, 2, 0]
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
CELLS = {"lstm": ht.nn.LSTMCell, "gru": ht.nn.GRUCell, "simple": ht.nn.SimpleCell}


def rnn(kind="lstm", **options):
    cell = CELLS[kind](F, H, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    return ht.nn.RNN(cell, **options)


def padded(value):
    """The sequences with `value` in their padding."""
    valid = np.arange(T) < np.array(LENGTHS)[:, None]
    return jnp.asarray(np.where(valid[..., None], X, value))


def valid_of(lengths, time):
    shape = (len(lengths), time, 1)
    return np.asarray(valid_frames(lengths, shape, time_major=False))[..., 0].T


def wanted_of(lengths, time):
    return [[t < int(n) for t in range(time)] for n in lengths]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("make", [np.array, jnp.array])
@pytest.mark.parametrize("x64", [False, True])
def test_lengths_of_any_integer_type_mean_the_same_frames(dtype, make, x64):
    info = np.iinfo(dtype)
    lengths = [0, 3, 100, min(300, info.max), info.max, info.max // 2 + 4, info.min]
    if make is jnp.array and not x64 and info.bits == 64:
        pytest.skip("such an array does not exist")
    with jax.enable_x64(x64):
        np.testing.assert_array_equal(valid_of(make(lengths, dtype), 300), wanted_of(lengths, 300))


@pytest.mark.parametrize("make", [list, tuple, lambda n: [np.int8(i) for i in n]])
def test_lengths_may_be_a_list_of_integers(make):
    np.testing.assert_array_equal(valid_of(make([4, 0, 7]), 5), wanted_of([4, 0, 7], 5))
    traced = jax.jit(lambda n: valid_frames(n, (3, 5, 1), time_major=False))(make([4, 0, 7]))
    np.testing.assert_array_equal(traced[..., 0].T, wanted_of([4, 0, 7], 5))


def test_no_lengths_of_no_sequences():
    assert rnn()(jnp.zeros((0, T, F)), seq_lengths=[]).shape == (0, T, H)


def test_one_length_of_a_single_sequence():
    np.testing.assert_array_equal(rnn()(X[0], seq_lengths=2)[2:], 0)


LAYERS = {
    "RNN": rnn,
    "Bidirectional": lambda: ht.nn.Bidirectional(rnn(), rnn()),
    "Stacked": lambda: ht.nn.Stacked([rnn()]),
    "VideoClassifier": lambda: ht.models.VideoClassifier(rnn(), H, 3, rngs=nnx.Rngs(0)),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("lengths", "error", "says"),
    [
        (np.array([True, False, True]), TypeError, "dtype bool"),
        (jnp.array([True, False, True]), TypeError, "dtype bool"),
        ([2.0, 1.0, 0.0], TypeError, "dtype float64"),
        ([2, 1], ValueError, r"shape \(2,\), but the batch axes of the inputs are \(3,\)"),
        (3, ValueError, r"shape \(\)"),
        (np.ones((3, T), int), ValueError, r"shape \(3, 5\)"),
    ],
)
def test_what_is_no_length_of_each_sequence_is_refused(layer, lengths, error, says):
    with pytest.raises(error, match=says):
        LAYERS[layer]()(X, seq_lengths=lengths)


@pytest.mark.parametrize("time_major", [False, True])
def test_frames_are_flipped_within_their_sequences(time_major):
    frames = np.arange(15.0).reshape(3, 5, 1)
    wanted = np.stack([frames[0, ::-1], frames[1], frames[2]])
    wanted[1, :2] = frames[1, 1::-1]
    turn = (lambda a: np.swapaxes(a, 0, 1)) if time_major else (lambda a: a)
    valid = valid_frames(LENGTHS, turn(frames).shape, time_major=time_major)
    got = flipped(jnp.asarray(turn(frames)), valid, time_major=time_major)
    np.testing.assert_array_equal(turn(np.asarray(got)), wanted)


def test_the_last_valid_output_of_an_empty_sequence_is_the_first():
    frames = jnp.arange(15.0).reshape(3, 5, 1)
    valid = valid_frames(LENGTHS, frames.shape, time_major=False)
    np.testing.assert_array_equal(last_valid(frames, valid)[:, 0], [4, 6, 10])


@pytest.mark.parametrize("keep_order", [False, True])
def test_a_reversed_run_starts_at_the_last_frame_there_is(keep_order):
    layer = rnn(reverse=True, keep_order=keep_order)
    got = layer(X, seq_lengths=[T, T + 2, 127])
    np.testing.assert_allclose(got, layer(X), atol=1e-14)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"reverse": True, "keep_order": True}])
def test_padding_reaches_no_output_carry_or_gradient(kind, options):
    graph, params = nnx.split(rnn(kind, return_carry=True, **options))

    def loss(params, x, start):
        carry, y = nnx.merge(graph, params)(x, initial_carry=start, seq_lengths=LENGTHS)
        leaves = jax.tree.leaves((carry, y))
        return sum(jnp.sum(jnp.sin(leaf + 1)) for leaf in leaves), (carry, y)

    start = nnx.merge(graph, params).cell.carry_of(jnp.full((3, H), 0.5))
    run = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))
    wanted = run(params, padded(0.0), start)
    (_, (carry, y)), (_, d_inputs, d_start) = wanted
    for value in (np.nan, np.inf, -1e300):
        got = run(params, padded(value), start)
        jax.tree.map(np.testing.assert_array_equal, got, wanted)
    for zeros in (y[1, 2:], y[2], d_inputs[1, 2:], d_inputs[2]):
        np.testing.assert_array_equal(zeros, 0)
    for new, old, d in zip(*map(jax.tree.leaves, (carry, start, d_start))):
        np.testing.assert_array_equal(new[2], old[2])
        np.testing.assert_allclose(d[2], np.cos(1.5), atol=1e-15)


def test_layer_norm_and_dropout_read_no_padding():
    options = {"layer_norm": True, "recurrent_dropout": 0.5, "param_dtype": jnp.float64}
    layer = ht.nn.RNN(ht.nn.LSTMCell(F, H, **options, rngs=nnx.Rngs(0)))
    stack = ht.nn.Stacked([layer], dropout=0.5)
    graph, params = nnx.split(stack)

    def loss(params, x):
        outputs = nnx.merge(graph, params)(x, seq_lengths=LENGTHS, rngs=nnx.Rngs(dropout=1))
        return jnp.sum(outputs**2)

    run = jax.jit(jax.grad(loss, (0, 1), allow_int=True))
    got, wanted = run(params, padded(np.nan)), run(params, padded(0.0))
    jax.tree.map(np.testing.assert_array_equal, got, wanted)
    assert np.any(wanted[1])


def test_tangents_of_the_padding_are_not_read():
    layer = rnn()
    run = functools.partial(layer, seq_lengths=LENGTHS)
    got = jax.jvp(run, (padded(np.nan),), (padded(np.nan),))
    wanted = jax.jvp(run, (padded(0.0),), (padded(0.0),))
    jax.tree.map(np.testing.assert_array_equal, got, wanted)


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_integers_in_the_padding_are_not_read(dtype):
    cell = ht.nn.SimpleCell(F, H, dtype=jnp.float16, rngs=nnx.Rngs(0))
    graph, params = nnx.split(ht.nn.RNN(cell, scale=0.1, offset=-0.5))

    def loss(params, x):
        return jnp.sum(nnx.merge(graph, params)(x, seq_lengths=LENGTHS).astype(jnp.float32))

    most = np.iinfo(dtype).max  # infinite in float16, for 32 bits
    grads = [jax.grad(loss)(params, jnp.abs(padded(v)).astype(dtype)) for v in (most, 0)]
    jax.tree.map(np.testing.assert_array_equal, *grads)


def test_lengths_under_vmap():
    layer, lengths = rnn(reverse=True), jnp.array(LENGTHS, jnp.uint8)
    got = jax.vmap(lambda x, n: layer(x, seq_lengths=n))(padded(np.nan), lengths)
    np.testing.assert_allclose(got, layer(padded(0.0), seq_lengths=lengths), atol=1e-14)


def test_lengths_under_export_with_symbolic_sizes():
    layer = rnn(reverse=True)
    batch, time = export.symbolic_shape("batch, time")
    shape = jax.ShapeDtypeStruct((batch, time, F), jnp.float64)
    lengths = jax.ShapeDtypeStruct((batch,), jnp.uint8)
    run = jax.jit(lambda x, n: layer(x, seq_lengths=n))
    exported = export.export(run)(shape, lengths)
    lengths = jnp.array(LENGTHS, jnp.uint8)
    got = exported.call(padded(np.nan), lengths)
    np.testing.assert_allclose(got, layer(padded(0.0), seq_lengths=lengths), atol=1e-14)


def test_a_layer_without_lengths_masks_nothing():
    assert "select_n" not in str(jax.make_jaxpr(rnn())(X))
