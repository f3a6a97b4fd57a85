"""Tangent spaces, retraction, Optax, and the completion of a partly observed tensor."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ht_jax import tensor as htt
from tests.tensor.table import check, dense, tensor, trees

pytestmark = pytest.mark.slow

TREE = trees(4)[0]


def points():
    x = jax.tree.map(jnp.asarray, tensor((4, 5, 3, 4), TREE, 2))
    return htt.orthogonalize(x), jax.tree.map(jnp.asarray, tensor((4, 5, 3, 4), TREE, 3, seed=1))


def jacobian(x):
    """Columns: derivatives of the dense tensor by all numbers of the cores."""
    flat, back = jax.flatten_util.ravel_pytree(x)
    return np.asarray(jax.jacobian(lambda f: back(f).to_dense().reshape(-1))(flat))


@pytest.mark.slow
def test_projection_is_the_orthogonal_one():
    x, z = points()
    found = htt.tangent(x, htt.project(x, z))
    span, s, _ = np.linalg.svd(jacobian(x), full_matrices=False)
    span = span[:, s > 1e-10 * s[0]]
    check(found, (span @ (span.T @ dense(z).reshape(-1))).reshape(x.shape), 1e-9)
    again = htt.project(x, found)
    check(htt.tangent(x, again), dense(found), 1e-9)


def test_a_tangent_vector_is_the_derivative():
    x, z = points()
    directions = htt.project(x, z)
    _, expected = jax.jvp(lambda t: t.to_dense(), (x,), (directions,))
    check(htt.tangent(x, directions), expected)


def test_retraction_is_right_to_first_order():
    x, z = points()
    directions = htt.project(x, z)
    errors = []
    for step in (1e-2, 1e-3):
        moved = htt.retract(x, jax.tree.map(lambda d, s=step: s * d, directions))
        assert moved.ranks == x.ranks
        linear = dense(x) + step * dense(htt.tangent(x, directions))
        errors.append(np.linalg.norm(dense(moved) - linear))
    assert errors[1] < errors[0] / 50


@pytest.mark.slow
def test_an_optax_optimiser_on_the_manifold():
    x, target = points()[0], points()[0] * 1.5
    target = htt.truncate(target + 0.1 * points()[1], max_rank=2)
    optimizer = htt.riemannian(optax.chain(optax.trace(0.3), optax.scale(-0.5)))
    state = optimizer.init(x)

    def loss(t):
        return htt.distance(t, target) ** 2 / 2

    @jax.jit
    def step(x, state):
        value, slope = jax.value_and_grad(lambda t: htt.inner(t, t) / 2 - htt.inner(t, target))(x)
        updates, state = optimizer.update(slope, state, x)
        return optax.apply_updates(x, updates), state, value

    first = float(loss(x))
    for _ in range(40):
        x, state, _ = step(x, state)
    assert float(loss(x)) < 1e-6 * first
    frame = x.cores["leaf_1"]
    check(frame.T @ frame, np.eye(2))
    with pytest.raises(ValueError, match="HTTensor"):
        optimizer.update(x, state, {"a": 1})


def test_completion_of_a_partly_observed_tensor():
    # 1 / (1 + sum x) on 12^4, a tenth of the entries known, checked on those that are not
    grid = jnp.linspace(0, 1, 12)
    full = 1 / (1 + sum(jnp.ix_(*[grid] * 4)))
    rng = np.random.default_rng(0)
    order = rng.permutation(full.size)
    known, hidden = order[: full.size // 10], order[full.size // 10 :]
    indices = jnp.stack(jnp.unravel_index(jnp.asarray(known), full.shape), -1)
    values = full.reshape(-1)[known]
    start = htt.random(jax.random.key(1), full.shape, 2)
    start = start * (jnp.linalg.norm(values) * np.sqrt(10) / htt.norm(start))
    found, misfit = htt.complete(start, indices, values, iterations=40)
    error = dense(found).reshape(-1)[hidden] - np.asarray(full).reshape(-1)[hidden]
    assert misfit[-1] < 2e-3
    assert np.linalg.norm(error) < 4e-3 * np.linalg.norm(np.asarray(full).reshape(-1)[hidden])
    assert misfit[-1] < 0.05 * misfit[0]
    assert found.ranks == start.ranks
