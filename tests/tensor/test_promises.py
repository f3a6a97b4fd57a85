"""Tolerances are kept, at every scale and dtype, whatever the singular values are."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ht_jax import tensor as htt
from ht_jax.tensor import HTTensor
from tests.tensor.table import check, dense, tensor, trees

SMOOTH = 1 / (1 + sum(np.ix_(*[np.arange(6.0)] * 4)))


def permutation(*shape):
    rows = shape[0] * shape[1]
    return np.eye(rows)[np.random.default_rng(0).permutation(rows)].reshape(shape)


def reached(t, x):
    """The relative error, in float64."""
    t = HTTensor({node: np.asarray(core, float) for node, core in t.cores.items()}, t.tree)
    size = abs(x).max()
    return np.linalg.norm(((dense(t) - x) / size).reshape(-1)) / np.linalg.norm(
        x.reshape(-1) / size
    )


PLATEAUS = {
    "eye": np.eye(30, 40),
    "flipped eye": np.eye(50)[:, ::-1],
    "permutation": permutation(6, 6, 6, 6),
    "superdiagonal": np.einsum("ai,bi,ci->abc", *[np.eye(5)] * 3),
    "orthogonal": np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0].reshape(4, 4, 16),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PLATEAUS)
def test_tolerances_are_kept_where_singular_values_repeat(name, dtype):
    x = PLATEAUS[name]
    for tree in trees(x.ndim):
        whole = HTTensor.from_dense(x.astype(dtype), tree=tree)
        for tol in (0.2, 0.3, 0.4, 0.5, 0.9):
            assert reached(HTTensor.from_dense(x.astype(dtype), tol=tol, tree=tree), x) <= tol
            assert reached(htt.truncate(whole, tol=tol), x) <= tol


@pytest.mark.parametrize("to", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
@pytest.mark.parametrize("size", [12, 70], ids=["by SVD", "by Gram matrices"])
def test_truncation_of_a_matrix_is_the_best_where_singular_values_repeat(to, size):
    cores = {"leaf_0": np.eye(size), "leaf_1": np.eye(size), "node_0_1": np.eye(size)[:, ::-1]}
    t = HTTensor.of(cores, (0, 1))
    t = HTTensor({node: to(core) for node, core in t.cores.items()}, t.tree)
    call = jax.jit(lambda t: htt.truncate(t, max_rank=9)) if to is jnp.asarray else None
    small = call(t) if call else htt.truncate(t, max_rank=9)
    best = np.sqrt((size - 9) / size)
    assert reached(small, cores["node_0_1"]) == pytest.approx(best, rel=1e-12)


SCALES = {"float64": [1e-300, 1e-200, 1e-150, 1e150, 1e200, 1e300], "float32": [1e-37, 1e-25, 1e37]}
EVERY_SCALE = [(dtype, scale) for dtype, scales in SCALES.items() for scale in scales]
every_scale = pytest.mark.parametrize(("dtype", "scale"), EVERY_SCALE)


@every_scale
def test_tensors_of_every_scale(dtype, scale):
    x, bound = (SMOOTH * scale).astype(dtype), 1e-12 if dtype == "float64" else 3e-5
    t = HTTensor.from_dense(x, tol=1e-4)
    wanted = HTTensor.from_dense(SMOOTH.astype(dtype), tol=1e-4)
    assert t.ranks == wanted.ranks

    def near(found, expected):
        np.testing.assert_allclose(np.asarray(found, float) / scale, expected, rtol=bound)

    with np.errstate(under="ignore"):
        assert reached(t, x.astype(float)) <= 1e-4
        assert reached(htt.truncate(t, tol=1e-3), x.astype(float)) <= 1.1e-3
    assert htt.truncate(t, tol=1e-3).ranks == htt.truncate(wanted, tol=1e-3).ranks
    near(htt.norm(t), np.linalg.norm(dense(wanted)))
    near(jax.jit(htt.norm)(t), np.linalg.norm(dense(wanted)))
    near(htt.distance(t, 3 * t), 2 * np.linalg.norm(dense(wanted)))
    near(htt.norm(htt.orthogonalize(t)), np.linalg.norm(dense(wanted)))
    near(htt.singular_values(t)["leaf_0"][:2], htt.singular_values(wanted)["leaf_0"][:2])
    near(htt.inner(wanted, t), htt.inner(wanted, wanted))
    near(htt.inner(t, wanted), htt.inner(wanted, wanted))


@every_scale
def test_scales_of_single_cores_do_not_matter(dtype, scale):
    x = tensor((4, 3, 5), trees(3)[0], 2, dtype=np.float64).astype(dtype)
    y = HTTensor(dict(x.cores), x.tree)
    y.cores["leaf_0"] = x.cores["leaf_0"] * np.asarray(scale, dtype)
    y.cores["node_0_2"] = x.cores["node_0_2"] / np.asarray(scale, dtype)
    for t in (y, jax.tree.map(jnp.asarray, y)):
        np.testing.assert_allclose(htt.norm(t), htt.norm(x), rtol=1e-5)
        np.testing.assert_allclose(htt.inner(t, t), htt.inner(x, x), rtol=1e-5)
        assert htt.distance(t, x) <= 1e-5 * htt.norm(x)


# The entries of what is differentiated, and of its derivative, are normal numbers at these.
SLOPES = [("float64", s) for s in (1e-280, 1e-150, 1e150, 1e280)] + [
    ("float32", s) for s in (1e-34, 1e-25, 1e35)
]


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "scale"), SLOPES)
def test_gradients_of_every_scale(dtype, scale):
    t = jax.tree.map(jnp.asarray, tensor((4, 3, 5), trees(3)[0], 2).astype(dtype))
    root = t.tree.root
    big = HTTensor({**t.cores, root: t.cores[root] * np.asarray(scale, dtype)}, t.tree)
    found, wanted = (jax.jit(jax.grad(htt.norm))(each).cores[root] for each in (big, t))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    slope = jax.jit(jax.vmap(jax.grad(lambda x, y: htt.inner(x, y)), in_axes=(None, 0)))
    stacked = jax.tree.map(lambda core: jnp.stack([core, core]), big)
    found, wanted = slope(t, stacked).cores[root][1], jax.grad(htt.inner)(t, t).cores[root]
    np.testing.assert_allclose(found / np.asarray(scale, dtype), wanted, rtol=1e-4)

    def truncated(x):
        return HTTensor.from_dense(x, max_rank=2).to_dense()

    x, v = jnp.asarray(SMOOTH.astype(dtype)), jnp.asarray(SMOOTH.astype(dtype) ** 2)
    size, bound = np.asarray(scale, dtype), 1e-3 if dtype == "float32" else 1e-9
    _, found = jax.jit(lambda x, v: jax.jvp(truncated, (x,), (v,)))(x * size, v * size)
    _, wanted = jax.jvp(truncated, (x,), (v,))
    np.testing.assert_allclose(found / size, wanted, atol=bound)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_computed_as_singles(dtype):
    x = jnp.asarray(SMOOTH, dtype)
    t = HTTensor.from_dense(x, tol=0.05)
    assert t.dtype == x.dtype
    assert reached(t, np.asarray(x, float)) <= 0.05
    small = htt.truncate(t, tol=0.1)
    assert small.dtype == x.dtype
    assert reached(small, np.asarray(x, float)) <= 0.16
    size = np.linalg.norm(np.asarray(x, float))
    assert float(htt.norm(t)) == pytest.approx(size, rel=0.05)
    assert float(htt.inner(t, t)) == pytest.approx(size**2, rel=0.1)
    assert float(htt.singular_values(t)["leaf_0"][0]) == pytest.approx(size, rel=0.1)
    assert htt.orthogonalize(t).dtype == x.dtype
    with pytest.raises(ValueError, match="resol"):
        HTTensor.from_dense(x, tol=1e-5)


def test_many_modes_keep_the_finest_tolerance():
    x = np.random.default_rng(0).standard_normal((2,) * 12)
    x = x + 1 / (1 + sum(np.ix_(*[np.arange(2.0)] * 12)))
    values = 10.0 ** -np.linspace(0, 16, 64)
    left, right = (np.linalg.qr(x.reshape(64, 64).T if n else x.reshape(64, 64))[0] for n in (0, 1))
    x = ((left * values) @ right).reshape((2,) * 12)
    for tol in (1e-12, 3e-13, 1e-13):
        t = HTTensor.from_dense(x, tol=tol)
        assert reached(t, x) <= tol
        assert reached(htt.truncate(HTTensor.from_dense(x), tol=tol), x) <= 1.05 * tol


def test_a_tolerance_that_rounding_exceeds_is_refused():
    x = np.random.default_rng(0).standard_normal((8, 9, 10, 11))
    with pytest.raises(ValueError, match=r"resolves this tensor to \d"):
        HTTensor.from_dense(x, tol=2.3e-16)
    with pytest.raises(ValueError, match=r"resolves this tensor to \d"):
        htt.truncate(HTTensor.from_dense(x), tol=2.3e-16)


def test_bounds_that_do_not_allow_the_tolerance_are_named():
    x = np.random.default_rng(0).standard_normal((4, 5, 6))
    with pytest.warns(htt.ToleranceWarning, match="max_rank=2"):
        t = HTTensor.from_dense(x, tol=1e-3, max_rank=2)
    assert max(t.ranks.values()) == 2
    with pytest.warns(htt.ToleranceWarning, match="leaf_1"):
        htt.hsvd(jnp.asarray(x), t.tree, abs_tol=1e-3, ranks={"leaf_1": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HTTensor.from_dense(x, tol=1e-3, max_rank=20)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("limits", [{"max_rank": 2}, {"tol": 1e-3}, {}])
def test_values_that_are_not_finite_are_refused(value, limits):
    x = np.ones((3, 4, 5))
    x[1, 2, 3] = value
    with pytest.raises(ValueError, match="finite"):
        HTTensor.from_dense(x, **limits)
    t = tensor((3, 4, 5), trees(3)[0], 2)
    t.cores["leaf_1"][0, 0] = value
    with pytest.raises(ValueError, match="finite"), np.errstate(invalid="ignore"):
        htt.truncate(t, **limits)


@pytest.mark.parametrize("limits", [{"tol": 1e-5}, {"max_rank": 2}])
def test_zero_and_tensors_of_one_mode(limits):
    for x in (np.zeros((3, 4, 5)), np.zeros(7), np.arange(5.0), np.full(3, 1e-300)):
        t = HTTensor.from_dense(x, **limits)
        np.testing.assert_allclose(dense(t), x)
        np.testing.assert_allclose(dense(htt.truncate(t, **limits)), x)
        assert float(htt.norm(t)) == pytest.approx(np.linalg.norm(x * 1e10) / 1e10)


def test_complex_tensors_of_every_scale():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((4, 5, 6)) + 1j * rng.standard_normal((4, 5, 6))) * 1e250
    t = HTTensor.from_dense(x, tol=0.3)
    check(dense(t) / 1e250, x / 1e250, 0.3)
    check(dense(htt.truncate(t, tol=0.1)) / 1e250, dense(t) / 1e250, 0.1)
