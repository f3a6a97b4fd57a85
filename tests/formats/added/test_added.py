"""A format written outside the library, in one file, works in all of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht
from tests.formats.added.monarch import Monarch
from tests.formats.added.shared_tt import SharedTT

MONARCH = Monarch((6, 8), (4, 4))
SHARED = SharedTT((3, 4, 4, 2), (2, 2, 2, 3), rank=3)
FORMATS = pytest.mark.parametrize("fmt", [MONARCH, SHARED], ids=["monarch", "shared"])


def kernel_of(weight):
    """The kernel, by an einsum of its own."""
    c = {name: np.asarray(core, np.float64) for name, core in weight.cores.items()}
    if isinstance(weight.format, Monarch):
        full = np.einsum("abd,dac->abcd", c["right"], c["left"])
    else:
        inner = c["core_1"], c["core_1"]
        full = np.einsum("aex,xbfy,ycgz,zdh->abcdefgh", c["core_0"], *inner, c["core_3"])
    return full.reshape(weight.format.in_features, weight.format.out_features)


@FORMATS
def test_product_and_gradient(fmt, key):
    weight = fmt.init(key, jnp.float64)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, fmt.in_features)))
    np.testing.assert_allclose(ht.apply(weight, x), x @ kernel_of(weight), atol=1e-12)
    loss = lambda w: jnp.sum(ht.apply(w, x) ** 2)  # noqa: E731
    dense = lambda w: jnp.sum((x @ w.to_dense()) ** 2)  # noqa: E731
    for got, wanted in zip(
        *map(jax.tree.leaves, (jax.grad(loss)(weight), jax.grad(dense)(weight)))
    ):
        np.testing.assert_allclose(got, wanted, atol=1e-9)


@FORMATS
def test_initial_norm(fmt, key):
    weight = fmt.init(key, jnp.float64)
    assert np.sum(kernel_of(weight) ** 2) == pytest.approx(fmt.out_features)


def test_a_shared_core_is_one_parameter():
    assert set(SHARED.init(jax.random.key(0)).cores) == {"core_0", "core_1", "core_3"}
    assert SHARED.num_params == 3 * 2 * 3 + 3 * 4 * 2 * 3 + 3 * 2 * 3


@FORMATS
def test_rows_of_the_kernel(fmt, key):
    weight = fmt.init(key, jnp.float64)
    rows = weight.restrict(7, 40)
    np.testing.assert_allclose(rows.to_dense(), kernel_of(weight)[7:40], atol=1e-12)


@FORMATS
def test_bytes(fmt, key):
    weight = fmt.init(key, jnp.float64)
    x = np.random.default_rng(0).integers(0, 256, (5, fmt.in_features)).astype(np.uint8)
    got = ht.apply(weight, jnp.asarray(x), reading=ht.Reading(1 / 255))
    np.testing.assert_allclose(got, x / 255 @ kernel_of(weight), atol=1e-12)


CELLS = {
    "monarch": {"input": MONARCH, "recurrent": Monarch((4, 4), (4, 4))},
    "monarch_joint": {"joint": Monarch((8, 8), (4, 4))},
    "shared": {"input": SharedTT((3, 4, 4), (2, 4, 2), rank=3)},
    "shared_joint": {"joint": SharedTT((4, 4, 4), (2, 4, 2), rank=3)},
}


@pytest.mark.parametrize("formats", CELLS.values(), ids=CELLS)
def test_cells(formats):
    cell = ht.nn.LSTMCell(48, 16, **formats, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 48)), jnp.float32)
    dense = ht.nn.LSTMCell(48, 16, rngs=nnx.Rngs(0))
    for place, weight in (("input", cell.input_weight()), ("recurrent", cell.recurrent_weight())):
        getattr(dense, place).cores["kernel"][...] = weight.to_dense()
    np.testing.assert_allclose(ht.nn.RNN(cell)(x), ht.nn.RNN(dense)(x), atol=1e-5)
    assert type(cell.biased.format).__name__ in str(ht.summary(ht.nn.RNN(cell)))


@pytest.mark.parametrize("formats", CELLS.values(), ids=CELLS)
def test_save_and_load(formats, tmp_path):
    rnn = ht.nn.RNN(ht.nn.GRUCell(48, 16, **formats, rngs=nnx.Rngs(0)))
    ht.export.save(rnn, tmp_path / "rnn.safetensors")
    x = jnp.ones((2, 3, 48), jnp.float32)
    loaded = ht.export.load(tmp_path / "rnn.safetensors")
    np.testing.assert_array_equal(loaded(x), rnn(x))


@FORMATS
def test_text_form(fmt):
    assert ht.parse_format(repr(fmt.with_gates(4))) == fmt.with_gates(4)


def test_suggestion():
    best = ht.suggest(64, 64, budget=300, format="shared_tt")[0]
    assert isinstance(best.format, SharedTT)
    assert best.num_params <= 300


@FORMATS
def test_tensorize(fmt):
    model = nnx.Linear(fmt.in_features, fmt.out_features, rngs=nnx.Rngs(0))
    new, _ = ht.tensorize(nnx.Sequential(model), {"*": fmt}, rngs=nnx.Rngs(0))
    assert new.layers[0].format == fmt
    assert new(jnp.ones((2, fmt.in_features), jnp.float32)).shape == (2, fmt.out_features)


def test_nearest_monarch_matrix(key):
    kernel = MONARCH.init(key, jnp.float64).to_dense()
    weight, fit = MONARCH.from_dense(kernel)
    assert fit.relative_error < 1e-7
    np.testing.assert_allclose(weight.to_dense(), kernel, atol=1e-12)


@pytest.mark.parametrize(("fmt", "key"), [(MONARCH, "dao2022monarch"), (SHARED, "oseledets2011")])
def test_citation(fmt, key):
    assert key in ht.cite(ht.nn.TensorDense(fmt, rngs=nnx.Rngs(0)))
