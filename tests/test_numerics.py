"""Numbers under every dtype, with stated bounds, and at the ends of what a user may ask for.

The bound of a product: |found - wanted| <= bound * max |wanted|, wanted in float64 by the dense
matrix that NumPy contracts from the cores.
"""

import importlib.util
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import ht_jax as ht
from ht_jax.models import VideoClassifier
from ht_jax.train.step import init_state, make_train_step, split_model

TABLE = Path(__file__).parent / "formats" / "table.py"
BOUNDS = {"float64": 1e-13, "float32": 2e-6, "bfloat16": 5e-2}


def rows():
    spec = importlib.util.spec_from_file_location("formats_table", TABLE)
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    return table.ROWS


@pytest.mark.slow
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_product_keeps_its_bound(row, dtype, key):
    weight = row.fmt.init(key, dtype=jnp.dtype(dtype))
    x = np.random.default_rng(0).normal(size=(5, row.fmt.in_features))
    x = jnp.asarray(x, dtype)
    found = np.asarray(ht.apply(weight, x), np.float64)
    wanted = np.asarray(x, np.float64) @ row.kernel(weight.cores)
    assert np.abs(found - wanted).max() <= BOUNDS[dtype] * np.abs(wanted).max()


MODES = {
    "modes of 1": ((2, 1, 3), (1, 2, 2)),
    "all modes 1": ((1, 1, 1), (1, 1, 1)),
    "16 modes": ((2,) * 12 + (1,) * 4, (1,) * 13 + (2,) * 3),
}


def frame_by_frame(kernel, recurrent, bias, x):
    """The hidden states of an LSTM, (batch, time, hidden), in NumPy."""
    c, h, found = 0.0, np.zeros((len(x), len(recurrent))), []
    for frame in np.moveaxis(x, 1, 0):
        i, f, g, o = np.split(frame @ kernel + h @ recurrent + bias, 4, axis=-1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        found.append(h)
    return np.stack(found, 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ht_jax.RankWarning")  # 1 x 1 is of rank 1
@pytest.mark.parametrize("modes", MODES)
def test_layer_of_extreme_modes_equals_the_dense_equations(modes):
    options = dict(zip(("in_modes", "out_modes"), MODES[modes], strict=True))
    sizes, rngs = [math.prod(each) for each in MODES[modes]], nnx.Rngs(0)
    cell = ht.nn.HTLSTMCell(*sizes, **options, leaf_rank=2, rank=2, rngs=rngs)
    x = jax.random.normal(jax.random.key(1), (2, 3, sizes[0]), jnp.float32)
    weights = cell.input.weight.to_dense(), cell.recurrent.weight.to_dense(), cell.bias[...]
    wanted = frame_by_frame(*(np.asarray(each, np.float64) for each in (*weights, x)))
    np.testing.assert_allclose(ht.nn.RNN(cell)(x), wanted, atol=1e-5)


@pytest.mark.slow
def test_sixteen_modes():
    fmt = ht.TT((2,) * 16, (2,) * 16, rank=2)
    weight = fmt.init(jax.random.key(0), dtype=jnp.float32)
    assert fmt.in_features == 2**16
    y = ht.apply(weight, jnp.ones((1, 2**16), jnp.float32))
    # By hand: sum every core over its input mode, then multiply out two halves.
    halves = np.ones((1, 1))
    for n in range(16):
        core = np.asarray(weight.cores[f"core_{n}"], np.float64)
        core = core[None] if n == 0 else core
        core = core[..., None] if n == 15 else core
        summed = core.sum(1)  # (left, out, right)
        halves = np.einsum("pl,lor->por", halves, summed).reshape(-1, summed.shape[-1])
    np.testing.assert_allclose(y[0], halves[:, 0], atol=1e-5 * np.abs(halves).max())


@pytest.mark.parametrize("length", [1, pytest.param(10_000, marks=pytest.mark.slow)])
def test_sequence_of_any_length_equals_its_steps(length):
    cell = ht.nn.LSTMCell(6, 4, input=ht.HT((2, 3), (2, 2), rank=2), rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (1, length, 6), jnp.float32)
    found = ht.nn.RNN(cell)(x)
    carry = cell.initialize_carry((1, 6))
    step = jax.jit(lambda carry, x: cell(carry, x))
    for n in range(length):
        carry, y = step(carry, x[:, n])
    assert found.shape == (1, length, 4)
    np.testing.assert_allclose(found[:, -1], y, atol=1e-5)


def test_sequence_of_no_frame_gives_none():
    cell = ht.nn.LSTMCell(6, 4, input=ht.HT((2, 3), (2, 2), rank=2), rngs=nnx.Rngs(0))
    assert ht.nn.RNN(cell)(jnp.zeros((1, 0, 6), jnp.float32)).shape == (1, 0, 4)


def test_training_compiles_once():
    optimizer = optax.adam(1e-2)
    apply, params = split_model(
        VideoClassifier(ht.nn.RNN(ht.nn.LSTMCell(6, 4, rngs=nnx.Rngs(0))), 4, 3, rngs=nnx.Rngs(0))
    )
    step = jax.jit(make_train_step(apply, optimizer, 0))
    state = jax.device_put(init_state(params, optimizer))
    batch = {"frames": np.zeros((2, 3, 6), np.float32), "label": np.zeros(2, np.int32)}
    for _ in range(5):
        state, _ = step(state, batch)
    assert step._cache_size() == 1
