"""Cross approximation from values at indices only."""

import jax
import jax.numpy as jnp
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
    for bad in (np.nan, np.inf, complex(0, np.nan)):
        with pytest.raises(ValueError, match=r"index \(2, 3\), which is not finite"):
            htt.cross(lambda i, bad=bad: np.where(i.sum(1) == 5, bad, 1.0), (4, 4), tol=1e-3)
    with pytest.raises(TypeError, match="returned <U1"):
        htt.cross(lambda i: np.full(len(i), "a"), (4, 4), tol=1e-3)
    with pytest.raises(ValueError, match=r"returned \(16, 1\)"):
        htt.cross(lambda i: np.ones((len(i), 1)), (4, 4), tol=1e-3)
    for given in ({"tol": 0.0}, {"tol": np.nan}, {"max_rank": 0}, {"sweeps": 0}, {"samples": 0}):
        with pytest.raises(ValueError, match=next(iter(given))):
            htt.cross(lambda i: i.sum(1), (4, 4), **{"tol": 1e-3, **given})
    for shape in ((), (4, 0)):
        with pytest.raises(ValueError, match="shape"):
            htt.cross(lambda i: i.sum(1), shape, tol=1e-3)
    with pytest.raises(ValueError, match="below the resolution"):
        htt.cross(lambda i: i.sum(1).astype(np.float32), (4, 4), tol=1e-9)
    with pytest.raises(ValueError, match=r"returned \(\)"):
        htt.cross(lambda i: 1.0, (4, 4), tol=1e-3)
    noise = np.random.default_rng(0).standard_normal((9, 9, 9))
    with pytest.warns(htt.ToleranceWarning, match="max_rank=2"):
        htt.cross(lambda i: noise[tuple(i.T)], noise.shape, tol=1e-3, max_rank=2, sweeps=2)


GRID = np.linspace(0, 1, 12)
EVERY = np.indices((12,) * 6).reshape(6, -1).T


def bumps(*centers):
    return lambda i: sum(np.exp(-60 * ((GRID[i] - c) ** 2).sum(1)) for c in centers)


def true_error(t, function):
    values = function(EVERY)
    wide = values.astype(np.promote_types(values.dtype, np.float64))
    scale = abs(wide).max()
    found = np.asarray(t.to_dense()).reshape(-1).astype(wide.dtype)
    return np.linalg.norm(found / scale - wide / scale) / np.linalg.norm(wide / scale)


@pytest.mark.parametrize("centers", [(0.2, 0.8), (0.1, 0.5, 0.9), (0.9, 0.1)], ids=str)
def test_bumps_far_from_each_other_are_all_found(centers):
    t, info = htt.cross(bumps(*centers), (12,) * 6, tol=1e-6, sweeps=40)
    assert info.error <= 1e-6
    assert true_error(t, bumps(*centers)) <= 1e-6
    assert max(t.ranks.values()) == len(centers)


@pytest.mark.parametrize("extreme", [np.min, np.max, np.median], ids=lambda f: f.__name__)
def test_kinks_of_a_moderate_rank_are_met(extreme):
    _, info = htt.cross(lambda i: extreme(GRID[i], 1), (12,) * 6, tol=1e-4, sweeps=40)
    assert info.error <= 1e-4


def test_few_entries_are_all_asked_for():
    spike = np.zeros((4, 5, 6))
    spike[3, 1, 2] = 7.0
    t, info = htt.cross(lambda i: spike[tuple(i.T)], spike.shape, tol=1e-6)
    check(t, spike)
    t, info = htt.cross(lambda i: np.zeros(len(i)), (4, 5), tol=1e-6)
    assert info.error == 0
    assert not dense(t).any()


@pytest.mark.parametrize("spike", [0.0, 1.0])
def test_a_function_that_was_zero_wherever_it_was_asked_says_so(spike):
    with pytest.warns(htt.ToleranceWarning, match="0 at every random entry"):
        t, info = htt.cross(lambda i: spike * (i == 7).all(1), (12,) * 6, tol=1e-3)
    assert np.isnan(info.error)
    assert not dense(t).any()


SCALES = [
    (np.float16, 1e-4),
    (np.float16, 1e4),
    (np.float32, 1e-30),
    (np.float32, 1e-22),
    (np.float32, 1e24),
    (np.float32, 1e37),
    (np.complex64, 1e-24),
    (np.float64, 1e-300),
    (np.float64, 1e300),
    (np.complex128, 1e-300),
]


FAST = {2, 6, 8}  # of the scales
SCALES = [
    pytest.param(*each, marks=() if n in FAST else pytest.mark.slow)
    for n, each in enumerate(SCALES)
]


@pytest.mark.parametrize(("dtype", "scale"), SCALES, ids=str)
def test_a_black_box_of_any_scale(dtype, scale):
    phase = 1j if np.issubdtype(dtype, np.complexfloating) else 1.0

    def function(i):
        return (scale * phase / (1 + GRID[i].sum(1))).astype(dtype)

    tol = 1e-2 if dtype == np.float16 else 1e-4
    t, info = htt.cross(function, (12,) * 6, tol=tol)
    assert t.dtype == (np.float32 if dtype == np.float16 else dtype)
    assert info.error <= tol
    assert true_error(t, function) <= 2 * tol


@pytest.mark.parametrize("scale", [pytest.param(1e-37, marks=pytest.mark.slow), 1e-24, 1.0, 1e30])
def test_the_error_is_that_of_the_tensor_returned(scale):
    def function(i):
        return (scale * abs(GRID[i].sum(1) - 3.01)).astype(np.float32)

    with pytest.warns(htt.ToleranceWarning, match="fresh random entries"):
        t, info = htt.cross(function, (12,) * 6, tol=1e-4, max_rank=60, sweeps=4)
    assert info.error == pytest.approx(true_error(t, function), rel=0.5)


def test_values_that_the_type_of_the_tensor_cannot_hold_are_refused():
    with jax.enable_x64(False), pytest.raises(ValueError, match="do not fit float32"):
        htt.cross(lambda i: 1e300 * (1.0 + i.sum(1)), (4, 4, 4), tol=1e-3)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, bool, jnp.bfloat16])
def test_other_types_of_numbers(dtype):
    def function(i):
        return (i.sum(1) % 2).astype(dtype)

    t, _ = htt.cross(function, (4, 1, 3), tol=1e-5)
    check(t, (sum(np.ix_(range(4), range(1), range(3))) % 2).astype(float), 1e-5)


def test_a_function_may_write_to_its_indices():
    def function(i):
        i += 1
        return 1.0 / i.sum(1)

    t, _ = htt.cross(function, (4, 5, 6), tol=1e-8)
    check(t, 1.0 / (3 + sum(np.ix_(range(4), range(5), range(6)))), 1e-7)


def test_evaluations_stay_few():
    _, info = htt.cross(inverse_sum(32), (32,) * 32, tol=1e-6)
    assert info.evaluations <= 83_000
