"""What the tests of compression share: a small classifier, smooth clips, a matrix that decays."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ht_jax.models import VideoClassifier

FRAME, HIDDEN = (6, 8, 3), 12
SIZE = 6 * 8 * 3


def smooth_clips(seed, count=3):
    """Frames whose neighbouring pixels are alike: far from white."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, 8, 4, *FRAME)).cumsum(3).cumsum(4)
    return [jnp.asarray(batch / 10, jnp.float32) for batch in noise]


def classifier():
    """An LSTM of Flax over frames."""
    rngs = nnx.Rngs(0)
    cell = nnx.OptimizedLSTMCell(SIZE, HIDDEN, rngs=rngs)
    return VideoClassifier(nnx.RNN(cell), HIDDEN, 5, rngs=rngs)


def decaying(rows=40, columns=24, seed=0, decay=0.7):
    """A matrix of geometric singular values."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.normal(size=(n, columns)))[0] for n in (rows, columns))
    return jnp.asarray((u * decay ** np.arange(columns)) @ v.T, jnp.float32)
