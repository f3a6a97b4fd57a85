"""Algorithms of matrix products, taken where they are as good as LAPACK's QR and SVD."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ht_jax import tensor as htt
from ht_jax.tensor import linalg, truncation
from tests.tensor.table import check, tensor, trees

SLOW = pytest.mark.slow

TREE, SHAPE = trees(3)[0], (20, 20, 18)


def matrix(condition, dtype=np.float64):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((300, 16)).astype(dtype)
    if np.iscomplexobj(a):
        a += 1j * rng.standard_normal(a.shape)
    turn, _ = np.linalg.qr(rng.standard_normal((16, 16)))
    values = np.zeros(16) if condition is None else condition ** -np.linspace(0, 1, 16)
    values[:2] = 1
    return (a * values) @ turn.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("condition", [1, 1e3, 1e7, 1e12, None])
@pytest.mark.parametrize(
    "scale", [pytest.param(1e-200, marks=SLOW), 1, pytest.param(1e200, marks=SLOW)]
)
def test_qr_of_tall_matrices(dtype, condition, scale):
    a = matrix(condition, dtype)
    assert linalg.is_large(a.T)
    for array in (a * scale, jnp.asarray(a * scale)):
        q, r = linalg.orthonormal(array)
        check(q.conj().T @ q, np.eye(16), 1e-14)
        check(q @ (r / scale), a, 1e-14)
        assert np.abs(np.tril(r / scale, -1)).max() < 1e-14 * np.linalg.norm(a)


def test_matrix_products_are_taken_where_they_are_good_enough():
    good = {c: bool(linalg.cholesky_lq(jnp.asarray(matrix(c)).T)[2]) for c in (1, 1e6, 1e12, None)}
    assert good == {1: True, 1e6: True, 1e12: False, None: False}


def exactly(monkeypatch):
    monkeypatch.setattr(truncation, "is_large", lambda a: False)


def large(rank, seed=0):
    return jax.tree.map(jnp.asarray, tensor(SHAPE, TREE, rank, seed=seed))


@pytest.mark.parametrize("to", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_gram_matrices_drop_no_more_than_singular_vectors(monkeypatch, to):
    x = jax.tree.map(to, large(17))
    found = htt.distance(x, htt.truncate(x, max_rank=9))
    exactly(monkeypatch)
    assert found <= htt.distance(x, htt.truncate(x, max_rank=9)) * (1 + 1e-9)


@pytest.mark.parametrize(
    "scale", [pytest.param(1e-180, marks=SLOW), 1, pytest.param(1e180, marks=SLOW)]
)
def test_what_can_be_dropped_without_loss_is(scale):
    x = scale * large(8)
    for truncate in (htt.truncate, jax.jit(htt.truncate, static_argnames="max_rank")):
        y = truncate(x + x, max_rank=8)
        check(y.to_dense() / scale, 2 * np.asarray(x.to_dense()) / scale, 1e-13)


@pytest.mark.slow
def test_derivatives_of_both_paths_are_equal(monkeypatch):
    x, change = large(17), large(17, seed=1)

    def derivative(x, change):
        return jax.jvp(lambda x: htt.truncate(x, max_rank=9).to_dense(), (x,), (change,))

    found = jax.jit(derivative)(x, change)
    gradient = jax.jit(jax.grad(lambda x: htt.truncate(x, max_rank=9).to_dense()[0, 1, 2]))(x)
    exactly(monkeypatch)
    for one, other in zip(found, jax.jit(derivative)(x, change)):
        check(one, other, 1e-9)
    slope = sum((g * c).sum() for g, c in zip(gradient.cores.values(), change.cores.values()))
    assert abs(slope - found[1][0, 1, 2]) <= 1e-9 * np.linalg.norm(found[1])
