"""The layer around the cells: lengths, direction, carries, and Flax's own containers."""

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

import ht_jax as ht
from ht_jax.formats import Prepared

F, H, T = 6, 4, 5
X = jax.random.normal(jax.random.key(0), (3, T, F), jnp.float64)
LENGTHS = jnp.array([5, 2, 0])


def rnn(seed=0, **options):
    cell = ht.nn.LSTMCell(F, H, param_dtype=jnp.float64, rngs=nnx.Rngs(seed))
    return ht.nn.RNN(cell, **options)


def cut(outputs, n, length):
    """Sequence n alone, run without padding."""
    return outputs(X[n : n + 1, :length])


@pytest.mark.parametrize("reverse", [False, True])
def test_a_padded_sequence_equals_the_sequence_alone(reverse):
    layer = rnn(reverse=reverse, keep_order=True, return_carry=True)
    (c, h), outputs = layer(X, seq_lengths=LENGTHS)
    for n, length in enumerate([5, 2, 0]):
        (c_alone, h_alone), alone = layer(X[n : n + 1, :length])
        np.testing.assert_allclose(outputs[n, :length], alone[0], atol=1e-14)
        np.testing.assert_array_equal(outputs[n, length:], 0)
        np.testing.assert_allclose(c[n], c_alone[0], atol=1e-14)
        np.testing.assert_allclose(h[n], h_alone[0], atol=1e-14)


@pytest.mark.parametrize("keep_order", [False, True])
def test_reverse_equals_flax(keep_order):
    layer = rnn(reverse=True, keep_order=keep_order)
    theirs = nnx.RNN(layer.cell, reverse=True, keep_order=keep_order, rngs=False)
    start = layer.cell.initialize_carry((3, F))
    for lengths in (None, jnp.array([5, 2, 4])):
        wanted = theirs(X, initial_carry=start, seq_lengths=lengths)
        got = layer(X, seq_lengths=lengths)
        for n in range(3):  # flax leaves what lies past the length as it comes
            length = T if lengths is None else int(lengths[n])
            np.testing.assert_allclose(got[n, :length], wanted[n, :length], atol=1e-14)


def test_initial_carry_continues_a_sequence():
    layer = rnn(return_carry=True)
    carry, first = layer(X[:, :2])
    _, second = layer(X[:, 2:], initial_carry=carry)
    together = layer(X, return_carry=False)
    np.testing.assert_allclose(jnp.concatenate([first, second], 1), together, atol=1e-14)


def test_time_major():
    layer = rnn()
    wanted = jnp.swapaxes(layer(X, seq_lengths=LENGTHS), 0, 1)
    got = layer(jnp.swapaxes(X, 0, 1), seq_lengths=LENGTHS, time_major=True)
    np.testing.assert_allclose(got, wanted, atol=1e-14)


@pytest.mark.parametrize("shape", [(T, F), (2, 3, T, F), (0, T, F), (3, 0, F)])
def test_batch_axes(shape):
    assert rnn()(jnp.ones(shape)).shape == (*shape[:-1], H)


@pytest.mark.parametrize("layer", [nnx.Bidirectional, ht.nn.Bidirectional])
def test_bidirectional_with_lengths(layer):
    forward, backward = rnn(0), rnn(1)
    outputs = layer(forward, backward)(X, seq_lengths=LENGTHS)
    assert outputs.shape == (3, T, 2 * H)
    np.testing.assert_allclose(outputs[..., :H], forward(X, seq_lengths=LENGTHS), atol=1e-14)
    alone = backward(X[1:2, :2], reverse=True, keep_order=True)
    np.testing.assert_allclose(outputs[1, :2, H:], alone[0], atol=1e-14)
    np.testing.assert_array_equal(outputs[1, 2:], 0)


@pytest.mark.parametrize("keep_order", [False, True])
def test_a_reversed_stack_reads_the_sequence_from_its_end(keep_order):
    cell = ht.nn.GRUCell(H, 3, param_dtype=jnp.float64, rngs=nnx.Rngs(2))
    stack = ht.nn.Stacked([rnn(0), ht.nn.RNN(cell)])
    wanted = stack(X[:, ::-1])
    got = stack(X, reverse=True, keep_order=keep_order)
    np.testing.assert_allclose(got, wanted[:, ::-1] if keep_order else wanted, atol=1e-14)


def test_export_with_a_symbolic_batch():
    graph, state = nnx.split(rnn())
    state = nnx.to_pure_dict(state)

    def run(x):
        return nnx.merge(graph, state)(x)

    (batch,) = export.symbolic_shape("b")
    shape = jax.ShapeDtypeStruct((batch, T, F), jnp.float64)
    exported = export.export(jax.jit(run))(shape)
    np.testing.assert_allclose(exported.call(X), rnn()(X), atol=1e-14)


def test_closing_over_a_layer_under_jit_and_vmap():
    layer = ht.nn.Bidirectional(rnn(0), rnn(1))
    np.testing.assert_allclose(jax.jit(lambda x: layer(x))(X), layer(X), atol=1e-14)
    np.testing.assert_allclose(jax.vmap(lambda x: layer(x))(X), layer(X), atol=1e-14)


def test_one_compilation_serves_many_calls():
    graph, state = nnx.split(rnn())
    traces = []

    @jax.jit
    def run(state, x):
        traces.append(x.shape)
        return nnx.merge(graph, state)(x)

    for _ in range(3):
        run(state, X)
    assert len(traces) == 1


@pytest.mark.slow
def test_within_a_linen_module():
    class Net(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            modes = {"in_modes": (3, 2), "out_modes": (2, 2)}

            def make(rngs):
                return ht.nn.RNN(ht.nn.HTLSTMCell(F, H, **modes, rank=2, rngs=rngs))

            return flax.linen.Dense(2)(nnx.bridge.to_linen(make)(x))

    x = X.astype(jnp.float32)
    variables = Net().init(jax.random.key(0), x)
    assert set(variables) == {"params"}
    loss = lambda v: jnp.sum(jnp.square(Net().apply(v, x)))  # noqa: E731
    gradient = jax.grad(loss)(variables)
    assert all(jnp.linalg.norm(g) > 0 for g in jax.tree.leaves(gradient["params"]["ToLinen_0"]))


def test_large_hidden_to_hidden_kernel_is_not_formed_for_a_step():
    fmt = ht.HT((16, 16, 16), (16, 16, 16), rank=2)
    cell = nnx.eval_shape(lambda: ht.nn.SimpleCell(8, 4096, recurrent=fmt, rngs=nnx.Rngs(0)))
    assert isinstance(jax.eval_shape(lambda: cell_of(cell).recurrence(1, 1)), Prepared)
    full = ht.TT((4, 8, 8), (4, 8, 8), rank=16)
    cell = ht.nn.SimpleCell(8, 256, recurrent=full, rngs=nnx.Rngs(0))
    assert isinstance(cell.recurrence(16, 100), jax.Array)


def cell_of(shapes):
    """The cell with zeros of those shapes."""
    graph, state = nnx.split(shapes)
    return nnx.merge(graph, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), state))


def test_a_foreign_cell_is_refused():
    with pytest.raises(TypeError, match=r"use flax's nnx\.RNN"):
        ht.nn.RNN(nnx.LSTMCell(F, H, rngs=nnx.Rngs(0)))
