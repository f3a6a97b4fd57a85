"""A frozen cell gives the numbers of the cell it came from."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht

FMT = ht.HT((8, 6), (4, 4), rank=3)
FORMATS = {"input": {"input": FMT}, "joint": {"joint": ht.TT((8, 8), (4, 4), 2)}, "dense": {}}


@pytest.mark.parametrize("formats", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("kind", [ht.nn.LSTMCell, ht.nn.GRUCell])
def test_outputs_over_a_sequence(kind, formats):
    cell = kind(48, 16, **formats, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 48)))
    wanted = ht.nn.RNN(cell)(x)
    np.testing.assert_allclose(ht.nn.RNN(ht.nn.freeze(cell, 2))(x), wanted, rtol=1e-12)


def test_bytes_in_bfloat16():
    cell = ht.nn.LSTMCell(48, 16, input=FMT, rngs=nnx.Rngs(0))
    frames = jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 5, 48), np.uint8))
    frozen = ht.nn.freeze(cell, arithmetic="split")
    wanted = ht.nn.RNN(cell, scale=1 / 64)(frames)
    got = ht.nn.RNN(frozen, scale=1 / 64, arithmetic="split")(frames)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_the_cell_itself_stays_trainable():
    cell = ht.nn.LSTMCell(48, 16, input=FMT, rngs=nnx.Rngs(0))
    ht.nn.freeze(cell)
    assert cell.frozen is None
