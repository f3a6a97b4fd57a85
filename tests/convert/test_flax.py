"""Layers of Flax: outputs equal to 1e-5, masked, bidirectional, two layers."""

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ht_jax import convert
from tests.convert.sequences import LENGTHS, VALID, H, W, X, ours

CELLS = [
    nnx.LSTMCell,
    *(pytest.param(c, marks=pytest.mark.slow) for c in (nnx.OptimizedLSTMCell, nnx.GRUCell)),
    nnx.SimpleCell,
]


@pytest.mark.parametrize("cell", CELLS)
def test_flax_nnx_layers(cell):
    rngs, layers, x = nnx.Rngs(0), [], jnp.asarray(X)
    lengths = jnp.asarray(LENGTHS)
    for width in (W, 2 * H):
        pair = [nnx.RNN(cell(width, H, rngs=rngs), rngs=rngs) for _ in range(2)]
        layers.append(nnx.Bidirectional(*pair, rngs=rngs))
        x = layers[-1](x, seq_lengths=lengths)
    actual = ours(convert.from_flax(layers))
    np.testing.assert_allclose(actual, np.asarray(x) * VALID, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("cell", [linen.OptimizedLSTMCell, linen.GRUCell, linen.SimpleCell])
def test_linen_cells(cell):
    theirs = linen.RNN(cell(H))
    variables = theirs.init(jax.random.key(0), jnp.asarray(X))
    variables = jax.tree.map(lambda a: a + jnp.asarray(0.1, a.dtype), variables)
    (params,) = variables["params"].values()
    actual = convert.from_linen(params)(jnp.asarray(X))
    np.testing.assert_allclose(actual, theirs.apply(variables, jnp.asarray(X)), rtol=0, atol=1e-5)


def test_linen_parameters_of_another_module_are_refused():
    with pytest.raises(ValueError, match="not the parameters of a Linen cell"):
        convert.from_linen({"kernel": 1})
