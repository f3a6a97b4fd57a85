"""Models that the tests of export share."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

import ht_jax as ht

FRAME = (4, 4, 3)


def clips(count=2, time=3):
    frames = np.random.default_rng(0).integers(0, 256, (count, time, *FRAME), np.uint8)
    return jnp.asarray(frames)


def classifier(layers=None, **options):
    """FDHT-LSTM over 48 pixels, or the layers given."""
    rngs = nnx.Rngs(0)
    fmt = ht.HT((9, 8), (4, 4), leaf_rank=4, rank=1)
    layers = layers or [ht.nn.RNN(ht.nn.LSTMCell(48, 16, joint=fmt, rngs=rngs), scale=1 / 64)]
    rnn = layers[0] if len(layers) == 1 else ht.nn.Stacked(layers)
    hidden = getattr(layers[-1], "cell", None)
    hidden = hidden.hidden_features if hidden else 32
    model = ht.models.VideoClassifier(rnn, hidden, 5, rngs=rngs, **options)
    model.eval()
    return model


def deep_classifier(joint=None):
    """Every cell once, each with another way of holding its matrices."""
    rngs = nnx.Rngs(1)
    fmt, joint = ht.HT((8, 6), (4, 4), rank=3), joint or ht.KCP((8, 4), (4, 4), 2, 1)
    first = ht.nn.LSTMCell(48, 16, input=fmt, layer_norm=True, rngs=rngs)
    second = ht.nn.GRUCell(16, 16, joint=joint, rngs=rngs)
    second.candidate_bias[...] = jnp.linspace(-1, 1, 16, dtype=jnp.float32)
    third = ht.nn.SimpleCell(16, 8, recurrent=ht.LowRank(8, 8, 2), rngs=rngs)
    return classifier([ht.nn.RNN(first, scale=0.01, offset=-1.0), *map(ht.nn.RNN, (second, third))])
