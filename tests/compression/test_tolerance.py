"""Tolerances on every matrix, models of all kinds, pytrees, and input that is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht
from ht_jax.compression.paths import LEAF
from ht_jax.models import VideoClassifier
from tests.compression.models import decaying


@pytest.mark.parametrize("formats", [("ht",), ("low_rank",), ("ht", "low_rank")])
@pytest.mark.parametrize("tol", [0.3, 0.03])
def test_tolerance_is_kept_in_float64(tol, formats):
    exact = decaying()
    weight, report = ht.compress(exact, tol=tol, formats=formats)
    dense, kernel = (np.asarray(a, np.float64) for a in (weight.to_dense(), exact))
    error = np.linalg.norm(dense - kernel) / np.linalg.norm(kernel)
    assert error <= tol
    assert report.rows[0].error == pytest.approx(error, rel=1e-2)
    assert weight.format.num_params < exact.size


def test_a_tolerance_takes_the_ranks_that_it_needs():
    """More of them than the decomposition that serves budgets looks at."""
    draw, rank = np.random.default_rng(0), LEAF + 8
    frames = [np.linalg.qr(draw.normal(size=(64, rank)))[0] for _ in range(2)]
    left = np.einsum("im,jn,mnr->ijr", *frames, draw.normal(size=(rank, rank, 3)))
    exact = jnp.asarray(left.reshape(4096, 3) @ draw.normal(size=(3, 64)), jnp.float32)
    weight, report = ht.compress(exact, tol=1e-3, formats=("ht",))
    assert report.rows[0].error <= 1e-3
    assert weight.format.ranks["leaf_1"] == rank


def test_a_matrix_that_does_not_shrink_stays_dense():
    exact = jnp.asarray(np.random.default_rng(0).normal(size=(12, 12)), jnp.float32)
    weight, report = ht.compress(exact, tol=1e-3)
    assert isinstance(weight.format, ht.Dense)
    assert report.rows[0].error == 0


@pytest.mark.slow
@pytest.mark.parametrize("cell", [nnx.LSTMCell, nnx.GRUCell, nnx.SimpleCell])
def test_cells_of_flax_keep_their_numbers(cell):
    rngs = nnx.Rngs(0)
    layer = cell(10, 6, bias_init=nnx.initializers.normal(0.3), rngs=rngs)
    model = VideoClassifier(nnx.RNN(layer), 6, 3, rngs=rngs)
    # Matrices of rank 1, so that they are compressed and yet exact.
    names = ("ii", "if_", "ig", "io") if cell is nnx.LSTMCell else ("dense_i",)
    for first in (getattr(layer, name) for name in names):
        first.kernel[...] = jnp.outer(first.kernel[:, 0], first.kernel[0])
    x = jax.random.normal(jax.random.key(0), (2, 4, 10), jnp.float32)
    after, report = ht.compress(model, tol=1e-5, scope="input")
    small, _ = ht.compress(model, tol=0.9, scope="joint")
    np.testing.assert_allclose(after(x), model(x), atol=1e-4)
    assert report.rows[0].ratio > 1
    assert isinstance(small.rnn, ht.nn.RNN)
    assert small.rnn.cell.joint is not None


@pytest.mark.slow
def test_layers_of_our_own_are_compressed_in_both_directions():
    rngs = nnx.Rngs(0)
    fmt = ht.HT((4, 6), (3, 4), rank=12)
    cells = [ht.nn.GRUCell(24, 12, **kind, rngs=rngs) for kind in ({}, {"input": fmt})]
    model = ht.nn.Bidirectional(*map(ht.nn.RNN, cells))
    x = jax.random.normal(jax.random.key(0), (4, 5, 24), jnp.float32)
    after, report = ht.compress(model, budget=1500, calibration=[x])
    assert report.params_after <= 1500
    assert after(x).shape == (4, 5, 24)
    assert report.output_error < 0.8


def test_tolerance_is_kept_by_every_matrix_of_a_model():
    rngs = nnx.Rngs(0)
    cell = nnx.OptimizedLSTMCell(40, 24, rngs=rngs)
    cell.dense_i.kernel[...] = decaying(96, 40, decay=0.8).T
    cell.dense_h.kernel[...] = decaying(96, 24, seed=1, decay=0.8).T
    after, report = ht.compress(VideoClassifier(nnx.RNN(cell), 24, 3, rngs=rngs), tol=0.2)
    ours = after.rnn.cell
    for exact, layer in ((cell.dense_i, ours.input), (cell.dense_h, ours.recurrent)):
        kernel = np.asarray(exact.kernel[...], np.float64)
        error = np.linalg.norm(np.asarray(layer.weight.to_dense(), np.float64) - kernel)
        assert 0 < error <= 0.2 * np.linalg.norm(kernel)
    assert sum(row.ratio > 1 for row in report.rows) == 2


def test_only_the_matrices_of_a_pytree_are_compressed():
    tree = {"a": decaying(), "b": jnp.ones(7), "c": [decaying(30, 20, seed=1), jnp.arange(6)]}
    after, report = ht.compress(tree, tol=0.1)
    assert [row.params_before for row in report.rows] == [960, 600]
    assert after["b"] is tree["b"]
    np.testing.assert_allclose(after["c"][0].to_dense(), tree["c"][0], atol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one"),
        ({"tol": 0.1, "budget": 100}, "exactly one"),
        ({"tol": 2.0}, "between 0 and 1"),
        ({"budget": 3}, "budget 3 params is below the 64"),
        ({"tol": 0.1, "formats": ("hts",)}, "formats"),
        ({"tol": 0.1, "scope": "some"}, "scope"),
        ({"tol": 0.1, "calibration": []}, "calibration"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ht.compress(decaying(), **options)


def test_values_that_are_not_finite():
    with pytest.raises(ValueError, match="not finite"):
        ht.compress(decaying().at[0, 0].set(jnp.nan), tol=0.1)


def test_a_model_without_matrices():
    with pytest.raises(ValueError, match="no matrix"):
        ht.compress(nnx.LayerNorm(3, rngs=nnx.Rngs(0)), tol=0.1)
