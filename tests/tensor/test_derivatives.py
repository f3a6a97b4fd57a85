"""Derivatives of truncations where singular values coincide, or vanish, are their existing part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ht_jax import tensor as htt
from ht_jax.tensor import HTTensor


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


def superdiagonal(values):
    """A tensor that has the same singular values at every node."""
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 4, 4)))[0]
    return jnp.asarray(np.einsum("ai,bi,ci,i->abc", *q, values))


def cut(x, rank):
    return HTTensor.from_dense(x, max_rank=rank).to_dense()


VALUES = [(2, 1, 1, 0.5), (1, 1, 1, 1), (1, 1, 0, 0), (1, 0, 0, 0)]


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
@pytest.mark.parametrize("values", [VALUES[0], *[slow(v) for v in VALUES[1:]]])
def test_gradients_at_closed_gaps_are_bounded_by_the_weights(values, dtype):
    x, w = superdiagonal(values).astype(dtype), superdiagonal((1, 2, 3, 4)).astype(dtype) + 1
    _, back = jax.vjp(jax.jit(lambda x: cut(x, 2)), x)
    (gradient,) = back(w)
    _, change = jax.jvp(lambda x: cut(x, 2), (x,), (w,))
    for found in (gradient, change):
        assert jnp.linalg.norm(found.reshape(-1)) <= 10 * jnp.linalg.norm(w.reshape(-1))
    t = HTTensor.from_dense(x)
    slope = jax.jit(jax.grad(lambda t: jnp.vdot(w, htt.truncate(t, max_rank=2).to_dense())))(t)
    for core in slope.cores.values():
        assert jnp.linalg.norm(core.reshape(-1)) <= 20 * jnp.linalg.norm(w.reshape(-1))


POINTS = {
    "ones": np.ones((3, 3, 3)),
    "zeros": np.zeros((3, 3, 3)),
    "one slice": np.eye(3)[:, :, None] * np.eye(3)[0],
    "long": np.ones((10, 2, 2)),
    "matrix": np.ones((5, 3)),
    "four modes": np.ones((3, 3, 2, 2)),
    "noise": np.random.default_rng(0).standard_normal((3, 3, 3)),
}


@pytest.mark.parametrize("name", ["zeros", *[slow(name) for name in POINTS if name != "zeros"]])
def test_bounds_that_cut_nothing_have_the_derivative_of_the_identity(name):
    x = jnp.asarray(POINTS[name])
    v = jnp.asarray(np.random.default_rng(1).standard_normal(x.shape))
    _, change = jax.jvp(jax.jit(lambda x: cut(x, 12)), (x,), (v,))
    np.testing.assert_allclose(change, v, atol=1e-14)
    (gradient,) = jax.vjp(lambda x: cut(x, 12), x)[1](v)
    np.testing.assert_allclose(gradient, v, atol=1e-14)
    batch = jax.vmap(lambda x: jax.vjp(lambda x: cut(x, 12), x)[1](v)[0])(jnp.stack([x, 2 * x]))
    np.testing.assert_allclose(batch, jnp.stack([v, v]), atol=1e-14)


@pytest.mark.parametrize("name", POINTS)
def test_truncations_that_cut_nothing_have_the_derivative_of_the_identity(name):
    t = HTTensor.from_dense(jnp.asarray(POINTS[name]))
    w = jnp.asarray(np.random.default_rng(1).standard_normal(t.shape))

    def slope(f):
        return jax.grad(lambda t: jnp.vdot(w, f(t).to_dense()))(t)

    found, wanted = slope(lambda t: htt.truncate(t, max_rank=12)), slope(lambda t: t)
    for node, core in found.cores.items():
        np.testing.assert_allclose(core, wanted.cores[node], atol=1e-14)


def test_derivatives_along_tensors_of_the_same_rank_exist_where_the_rank_is_below_the_bound():
    a, b, c = (jnp.asarray(v) for v in np.random.default_rng(0).standard_normal((3, 4)))

    def curve(t):
        return jnp.einsum("i,j,k->ijk", a + t * b, b + t * c, c - t * a)

    x, v = jax.jvp(curve, (0.0,), (1.0,))
    _, found = jax.jvp(lambda x: cut(x, 3), (x,), (v,))
    np.testing.assert_allclose(found, v, atol=1e-10)
