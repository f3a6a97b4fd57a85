"""jit compiles once per shape, vmap equals the loop, and gradients are right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import ht_jax as ht
from ht_jax import tensor as htt
from ht_jax.tensor import HTTensor
from tests.tensor.table import check, dense, tensor

pytestmark = pytest.mark.slow

SHAPE, TREE = (4, 3, 5), ht.DimensionTree.balanced(3)


def one(seed=0, rank=3, dtype=np.float64):
    return jax.tree.map(jnp.asarray, tensor(SHAPE, TREE, rank, seed=seed, dtype=dtype))


def test_jit_compiles_once_per_shape():
    traced = []

    @jax.jit
    def f(x, y):
        traced.append(1)
        z = htt.truncate(x + y, max_rank=2)
        return htt.inner(z, x) + htt.norm(y) + z.to_dense().sum()

    for seed in range(3):
        assert np.isfinite(f(one(seed), one(seed + 1)))
    assert len(traced) == 1


def test_vmap_over_100_tensors_equals_the_loop():
    tensors = [one(seed) for seed in range(100)]
    batch = jax.tree.map(lambda *cores: jnp.stack(cores), *tensors)

    def f(x):
        return htt.truncate(x, max_rank=2).to_dense(), htt.norm(x), htt.inner(x, Y)

    single = jax.jit(f)
    rows = [single(x) for x in tensors]
    for found, *expected in zip(jax.jit(jax.vmap(f))(batch), *rows):
        check(found, np.stack(expected), 1e-11)
    decompose = jax.jit(jax.vmap(lambda x: HTTensor.from_dense(x, max_rank=2).to_dense()))
    arrays = np.stack([dense(x) for x in tensors])
    check(decompose(arrays), np.stack([dense(HTTensor.from_dense(x, max_rank=2)) for x in arrays]))


Y = one(5)
SMOOTH = {
    "inner": lambda x: htt.inner(x, Y),
    "norm": htt.norm,
    "ttm": lambda x: htt.inner(htt.ttm(x, {1: jnp.arange(6.0).reshape(2, 3)}), one_two()),
    "to_dense": lambda x: x.to_dense(),
    "truncate": lambda x: htt.truncate(x, max_rank=2).to_dense(),
    "orthogonalize": lambda x: htt.orthogonalize(x).to_dense(),
    "truncate_product": lambda x: htt.truncate_product(x, Y, max_rank=2).to_dense(),
}


def one_two():
    t = tensor((4, 2, 5), TREE, 2, seed=3)
    return jax.tree.map(jnp.asarray, t)


SLOW = {"truncate_product", "orthogonalize"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in SMOOTH]
)
def test_gradients(name):
    function = jax.jit(SMOOTH[name])
    check_grads(function, (one(1),), order=1, modes=["fwd", "rev"], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_gradients_of_from_dense():
    x = jnp.asarray(dense(one(2, rank=5)))
    function = jax.jit(lambda x: HTTensor.from_dense(x, max_rank=2).to_dense())
    check_grads(function, (x,), order=1, modes=["fwd", "rev"], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_gradients_of_complex_truncation():
    function = jax.jit(lambda x: htt.truncate(x, max_rank=2).to_dense())
    x = one(1, dtype=np.complex128)
    check_grads(function, (x,), order=1, modes=["fwd", "rev"], atol=1e-5, rtol=1e-5)


def cubed(t, ranks):
    return (htt.truncate(t, ranks=dict(ranks)).to_dense() ** 3).sum()


values_of = jax.jit(cubed, static_argnames="ranks")
slopes = jax.jit(jax.grad(cubed), static_argnames="ranks")
TWO = (("leaf_0", 2), ("leaf_1", 2), ("node_0_1", 2), ("leaf_2", 2))


@pytest.mark.slow
def test_the_gradient_does_not_depend_on_the_gauge():
    x, rng = one(1), np.random.default_rng(0)
    turn = rng.standard_normal((3, 3))
    cores = {**x.cores, "leaf_0": x.cores["leaf_0"] @ turn}
    cores["node_0_1"] = jnp.einsum("plr,ml->pmr", x.cores["node_0_1"], np.linalg.inv(turn))
    y = HTTensor(cores, x.tree)
    # the derivative by the root is covariant: the same tensor, the same root
    check(slopes(x, TWO).cores[TREE.root], slopes(y, TWO).cores[TREE.root], 1e-9)


def test_equal_singular_values_on_one_side_of_the_gap_do_no_harm():
    values = jnp.array([2.0, 2.0, 1.0])
    x = htt.random_with_singular_values(jax.random.key(0), SHAPE, values)
    ranks = (("node_0_1", 2), ("leaf_2", 2))
    step = jax.tree.map(lambda c: 1e-5 * jnp.cos(jnp.arange(c.size)).reshape(c.shape), x)
    slope = jax.tree.map(lambda g, s: (g * s).sum(), slopes(x, ranks), step)
    plus, minus = (values_of(jax.tree.map(op, x, step), ranks) for op in (jnp.add, jnp.subtract))
    slope = sum(jax.tree.leaves(slope))
    assert abs((plus - minus) / 2 - slope) <= 1e-6 * abs(slope)


def test_the_norm_of_zero_has_a_zero_gradient():
    gradient = jax.jit(jax.grad(htt.norm))(0 * one())
    assert not any(np.asarray(core).any() for core in gradient.cores.values())


@pytest.mark.slow
def test_many_modes():
    tree = ht.DimensionTree.balanced(64)
    x = htt.random(jax.random.key(0), (32,) * 64, 3, tree=tree)
    x = x / htt.norm(x)
    double = x + x
    assert double.ranks["leaf_0"] == 6
    assert abs(htt.inner(double, x) - 2) <= 1e-10
    assert htt.distance(htt.truncate(double, tol=1e-10), 2 * x) <= 1e-9
    linear = htt.random(jax.random.key(0), (2,) * 64, 2, tree=ht.DimensionTree.linear(64))
    assert htt.truncate(linear, tol=1e-8).ndim == 64


def test_one_mode():
    x = jnp.arange(5.0)
    t = HTTensor.from_dense(x, tol=1e-6)
    assert t.ranks == {}
    check((t + t * t).to_dense(), x + x * x)
    assert htt.norm(t) == pytest.approx(np.linalg.norm(x))
    assert htt.inner(t, t) == pytest.approx(30)
    check(htt.truncate(t, tol=1e-3), x)
    assert t[2] == 2
