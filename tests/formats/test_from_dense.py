"""Decompositions: exact matrices come back, tolerances are kept, errors are near the best."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ht_jax as ht
from ht_jax.formats.als import sweep
from ht_jax.formats.contracting import balanced
from ht_jax.formats.multistart import draw, fit_network, redrawn
from ht_jax.formats.refine import refine

IN, OUT = (4, 5, 3), (3, 2, 4)  # 60 -> 24
SMALL = (
    ht.HT(IN, OUT, leaf_rank=3, rank=3),
    ht.TT(IN, OUT, rank=(3, 4)),
    ht.Tucker(IN, (6, 4), rank=(2, 3, 2, 3, 2)),
    ht.LowRank(60, 24, rank=5),
    ht.Dense(60, 24),
    ht.CP(IN, (6, 4), rank=3),
    ht.BT(IN, OUT, rank=2, terms=2),
    ht.TR(IN, (6, 4), rank=2, closing_rank=3),
    ht.KCP((4, 15), (6, 4), rank=2, terms=2),
)
LARGE = (  # 1,000 x 1,000 and more
    ht.HT((8, 5, 5, 5), (5, 5, 5, 8), leaf_rank=4, rank=5),
    ht.TT((8, 5, 5, 5), (5, 5, 5, 8), rank=4),
    ht.Tucker((8, 5, 5, 5), (5, 5, 5, 8), rank=2),
    ht.LowRank(1000, 1000, rank=7),
    ht.Dense(1000, 1000),
    ht.CP((8, 5, 5, 5), (5, 5, 5, 8), rank=8),
    ht.CP((10, 10, 10), (40, 25), rank=12),
    ht.BT((8, 5, 5, 5), (5, 5, 5, 8), rank=4, terms=2),
    ht.TR((4, 2, 5, 5, 5), (5, 5, 2, 5, 4), rank=5, closing_rank=8),
    ht.KCP((8, 6, 6, 4), (4, 4, 8, 8), rank=2, terms=2),
)
ITERATIVE = (ht.CP, ht.BT, ht.TR, ht.KCP)
small = pytest.mark.parametrize("fmt", SMALL, ids=lambda fmt: type(fmt).__name__)
by_tolerance = pytest.mark.parametrize(
    "fmt", SMALL[:4], ids=[type(fmt).__name__ for fmt in SMALL[:4]]
)


def random_kernel(fmt, seed=1):
    return np.asarray(fmt.init(jax.random.key(seed), jnp.float64).to_dense())


def smooth_kernel(rows, cols, distance=lambda d: 1 / (1 + d)):
    """A kernel matrix with relative noise of 1e-6."""
    x, y = np.linspace(0, 4, rows)[:, None], np.linspace(0, 4, cols)[None]
    kernel = distance(np.abs(x - y))
    noise = np.random.default_rng(0).normal(size=kernel.shape)
    return kernel + 1e-6 * noise * np.linalg.norm(kernel) / np.linalg.norm(noise)


def error_of(weight, kernel):
    return np.linalg.norm(weight.to_dense() - kernel) / np.linalg.norm(kernel)


def check_recovered(fmt, seed):
    kernel = random_kernel(fmt, seed)
    weight, info = fmt.from_dense(kernel)
    assert error_of(weight, kernel) < 1e-8
    assert info.relative_error == pytest.approx(error_of(weight, kernel), abs=1e-14)
    assert (info.restarts > 0) == isinstance(fmt, ITERATIVE)


@pytest.mark.parametrize("fmt", SMALL[:5], ids=lambda fmt: type(fmt).__name__)
def test_an_exact_matrix_is_recovered(fmt):
    check_recovered(fmt, seed=1)


@pytest.mark.slow  # seconds of compilation each
@pytest.mark.parametrize("fmt", SMALL[5:], ids=lambda fmt: type(fmt).__name__)
def test_an_exact_matrix_is_recovered_by_iteration(fmt):
    check_recovered(fmt, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [10, 11, 12])
@pytest.mark.parametrize("fmt", LARGE, ids=lambda fmt: type(fmt).__name__)
def test_a_large_exact_matrix_is_recovered(fmt, seed):
    check_recovered(fmt, seed)


@by_tolerance
@pytest.mark.parametrize("tol", [10.0**-n for n in (1, 3, 5, 8, 10)])
def test_tolerance_is_kept(fmt, tol):
    kernel = smooth_kernel(60, 24)
    weight, info = fmt.from_dense(kernel, tol=tol)
    assert info.relative_error <= tol
    assert error_of(weight, kernel) == pytest.approx(info.relative_error, rel=1e-3)


def unfoldings(fmt, kernel):
    """One matrix for each rank of the format, which its singular values bound."""
    if isinstance(fmt, ht.LowRank):
        return [kernel]
    x = kernel.reshape(fmt.in_modes + fmt.out_modes)
    if isinstance(fmt, ht.Tucker):
        return [np.moveaxis(x, k, 0).reshape(x.shape[k], -1) for k in range(x.ndim)]
    d = len(fmt.in_modes)
    x = x.transpose([axis for k in range(d) for axis in (k, d + k)])
    return [x.reshape(int(np.prod(x.shape[: 2 * k])), -1) for k in range(1, d)]


@pytest.mark.parametrize("fmt", SMALL[1:4], ids=lambda fmt: type(fmt).__name__)
@pytest.mark.parametrize("tol", [1e-1, 1e-3, 1e-5])
def test_tolerance_is_not_wasted(fmt, tol):
    kernel = smooth_kernel(60, 24)
    weight, _ = fmt.from_dense(kernel, tol=tol)
    found = weight.format
    ranks = (found.rank,) if isinstance(fmt, ht.LowRank) else found.ranks
    matrices = unfoldings(fmt, kernel)
    for rank, matrix in zip(ranks, matrices, strict=True):
        s = np.linalg.svd(matrix, compute_uv=False)
        tails = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1])
        needed = np.sum(tails > tol * np.linalg.norm(s) / np.sqrt(len(matrices)) * (1 - 1e-6))
        assert rank <= needed


@by_tolerance
def test_ranks_found_by_tolerance_are_those_of_an_exact_matrix(fmt):
    weight, _ = fmt.from_dense(random_kernel(fmt), tol=1e-9)
    assert weight.format == fmt


@by_tolerance
@pytest.mark.parametrize(
    ("dtype", "tol", "says"),
    [
        (jnp.float64, 1e-17, "tol 1e-17 is below the resolution 2.2e-16 of float64"),
        (jnp.float32, 1e-8, "tol 1e-08 is below the resolution 1.2e-07 of float32"),
        (jnp.float64, float("nan"), "tol nan is below"),
    ],
)
def test_tolerance_out_of_reach_is_refused(fmt, dtype, tol, says):
    with pytest.raises(ValueError, match=says):
        fmt.from_dense(smooth_kernel(60, 24).astype(dtype), tol=tol)


@by_tolerance
def test_rank_bounds_every_rank(fmt):
    weight, _ = fmt.from_dense(smooth_kernel(60, 24), rank=2)
    net = weight.format.network()
    opened = {*net.inputs, *net.outputs}
    assert max(size for index, size in net.sizes if index not in opened) == 2


@small
def test_zero_matrix(fmt):
    weight, info = fmt.from_dense(np.zeros((60, 24)))
    assert info.relative_error == 0
    assert not np.any(weight.to_dense())
    assert all(np.isfinite(core).all() for core in weight.cores.values())


@by_tolerance
def test_zero_matrix_by_tolerance(fmt):
    weight, info = fmt.from_dense(np.zeros((60, 24)), tol=1e-3)
    assert info.relative_error == 0
    assert not np.any(weight.to_dense())


@small
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(fmt, bad):
    kernel = smooth_kernel(60, 24)
    kernel[3, 5] = bad
    with pytest.raises(ValueError, match="kernel holds values that are not finite"):
        fmt.from_dense(kernel)


@small
def test_wrong_shape_and_dtype_are_refused(fmt):
    with pytest.raises(ValueError, match=r"shape \(24, 60\), but .* holds \(60, 24\)"):
        fmt.from_dense(np.zeros((24, 60)))
    with pytest.raises(ValueError, match="dtype int64"):
        fmt.from_dense(np.zeros((60, 24), np.int64))


@pytest.mark.parametrize("fmt", SMALL[5:], ids=lambda fmt: type(fmt).__name__)
def test_iterative_formats_refuse_tolerances_and_traces(fmt):
    with pytest.raises(ValueError, match=r"finds no ranks for tol=0.1: give rank="):
        fmt.from_dense(np.zeros((60, 24)), tol=0.1)
    with pytest.raises(ValueError, match="is traced, but it iterates"):
        jax.jit(lambda kernel: fmt.from_dense(kernel)[0])(np.zeros((60, 24)))


@pytest.mark.slow
@by_tolerance
def test_under_a_trace_ranks_work_and_tolerances_are_refused(fmt):
    kernel = random_kernel(fmt)
    weight, info = jax.jit(fmt.from_dense)(kernel)
    assert error_of(weight, kernel) < 1e-12
    assert float(info.relative_error) < 1e-12
    with pytest.raises(ValueError, match=r"from_dense\(tol=0.1\) is traced"):
        jax.jit(lambda kernel: fmt.from_dense(kernel, tol=0.1)[0])(kernel)


@pytest.mark.parametrize("fmt", SMALL[:5], ids=lambda fmt: type(fmt).__name__)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_error_is_measured_without_overflow(fmt, scale):
    kernel = (scale * random_kernel(fmt)).astype(np.float32)
    _, info = fmt.from_dense(kernel)
    assert info.relative_error < 1e-5


@by_tolerance
def test_half_precision_is_fitted_in_float32(fmt):
    weight, info = fmt.from_dense(jnp.asarray(random_kernel(fmt), jnp.bfloat16))
    assert {core.dtype for core in weight.cores.values()} == {jnp.dtype(jnp.float32)}
    assert info.relative_error < 1e-2


def test_padding_and_gates_are_fitted_in_place():
    fmt = ht.TT(IN, OUT, rank=4, in_features=55, out_features=22).with_gates(4)
    kernel = random_kernel(fmt)
    weight, info = fmt.from_dense(kernel, tol=1e-12)
    assert info.relative_error < 1e-12
    assert error_of(weight, kernel) < 1e-12


MATRIX = (  # over two modes these formats are a matrix of bounded rank: the SVD is the best
    (ht.CP((16,), (12,), rank=3), lambda k: k),
    (ht.TR((16,), (12,), rank=(1, 3)), lambda k: k),
    (ht.Tucker((16,), (12,), rank=3), lambda k: k),
    (ht.LowRank(16, 12, rank=3), lambda k: k),
    (ht.TT((4, 4), (3, 4), rank=3), lambda k: rearranged(k, (4, 4), (3, 4))),
    (ht.HT((4, 4), (3, 4), rank=3), lambda k: rearranged(k, (4, 4), (3, 4))),
    pytest.param(
        *(ht.BT((4, 4), (3, 4), rank=3, terms=1), lambda k: rearranged(k, (4, 4), (3, 4))),
        marks=pytest.mark.slow,
    ),
    pytest.param(
        *(ht.KCP((16,), (12,), rank=4, terms=3), lambda k: rearranged(k, (4, 4), (3, 4))),
        marks=pytest.mark.slow,
    ),
)


def rearranged(kernel, in_modes, out_modes):
    """The kernel as a matrix of first modes by last modes (Van Loan and Pitsianis 1993)."""
    (p, q), (s, t) = in_modes, out_modes
    return kernel.reshape(p, q, s, t).transpose(0, 2, 1, 3).reshape(p * s, q * t)


@pytest.mark.slow
@pytest.mark.parametrize(("fmt", "as_matrix"), MATRIX, ids=lambda v: type(v).__name__)
def test_the_error_is_that_of_the_svd_where_that_is_the_best(fmt, as_matrix):
    kernel = smooth_kernel(16, 12)
    s = np.linalg.svd(as_matrix(kernel), compute_uv=False)
    best = np.sqrt(np.sum(s[3:] ** 2) / np.sum(s**2))
    assert 1e-4 < best < 0.2
    assert fmt.from_dense(kernel)[1].relative_error == pytest.approx(best, rel=1e-3)


def test_tucker_frames_are_the_best_for_one_another():
    fmt = ht.Tucker(IN, (6, 4), rank=2)
    kernel = np.random.default_rng(0).normal(size=(60, 24))
    weight, _ = fmt.from_dense(kernel)
    frames = [np.asarray(core) for core in weight.cores.values()][:-1]
    for k, frame in enumerate(frames):
        x = kernel.reshape(4, 5, 3, 6, 4)
        for axis in set(range(5)) - {k}:
            x = np.moveaxis(np.tensordot(frames[axis], x, (0, axis)), 0, axis)
        u = np.linalg.svd(np.moveaxis(x, k, 0).reshape(x.shape[k], -1))[0][:, :2]
        np.testing.assert_allclose(frame @ frame.T, u @ u.T, atol=1e-2)


BILINEAR = MATRIX[0][0].network()  # CP over two modes: x = in_0 out_0^T


def test_a_sweep_solves_for_each_core_in_turn():
    x, key = smooth_kernel(16, 12), jax.random.key(0)
    start = draw(BILINEAR, key, jnp.float64)
    cores, error = sweep(BILINEAR, jnp.asarray(x), start)
    after_first = np.linalg.lstsq(np.asarray(start["out_0"]), x.T)[0].T
    after_second = np.linalg.lstsq(after_first, x)[0].T
    wanted = after_first @ after_second.T
    np.testing.assert_allclose(cores["in_0"] @ cores["out_0"].T, wanted, atol=1e-8)
    assert float(error) == pytest.approx(np.linalg.norm(x - wanted))


def test_refinement_takes_few_steps_near_the_solution():
    a, b = (np.random.default_rng(k).normal(size=(n, 3)) for k, n in ((0, 16), (1, 12)))
    x = a @ b.T / np.linalg.norm(a @ b.T)
    start = {"in_0": jnp.asarray(a) + 0.01, "out_0": jnp.asarray(b) / np.linalg.norm(a @ b.T)}
    error = float(jnp.linalg.norm(start["in_0"] @ start["out_0"].T - x))
    assert 1e-3 < error < 1e-1
    assert refine(BILINEAR, jnp.asarray(x), start, error, steps=6)[1] < 1e-12


@pytest.mark.slow
def test_redrawing_keeps_all_terms_but_one():
    net = ht.CP((4, 4), (3, 4), rank=4).network()
    cores = draw(net, jax.random.key(0), jnp.float64)
    new, old = redrawn(net, jax.random.key(1), cores), balanced(net, cores)
    changed = {name: np.any(new[name] != old[name], axis=0) for name in cores}
    assert [int(np.sum(c)) for c in changed.values()] == [1, 1, 1, 1]
    assert len({int(np.argmax(c)) for c in changed.values()}) == 1


@pytest.mark.slow
def test_the_key_decides_the_random_starts():
    x = jnp.asarray(smooth_kernel(16, 12))
    one, again, other = (fit_network(BILINEAR, x, jax.random.key(k))[0] for k in (3, 3, 4))
    np.testing.assert_array_equal(one["in_0"], again["in_0"])
    assert np.any(one["in_0"] != other["in_0"])


def oracle_cp(tl, x, fmt):
    starts = [("svd", 0), ("random", 0), ("random", 1)]
    for init, seed in starts:
        yield tl.cp_to_tensor(
            tl.decomposition.parafac(
                x, fmt.rank, init=init, random_state=seed, n_iter_max=500, tol=1e-8
            )
        )


def oracle_tucker(tl, x, fmt):
    yield tl.tucker_to_tensor(
        tl.decomposition.tucker(x, list(fmt.ranks), n_iter_max=100, tol=1e-10)
    )


def oracle_tr(tl, x, fmt):
    for seed in range(3):
        ranks = [*fmt.ranks, fmt.ranks[0]]
        found = tl.decomposition.tensor_ring_als(
            x, ranks, n_iter_max=200, tol=1e-8, random_state=seed
        )
        yield tl.tr_to_tensor(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "distance", [lambda d: 1 / (1 + d), lambda d: np.exp(-(d**2))], ids=["inverse", "gaussian"]
)
@pytest.mark.parametrize(
    ("fmt", "oracle"),
    [
        (ht.CP((10, 10, 10), (10, 10, 10), rank=6), oracle_cp),
        (ht.Tucker((10, 10, 10), (10, 10, 10), rank=3), oracle_tucker),
        (ht.TR((10, 10, 10), (10, 10, 10), rank=3), oracle_tr),
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_smooth_kernel_is_fitted_as_well_as_by_tensorly(fmt, oracle, distance):
    tl = pytest.importorskip("tensorly")
    pytest.importorskip("tensorly.decomposition")
    kernel = smooth_kernel(1000, 1000, distance)
    x = kernel.reshape(fmt.in_modes + fmt.out_modes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy deprecations inside of the oracle
        best = min(np.linalg.norm(found - x) for found in oracle(tl, x, fmt))
    assert 1e-4 < best / np.linalg.norm(x) < 1
    assert fmt.from_dense(kernel)[1].relative_error < 1.05 * best / np.linalg.norm(x)
