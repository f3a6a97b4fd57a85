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
