"""Cross approximation from values at indices only."""

import jax
import numpy as np
import pytest

from ht_jax import tensor as htt
from tests.tensor.table import check, dense, tensor, trees


def inverse_sum(n):
    grid = np.linspace(0, 1, n)
    return lambda indices: 1 / (1 + grid[indices].sum(1))


@pytest.mark.parametrize("d", [32, pytest.param(64, marks=pytest.mark.slow)])
def test_a_tensor_that_could_never_be_formed(d):
    function = inverse_sum(32)
    t, info = htt.cross(function, (32,) * d, tol=1e-7)
    indices = np.random.default_rng(5).integers(0, 32, (10_000, d))
    values = function(indices)
    error = np.asarray(htt.elements(t, indices)) - values
    assert abs(error / values).max() < 1e-6
    assert info.evaluations < 1_000_000
    assert info.error < 1e-7


@pytest.mark.parametrize("tree", trees(5), ids=lambda tree: str(tree.nested))
def test_low_rank_tensors_are_found_exactly(tree):
    x = tensor((6, 5, 1, 7, 4), tree, 3)
    a, counted = dense(x), []

    def function(indices):
        counted.append(len(indices))
        return a[tuple(indices.T)]

    t, info = htt.cross(function, a.shape, tol=1e-10, tree=tree)
    check(t, a, 1e-8)
    assert info.evaluations == sum(counted)


def test_complex_values_and_one_mode():
    t, _ = htt.cross(lambda i: np.exp(1j * i.sum(1) / 5), (8, 8, 8), tol=1e-8)
    assert max(t.ranks.values()) == 1
    check(t, np.exp(1j * sum(np.ix_(*[np.arange(8)] * 3)) / 5), 1e-10)
    t, _ = htt.cross(lambda i: i[:, 0] + 1, (5,), tol=1e-8)
    check(t, np.arange(1.0, 6))


def test_the_key_decides():
    run = [htt.cross(inverse_sum(9), (9,) * 5, tol=1e-5, key=jax.random.key(3)) for _ in "ab"]
    assert run[0][1] == run[1][1]


def test_what_goes_wrong_is_told():
    with pytest.raises(ValueError, match="not finite"):
        htt.cross(lambda i: np.full(len(i), np.nan), (4, 4), tol=1e-3)
    with pytest.raises(ValueError, match=r"returned \(\)"):
        htt.cross(lambda i: 1.0, (4, 4), tol=1e-3)
    noise = np.random.default_rng(0).standard_normal((9, 9, 9))
    with pytest.warns(htt.ToleranceWarning, match="max_rank=2"):
        htt.cross(lambda i: noise[tuple(i.T)], noise.shape, tol=1e-3, max_rank=2, sweeps=2)
