import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ht_jax.nn import SmallCNN


@pytest.fixture(scope="module")
def cnn():
    return SmallCNN((9, 6, 3), (4, 5), rngs=nnx.Rngs(0))


def test_features_have_the_promised_length(cnn):
    assert cnn(jnp.zeros((2, 3, 9, 6, 3), jnp.uint8)).shape == (2, 3, cnn.out_features)
    assert cnn.out_features == 3 * 2 * 5


def test_a_frame_is_seen_alone(cnn):
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 6, 3), np.uint8)
    whole = cnn(jnp.asarray(frames))
    np.testing.assert_allclose(whole[1, 2], cnn(jnp.asarray(frames[1:, 2:]))[0, 0], atol=1e-6)


def test_integers_are_scaled(cnn):
    frames = np.random.default_rng(0).integers(0, 256, (1, 1, 9, 6, 3), np.uint8)
    floats = cnn(jnp.asarray(frames / 255, jnp.float32))
    np.testing.assert_allclose(cnn(jnp.asarray(frames)), floats, atol=1e-6)


def test_frames_that_are_no_images_are_refused():
    with pytest.raises(ValueError, match=r"frames of shape \(12,\) have no height"):
        SmallCNN((12,), rngs=nnx.Rngs(0))
