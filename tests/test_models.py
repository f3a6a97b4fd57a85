"""The whole classifier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht

CLIPS = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 6, 2), np.uint8)


def classifier(**options):
    rngs = nnx.Rngs(0)
    cell = ht.nn.LSTMCell(60, 8, rngs=rngs)
    return ht.models.VideoClassifier(ht.nn.RNN(cell, scale=1 / 255), 8, 5, rngs=rngs, **options)


def test_a_padded_clip_is_classified_as_the_clip_alone():
    model = classifier()
    logits = model(CLIPS, seq_lengths=jnp.array([4, 2, 1]))
    for n, length in enumerate([4, 2, 1]):
        np.testing.assert_allclose(logits[n], model(CLIPS[n : n + 1, :length])[0], atol=1e-6)


def test_an_empty_clip_gets_the_logits_of_no_evidence():
    model = classifier()
    logits = model(CLIPS, seq_lengths=jnp.array([4, 0, 1]))
    np.testing.assert_allclose(logits[1], model.classifier.bias[...], atol=1e-7)


def test_clips_of_no_batch():
    assert classifier()(CLIPS[:0]).shape == (0, 5)


def test_a_plain_function_for_features_is_static():
    graph, state = nnx.split(classifier(features=jnp.square))
    logits = jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, CLIPS)
    assert logits.shape == (3, 5)


def test_features_come_first():
    model = classifier(features=lambda frames: frames[..., ::-1])
    turned = np.ascontiguousarray(CLIPS[..., ::-1])
    np.testing.assert_allclose(model(CLIPS), classifier()(turned), atol=1e-6)


def test_dropout_only_while_training():
    model = classifier(dropout=0.5)
    model.eval()
    np.testing.assert_array_equal(model(CLIPS), model(CLIPS))
    model.train()
    once, twice = (model(CLIPS, rngs=nnx.Rngs(dropout=seed)) for seed in (1, 2))
    assert not np.allclose(once, twice)


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_logits_are_float32(dtype):
    assert classifier(dtype=dtype)(CLIPS).dtype == jnp.float32


def test_jit_equals_eager():
    model = classifier()
    np.testing.assert_allclose(jax.jit(lambda x: model(x))(CLIPS), model(CLIPS), atol=1e-6)


@pytest.mark.parametrize("lengths", [[4, 9, 0], np.array([4, 200, 0], np.uint8), (4, 4, -1)])
def test_lengths_act_as_those_of_the_frames_there_are(lengths):
    model = classifier()
    wanted = np.array(model(CLIPS))
    wanted[2] = model.classifier.bias[...]
    np.testing.assert_allclose(model(CLIPS, seq_lengths=lengths), wanted, atol=1e-6)


def _stack(**options):
    rngs = nnx.Rngs(0)
    layers = [ht.nn.RNN(ht.nn.LSTMCell(n, 8, rngs=rngs), **options) for n in (60, 8)]
    return ht.nn.Stacked(layers)


def _pair(**options):
    rnns = [ht.nn.RNN(ht.nn.LSTMCell(60, 4, rngs=nnx.Rngs(n))) for n in range(2)]
    return ht.nn.Bidirectional(*rnns, **options)


@pytest.mark.parametrize("options", [{"time_major": True}, {"return_carry": True}])
@pytest.mark.parametrize("make", [_stack, _pair])
def test_clips_are_batch_major_whatever_the_layer_is(make, options):
    x = np.random.default_rng(0).normal(size=(3, 4, 60)).astype(np.float32)
    models = [ht.models.VideoClassifier(make(**o), 8, 5, rngs=nnx.Rngs(0)) for o in ({}, options)]
    wanted, got = (model(x, seq_lengths=[9, 2, 0]) for model in models)
    np.testing.assert_array_equal(got, wanted)


def test_a_layer_in_reverse_is_read_where_it_has_seen_the_whole_clip():
    model = classifier()
    model.rnn.reverse = True
    logits = model(CLIPS, seq_lengths=[9, 2, 1])
    model.rnn.reverse = False
    for n, length in enumerate([4, 2, 1]):
        alone = model(CLIPS[n : n + 1, :length][:, ::-1])
        np.testing.assert_allclose(logits[n], alone[0], atol=1e-6)


def test_padding_reaches_no_gradient_through_features():
    clips = CLIPS.astype(np.float32)
    rngs = nnx.Rngs(0)
    features = ht.nn.SmallCNN((5, 6, 2), (3,), rngs=rngs)
    rnn = ht.nn.RNN(ht.nn.LSTMCell(features.out_features, 8, rngs=rngs))
    graph, params = nnx.split(ht.models.VideoClassifier(rnn, 8, 5, features=features, rngs=rngs))

    @jax.jit
    @jax.grad
    def gradient(params, clips):
        return jnp.sum(nnx.merge(graph, params)(clips, seq_lengths=[4, 2, 0]) ** 2)

    padding = (np.arange(4) >= np.array([[4], [2], [0]]))[..., None, None, None]
    got, wanted = (gradient(params, np.where(padding, v, clips)) for v in (np.nan, 0))
    jax.tree.map(np.testing.assert_array_equal, got, wanted)
