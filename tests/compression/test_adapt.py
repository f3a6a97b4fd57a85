"""Rank adaptation: as many numbers, the same matrix where it only grew, ranks where they serve."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import ht_jax as ht
from ht_jax.compression.adapt import adapt, adapted, as_tensor, grown
from ht_jax.compression.paths import as_weight
from ht_jax.compression.whiten import Whitener

FORMAT = ht.HT((6, 5, 6), (4, 4, 4), leaf_rank=(3, 3, 3), rank=(4,))


def uneven():
    """A matrix whose first leaf needs rank 1 only, held with rank 3."""
    weight = FORMAT.init(jax.random.key(0))
    small = weight.cores["leaf_0"] * jnp.array([1.0, 1e-4, 1e-5], "float32")
    return ht.Weight({**weight.cores, "leaf_0": small}, FORMAT)


def test_ranks_that_serve_nothing_are_given_up():
    before = uneven()
    after = adapt(before, jax.random.key(1))
    assert after.format.num_params <= FORMAT.num_params
    assert after.format.ranks["leaf_0"] < 3
    norm = jnp.linalg.norm(before.to_dense())
    assert jnp.linalg.norm(after.to_dense() - before.to_dense()) < 1e-2 * norm


def test_ranks_whose_singular_values_press_grow():
    before = FORMAT.init(jax.random.key(0))
    after = adapt(before, jax.random.key(1), numbers=2 * FORMAT.num_params)
    assert FORMAT.num_params < after.format.num_params <= 2 * FORMAT.num_params
    np.testing.assert_allclose(after.to_dense(), before.to_dense(), atol=1e-5)


def test_growth_keeps_the_matrix_and_feeds_the_new_numbers():
    weight = FORMAT.init(jax.random.key(0))
    ranks = {name: rank + 2 for name, rank in FORMAT.ranks.items()}
    after = as_weight(grown(as_tensor(weight), ranks, jax.random.key(1)), FORMAT)
    assert after.format.ranks == ranks
    np.testing.assert_allclose(after.to_dense(), weight.to_dense(), atol=1e-5)
    x = jax.random.normal(jax.random.key(2), (7, 180))
    gradients = jax.grad(lambda w: jnp.sum(jnp.sin(ht.apply(w, x))))(after).cores
    assert jnp.all(jnp.linalg.norm(gradients["node_0_2"], axis=0)[-2:] > 0)


def test_whitened_ranks_fall_where_inputs_do_not_go():
    fmt, spread = (
        ht.HT((12, 10), (1, 6), rank=6),
        [np.diag(np.geomspace(1, 1e-3, n)) for n in (12, 10)],
    )
    weight, whitener = fmt.init(jax.random.key(3)), Whitener((12, 10), tuple(spread), None, 2.0)
    white, key = whitener.whitened_weight(weight), jax.random.key(1)
    np.testing.assert_allclose(
        whitener.coloured(white).to_dense(), weight.to_dense(), rtol=1e-3, atol=1e-5
    )
    x = jnp.asarray(np.random.default_rng(0).normal(size=(50, 120)) @ np.kron(*spread), "float32")
    half, exact = fmt.num_params // 2, x @ weight.to_dense()
    aware, plain = whitener.coloured(adapt(white, key, half)), adapt(weight, key, half)
    errors = [float(jnp.linalg.norm(x @ w.to_dense() - exact)) for w in (aware, plain)]
    assert errors[0] < 0.5 * errors[1]


def test_a_model_is_adapted_in_the_coordinates_of_each_matrix():
    layer = ht.nn.TensorDense(FORMAT, rngs=nnx.Rngs(0))
    eyes = tuple(3.0 * np.eye(n) for n in FORMAT.in_modes)
    whitener = Whitener(FORMAT.in_modes, eyes, None, 0.5)
    same, plain = (
        adapted(layer, jax.random.key(0), w).weight.to_dense() for w in ({"": whitener}, None)
    )
    np.testing.assert_allclose(same, plain, atol=1e-5)
