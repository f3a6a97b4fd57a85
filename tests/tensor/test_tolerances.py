"""Tolerances are kept, ranks are small, and what cannot be done is refused by name."""

import functools
import sys
import tracemalloc
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ht_jax as ht
from ht_jax import tensor as htt
from ht_jax.tensor import HTTensor
from tests.tensor.table import check, dense, tensor, trees

pytestmark = pytest.mark.slow

TOLERANCES = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10, 1e-12]
KINDS = ["low-rank", "smooth", "noise", "zero", "decaying"]
SHAPES = [(6, 5, 4, 3), (8, 1, 7), (4, 3, 2, 3, 4), (9, 11), (1, 1, 5)]


def draw(seed):
    """One of 200 tensors: every kind on every shape."""
    rng = np.random.default_rng(seed)
    kind, shape = KINDS[seed % 5], SHAPES[(seed // 5) % 5]
    d = len(shape)
    grids = np.ix_(*[np.sort(rng.uniform(0, 1, n)) for n in shape])
    if kind == "low-rank":
        x = sum(
            functools.reduce(np.multiply.outer, [rng.standard_normal(n) for n in shape])
            for _ in range(2)
        )
    elif kind == "smooth":
        x = 1 / (1 + sum(grids)) + np.exp(-sum(g**2 for g in grids))
    elif kind == "zero":
        x = np.zeros(shape)
    else:
        x = rng.standard_normal(shape)
        if kind == "decaying":
            x = x * 10.0 ** (-sum(np.ix_(*[np.arange(n) for n in shape])))
    tree = trees(d)[seed % len(trees(d))]
    return kind, np.asarray(x, float) * 10.0 ** rng.integers(-3, 4), tree


@pytest.mark.parametrize("first", range(0, 200, 25))
def test_tolerances_are_kept_for_200_tensors(first):
    for seed in range(first, first + 25):
        kind, x, tree = draw(seed)
        size = np.linalg.norm(x.reshape(-1))
        for tol in TOLERANCES:
            t = HTTensor.from_dense(x, tol=tol, tree=tree)
            assert np.linalg.norm((dense(t) - x).reshape(-1)) <= tol * size
            small = htt.truncate(t, tol=10 * tol)
            assert np.linalg.norm((dense(small) - dense(t)).reshape(-1)) <= 10 * tol * size
            if kind == "zero":
                assert set(t.ranks.values()) == {1}
                assert not dense(t).any()
            else:
                assert dense(t).any()  # never a silent zero tensor
            if kind == "low-rank":
                assert max(t.ranks.values()) <= 2


@pytest.mark.parametrize("order", ["leaves to root", "root to leaves"])
@pytest.mark.parametrize("tol", [1e-2, 1e-7, 1e-12])
def test_both_orders_keep_the_tolerance(order, tol):
    x = draw(1)[1] + 1e-5 * draw(2)[1]
    t = HTTensor.from_dense(x, tol=tol, order=order)
    assert np.linalg.norm(dense(t) - x) <= tol * np.linalg.norm(x)
    assert t.num_params < HTTensor.from_dense(x).num_params or tol < 1e-6


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e160, 1e300])
def test_squares_that_overflow_or_vanish(scale):
    x = draw(1)[1]
    x = x / abs(x).max() * scale
    t = HTTensor.from_dense(x, tol=1e-6)
    check(dense(t) / scale, x / scale, 1e-6)


def test_the_absolute_tolerance_of_a_sum_of_coordinates():
    # htucker's check_functions: 1 / (sum of x) on [0.01, 1]^d
    for d in (2, 3, 4):
        x = 1 / sum(np.ix_(*[np.linspace(0.01, 1, 15)] * d))
        sizes = []
        for tolerance in (1e-1, 1e-2, 1e-3, 1e-4):
            for tree in trees(d):
                t = HTTensor.from_dense(x, abs_tol=tolerance, tree=tree)
                assert np.linalg.norm((dense(t) - x).reshape(-1)) <= tolerance
                u = htt.truncate(HTTensor.from_dense(x, tol=1e-14, tree=tree), abs_tol=tolerance)
                assert np.linalg.norm((dense(u) - x).reshape(-1)) <= tolerance
            sizes.append(t.num_params)
        assert sizes == sorted(sizes)


def test_example_9_1_of_algorithm_941():
    x = 1 / sum(np.ix_(*[np.linspace(1, 10, 50)] * 4))
    t = HTTensor.from_dense(x, tol=1e-5)
    assert np.linalg.norm(dense(t) - x) <= 1e-5 * np.linalg.norm(x)
    assert max(t.ranks.values()) <= 5
    assert t.num_params <= 1275


@pytest.mark.parametrize("tol", [1e-4, 1e-8])
def test_peak_memory_stays_below_three_times_the_tensor(tol):
    x = 1 / sum(np.ix_(*[np.linspace(1, 2, 16)] * 5))
    tracemalloc.start()
    HTTensor.from_dense(x, tol=tol)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert x.nbytes + peak < 3 * x.nbytes


def test_the_two_tensors_of_the_comparison():
    rng = np.random.default_rng(0)
    factors = [rng.standard_normal((20, 5)) for _ in range(5)]
    low_rank = np.einsum("az,bz,cz,dz,ez->abcde", *factors, optimize=True)
    t = HTTensor.from_dense(low_rank, tol=1e-4)
    assert t.num_params <= 900
    check(t.to_dense(), low_rank, 1e-4)
    smooth = 1 / (1 + sum(np.ix_(*[np.linspace(0, 1, 16)] * 6)))
    t = HTTensor.from_dense(smooth, tol=1e-4)
    assert t.num_params <= 405
    check(t.to_dense(), smooth, 1e-4)


