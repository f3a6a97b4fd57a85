"""Training on the manifold of fixed ranks: frames stay orthonormal, other parameters learn too."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import ht_jax as ht
from ht_jax.compression.adapt import as_tensor
from ht_jax.compression.manifold import on_manifold, orthonormal

X = jax.random.normal(jax.random.key(0), (9, 180), "float32")


@pytest.fixture(scope="module")
def model():
    fmt = ht.HT((6, 5, 6), (4, 4, 4), leaf_rank=(3, 3, 3), rank=(4,))
    rngs = nnx.Rngs(0)
    layers = ht.nn.TensorDense(fmt, rngs=rngs), nnx.Linear(64, 2, rngs=rngs)
    return orthonormal(nnx.Sequential(*layers))


def trained(model, optimizer, steps):
    """The parameters after some steps towards 1, and the losses."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    params = nnx.to_pure_dict(params)

    def loss(params):
        return jnp.mean(jnp.square(nnx.merge(graph, params, rest)(X) - 1))

    @jax.jit
    def step(params, state):
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    state, losses = optimizer.init(params), []
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(steps):
            params, state, value = step(params, state)
            losses.append(float(value))
    return params, losses


def test_steps_learn_and_keep_frames_orthonormal(model):
    params, losses = trained(model, on_manifold(model, optax.adam(3e-2)), 40)
    assert losses[-1] < 0.1 * losses[0]
    before = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    assert np.any(params["layers"][1]["kernel"] != before["layers"][1]["kernel"])
    weight = ht.Weight(params["layers"][0]["cores"], model.layers[0].format)
    frame = as_tensor(weight).cores["leaf_1"]
    np.testing.assert_allclose(frame.T @ frame, np.eye(3), atol=1e-5)


def test_a_step_does_not_depend_on_how_the_matrix_is_cut(model):
    """A larger frame times a smaller transfer tensor is the same matrix, and moves alike."""
    layer = model.layers[0]
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0], "float32")
    turned = nnx.clone(model)
    cores = dict(layer.weight.cores)
    cores["leaf_2"] = cores["leaf_2"] @ turn
    node = next(name for name in layer.format.network().cores if name.startswith("node_0_2"))
    cores[node] = cores[node] @ turn
    turned.layers[0].hold(ht.Weight(cores, layer.format))
    np.testing.assert_allclose(
        turned.layers[0].weight.to_dense(), layer.weight.to_dense(), atol=1e-6
    )
    found = []
    for each in (model, turned):
        params, _ = trained(each, on_manifold(each, optax.sgd(0.1)), 3)
        found.append(ht.Weight(params["layers"][0]["cores"], layer.format).to_dense())
    np.testing.assert_allclose(*found, atol=1e-5)
