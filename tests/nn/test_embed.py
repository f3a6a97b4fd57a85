"""TensorEmbed against its own table, and against nnx.Embed's behaviour."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht

V, F = 97, 22  # both padded by the modes below
FORMATS = {
    "ht": ht.HT((5, 4, 5), (2, 3, 4), rank=3),
    "ht_linear": ht.HT((5, 4, 5), (2, 3, 4), rank=2, tree=(0, (1, 2))),
    "tt": ht.TT((5, 4, 5), (2, 3, 4), rank=3),
    "tr": ht.TR((10, 10), (2, 3, 4), rank=2),
    "bt": ht.BT((5, 4, 5), (2, 3, 4), rank=2, terms=2),
    "kcp": ht.KCP((10, 10), (4, 6), rank=2, terms=2),
    "cp": ht.CP((5, 4, 5), (4, 6), rank=3),
    "tucker": ht.Tucker((5, 4, 5), (4, 6), rank=2),
    "low_rank": ht.LowRank(V, F, rank=3),
    "dense": ht.Dense(V, F),
}
formats = pytest.mark.parametrize("name", FORMATS)


@functools.cache
def made(name):
    embed = ht.nn.TensorEmbed(V, F, FORMATS[name], param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    return embed, np.asarray(embed.weight.to_dense())


@functools.cache
def compared(name):
    """Rows, scores and gradients, through the cores and through the table: pairs to compare."""
    graph, params = nnx.split(made(name)[0])
    ids = jnp.array([[3, 3], [96, 0]])
    query = jax.random.normal(jax.random.key(1), (2, 3, F), jnp.float64)

    def rows_of(through_cores, params):
        embed = nnx.merge(graph, params)
        return embed(ids) if through_cores else embed.weight.to_dense()[ids]

    def loss(through_cores, params):
        return jnp.sum(jnp.sin(rows_of(through_cores, params)))

    def twice(through_cores, params):
        gradient = jax.grad(loss, argnums=1)(through_cores, params)
        return sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient))

    @jax.jit
    def run(params):
        embed = nnx.merge(graph, params)
        table = embed.weight.to_dense()
        return {
            "rows": (embed(jnp.arange(V)), table),
            "scores": (embed.attend(query), query @ table.T),
            "gradients": [jax.grad(loss, argnums=1)(way, params) for way in (True, False)],
            "second gradients": [jax.grad(twice, argnums=1)(way, params) for way in (True, False)],
        }

    return run(params)


@formats
@pytest.mark.parametrize("what", ["rows", "scores", "gradients", "second gradients"])
def test_as_through_the_table(name, what):
    found, expected = compared(name)[what]
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_shape_of_ids_is_kept():
    embed, table = made("ht")
    ids = np.array([[3, 96], [0, 3], [50, 4]], np.uint8)
    np.testing.assert_allclose(embed(jnp.asarray(ids)), table[ids], atol=1e-14)


def test_no_ids():
    assert made("ht")[0](jnp.zeros((0, 3), jnp.int32)).shape == (0, 3, F)


@pytest.mark.parametrize("ids", [[-1, -V], [V, -V - 1, 2**30]], ids=["negative", "out of range"])
def test_odd_ids_as_in_flax(ids):
    embed, table = made("tt")
    theirs = nnx.Embed(V, F, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    theirs.embedding[...] = jnp.asarray(table)
    np.testing.assert_allclose(embed(jnp.array(ids)), theirs(jnp.array(ids)), atol=1e-14)


def test_gradient_of_an_absent_id_is_zero():
    embed, _ = made("dense")
    grads = nnx.grad(lambda e: jnp.sum(e(jnp.array([3, 5, V]))))(embed)
    touched = np.flatnonzero(np.abs(grads["cores"]["kernel"][...]).sum(1))
    np.testing.assert_array_equal(touched, [3, 5])


def test_jit_looks_up_traced_ids():
    embed, table = made("kcp")
    found = nnx.jit(lambda e, ids: e(ids))(embed, jnp.array([7, 8]))
    np.testing.assert_allclose(found, table[[7, 8]], atol=1e-14)


@formats
def test_table_is_never_formed(name):
    if name == "dense":
        pytest.skip("the table is the core")
    embed, _ = made(name)
    graph, params = nnx.split(embed)
    text = jax.jit(lambda p, i: nnx.merge(graph, p)(i)).lower(params, jnp.array([3])).as_text()
    assert f"{V}x{F}" not in text
    assert "100x24" not in text


@formats
def test_initial_variance_is_that_of_flax(name):
    # The realised norm is set, so this holds for every draw.
    _, table = made(name)
    assert np.mean(table**2) == pytest.approx(1 / F)


def test_lookup_costs_less_than_a_row_times_the_table():
    embed, _ = made("tt")
    assert 0 < embed.lookup_flops < 2 * V * F


def test_dtype_is_that_of_the_vectors():
    embed = ht.nn.TensorEmbed(V, F, FORMATS["ht"], dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert embed(jnp.array([1])).dtype == jnp.bfloat16
    assert embed.attend(jnp.ones((1, F), jnp.float32)).dtype == jnp.bfloat16


def test_format_that_is_too_small():
    with pytest.raises(ValueError, match="below in_features 200"):
        ht.nn.TensorEmbed(200, F, FORMATS["ht"], rngs=nnx.Rngs(0))


def test_ids_must_be_integers():
    with pytest.raises(ValueError, match="float64: an embedding reads integers"):
        made("ht")[0](jnp.ones(3))


def test_query_of_the_wrong_length():
    with pytest.raises(ValueError, match=f"must be features {F}"):
        made("ht")[0].attend(jnp.ones((3, F + 1)))