def test_an_error_saved_at_one_node_is_spent_at_others():
    smooth = 1 / (1 + sum(np.ix_(*[np.linspace(0, 1, 6)] * 6)))
    t = HTTensor.from_dense(smooth, tol=1e-3)
    error = np.linalg.norm(dense(t) - smooth) / np.linalg.norm(smooth)
    assert 1e-4 < error <= 1e-3


def test_a_gram_matrix_that_misses_is_replaced(monkeypatch):
    from ht_jax.tensor import spectrum

    x = 1 / (1 + sum(np.ix_(*[np.linspace(0, 1, 12)] * 4)))
    monkeypatch.setattr(spectrum, "_RESOLVED", 0.0)  # Gram matrices whatever the tolerance
    for tol in (1e-9, 1e-11, 1e-12):
        t = HTTensor.from_dense(x, tol=tol)
        assert np.linalg.norm(dense(t) - x) <= tol * np.linalg.norm(x)


def test_float32_keeps_what_it_can_resolve():
    x = draw(1)[1].astype(np.float32)
    for tol in (1e-1, 1e-3, 1e-5):
        t = HTTensor.from_dense(x, tol=tol)
        assert t.dtype == np.float32
        check(dense(t), x, tol)
    with pytest.raises(ValueError, match=r"tol 1e-08 is below the resolution 1.2e-07 of float32"):
        HTTensor.from_dense(x, tol=1e-8)


def test_randomized_range_finders():
    x = dense(tensor((12, 12, 12, 12), ht.DimensionTree.balanced(4), 3))
    for order in ("leaves to root", "root to leaves"):
        t = HTTensor.from_dense(x, max_rank=3, order=order, key=jax.random.key(1))
        check(t, x, 1e-10)
        t = HTTensor.from_dense(x, tol=1e-6, max_rank=5, order=order, key=jax.random.key(1))
        check(t, x, 1e-6)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_values_that_are_not_finite_are_refused_by_name(value):
    x = np.ones((3, 4, 5))
    x[1, 2, 3] = value
    with pytest.raises(ValueError, match="nan" if np.isnan(value) else "inf"):
        HTTensor.from_dense(x, tol=1e-3)
    t = tensor((3, 4, 5), ht.DimensionTree.balanced(3), 2)
    t.cores["leaf_1"][0, 0] = value
    with pytest.raises((ValueError, np.linalg.LinAlgError), match=r"finite|converge"):
        htt.truncate(t, tol=1e-3)


def test_a_tolerance_under_a_trace_is_refused_by_name():
    x = jnp.ones((3, 4, 5))
    with pytest.raises(ValueError, match=r"tol=0.001.*traced.*max_rank"):
        jax.jit(lambda x: HTTensor.from_dense(x, tol=1e-3).to_dense())(x)
    with pytest.raises(ValueError, match=r"tol=0.001.*traced.*max_rank"):
        jax.jit(lambda t: htt.truncate(t, tol=1e-3))(htt.ones((2, 3)))


def test_bad_bounds_are_refused():
    x = np.ones((3, 4, 5))
    with pytest.raises(ValueError, match="'leaf_7'"):
        HTTensor.from_dense(x, ranks={"leaf_7": 2})
    with pytest.raises(ValueError, match="at least 1"):
        HTTensor.from_dense(x, max_rank=0)
    for tol in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="below the resolution"):
            HTTensor.from_dense(x, tol=tol)
    with pytest.raises(ValueError, match="abs_tol"):
        HTTensor.from_dense(x, abs_tol=1e-30)


def test_bounds_that_do_not_allow_the_tolerance_are_told():
    x = tensor((5, 6, 4), ht.DimensionTree.balanced(3), 4)
    with pytest.warns(htt.ToleranceWarning, match="max_rank=2"):
        small = htt.truncate(x, tol=1e-10, max_rank=2)
    assert max(small.ranks.values()) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        htt.truncate(x, tol=1e-10, max_rank=4)


def test_bounds_by_name():
    x = tensor((5, 6, 4), ht.DimensionTree.balanced(3), 4)
    small = htt.truncate(x, ranks={"leaf_1": 2})
    assert small.ranks["leaf_1"] == 2
    best = np.linalg.svd(np.moveaxis(dense(x), 1, 0).reshape(6, -1), compute_uv=False)[2:]
    error = np.linalg.norm(dense(small) - dense(x))
    assert abs(error - np.linalg.norm(best)) <= 1e-10 * error


def test_truncation_is_quasi_optimal():
    x = tensor((5, 6, 4, 5), ht.DimensionTree.balanced(4), 5)
    small = htt.truncate(x, max_rank=2)
    values = htt.singular_values(x)
    least = max(np.linalg.norm(s[2:]) for s in values.values())
    error = np.linalg.norm(dense(small) - dense(x))
    assert least <= error * (1 + 1e-12)
    assert error <= np.sqrt(2 * 4 - 3) * least * np.sqrt(5)


def test_what_stays_on_an_accelerator_keeps_the_tolerance(monkeypatch):
    x = 1 / (1 + sum(np.ix_(*[np.linspace(0, 1, 4)] * 3)))
    for name in ("hsvd", "truncate"):  # the arrays stay JAX's, as they do off the CPU
        module = sys.modules[f"ht_jax.tensor.{name}"]  # the package has functions of that name
        monkeypatch.setattr(module, "on_host", lambda arrays: arrays)
    for tol in (1e-3, 1e-9):
        t = HTTensor.from_dense(jnp.asarray(x), tol=tol)
        check(t, x, tol)
        check(htt.truncate(t, tol=10 * tol), x, 11 * tol)
