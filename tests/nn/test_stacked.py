"""Layers on top of each other, each as it is configured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht

F, H, T = 4, 3, 5
X = jax.random.normal(jax.random.key(0), (2, T, F), jnp.float64)
LENGTHS = [9, 2]
WAYS = {
    "forward": {},
    "reverse": {"reverse": True},
    "reverse, kept": {"reverse": True, "keep_order": True},
}


def rnn(width, seed, **options):
    cell = ht.nn.GRUCell(width, H, param_dtype=jnp.float64, rngs=nnx.Rngs(seed))
    return ht.nn.RNN(cell, **options)


def bidirectional(width, seed, **options):
    return ht.nn.Bidirectional(rnn(width, seed), rnn(width, seed + 1), **options)


def assert_same(got, wanted):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-14), got, wanted)


def turned(x):
    """The valid frames of each sequence from the last to the first."""
    return jnp.stack([x[0, ::-1], jnp.concatenate([x[1, 1::-1], x[1, 2:]])])


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_a_stack_is_its_layers_one_after_the_other(first, second):
    layers = [rnn(F, 0, **WAYS[first]), rnn(H, 1, **WAYS[second])]
    middle = layers[0](X, seq_lengths=LENGTHS)
    wanted = layers[1](middle, seq_lengths=LENGTHS)
    assert_same(ht.nn.Stacked(layers)(X, seq_lengths=LENGTHS), wanted)


def test_time_major_layers_make_a_time_major_stack():
    layers = [bidirectional(F, 0), rnn(2 * H, 2)]
    wanted = ht.nn.Stacked(layers)(X, seq_lengths=LENGTHS)
    for layer in layers:
        layer.time_major = True
    stack = ht.nn.Stacked(layers)
    got = stack(jnp.swapaxes(X, 0, 1), seq_lengths=LENGTHS)
    assert_same(jnp.swapaxes(got, 0, 1), wanted)
    assert_same(stack(X, seq_lengths=LENGTHS, time_major=False), wanted)


def test_layers_that_differ_in_time_major_are_refused():
    with pytest.raises(ValueError, match=r"time_major \[True, False\]"):
        ht.nn.Stacked([rnn(F, 0, time_major=True), rnn(H, 1)])


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_the_last_layer_says_whether_carries_are_returned(first, last):
    layers = [rnn(F, 0, return_carry=first), rnn(H, 1, return_carry=last)]
    a, middle = layers[0](X, return_carry=True)
    b, outputs = layers[1](middle, return_carry=True)
    stack = ht.nn.Stacked(layers)
    assert_same(stack(X), ([a, b], outputs) if last else outputs)
    assert_same(stack(X, return_carry=not last), outputs if last else ([a, b], outputs))


def test_options_of_the_call_replace_those_of_the_layers():
    plain = ht.nn.Stacked([rnn(F, 0), rnn(H, 1)])
    other = ht.nn.Stacked([rnn(F, 0, reverse=True), rnn(H, 1, reverse=True, keep_order=True)])
    assert_same(other(X, reverse=False), plain(X))
    wanted = plain(X, seq_lengths=LENGTHS, reverse=True, keep_order=True)
    assert_same(other(X, seq_lengths=LENGTHS, keep_order=True), wanted)


@pytest.mark.parametrize("kind", ["rnn", "bidirectional", "stacked"])
def test_a_reversed_layer_reads_the_sequence_from_its_end(kind):
    layer = {
        "rnn": lambda: rnn(F, 0),
        "bidirectional": lambda: bidirectional(F, 0),
        "stacked": lambda: ht.nn.Stacked([bidirectional(F, 0), rnn(2 * H, 2)]),
    }[kind]()
    carry, outputs = layer(turned(X), seq_lengths=LENGTHS, return_carry=True)
    run = dict(seq_lengths=LENGTHS, return_carry=True, reverse=True)
    assert_same(layer(X, **run), (carry, outputs))
    assert_same(layer(X, **run, keep_order=True), (carry, turned(outputs)))


def test_a_bidirectional_layer_of_stacks():
    forward, backward = (ht.nn.Stacked([rnn(F, n), rnn(H, n + 1)]) for n in (0, 2))
    got = ht.nn.Bidirectional(forward, backward)(X, seq_lengths=LENGTHS)
    wanted = turned(backward(turned(X), seq_lengths=LENGTHS))
    assert_same(got, jnp.concatenate([forward(X, seq_lengths=LENGTHS), wanted], -1))


def test_merged_outputs_and_pairs_of_carries_in_a_stack():
    first = bidirectional(F, 0, merge_fn=jnp.add, return_carry=True)
    last = bidirectional(H, 2, return_carry=True)
    start = [(jnp.full((2, H), n), jnp.full((2, H), -n)) for n in (0.5, 0.25)]
    a, middle = first(X, initial_carry=start[0], seq_lengths=LENGTHS)
    wanted = last(middle, initial_carry=start[1], seq_lengths=LENGTHS)
    carries, outputs = ht.nn.Stacked([first, last])(X, initial_carry=start, seq_lengths=LENGTHS)
    assert_same((carries, outputs), ([a, wanted[0]], wanted[1]))
