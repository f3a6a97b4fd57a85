"""What the tests of conversion share: masked sequences, and what a layer makes of them."""

import jax.numpy as jnp
import numpy as np

B, T, W, H = 3, 6, 5, 4
LENGTHS = np.array([6, 2, 4])
X = np.random.default_rng(0).standard_normal((B, T, W)).astype(np.float32)
VALID = (np.arange(T) < LENGTHS[:, None])[..., None]


def ours(layer):
    return np.asarray(layer(jnp.asarray(X), seq_lengths=jnp.asarray(LENGTHS)))
