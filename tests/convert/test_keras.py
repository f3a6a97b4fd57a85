"""Layers of Keras: outputs equal to 1e-5, masked, bidirectional, two layers."""

import importlib.util

import jax
import numpy as np
import pytest

from ht_jax import convert
from tests.convert.sequences import VALID, H, X, ours


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="Keras is not installed")
@pytest.mark.filterwarnings("ignore")  # of Keras, under strict dtype promotion's x64
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_keras_layers_and_their_files(kind, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    import keras

    with jax.numpy_dtype_promotion("standard"):
        cells = [getattr(keras.layers, kind)(H, return_sequences=True) for _ in range(2)]
        layers = [keras.layers.Bidirectional(cell) for cell in cells]
        x, mask = X, VALID[..., 0]
        for layer in layers:
            layer.build(x.shape)
            draw = np.random.default_rng(2)
            layer.set_weights([draw.uniform(-0.5, 0.5, w.shape) for w in layer.get_weights()])
            x = np.asarray(layer(x, mask=mask))
        model = keras.Sequential([keras.Input(X.shape[1:]), *layers])
        model.save_weights(tmp_path / "model.weights.h5")
    actual = ours(convert.from_keras(layers))
    np.testing.assert_allclose(actual, x * VALID, rtol=0, atol=1e-5)
    read = convert.from_keras(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(ours(read), actual)
