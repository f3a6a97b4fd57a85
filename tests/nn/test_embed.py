"""TensorEmbed against its own table, and against nnx.Embed's behaviour."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

import ht_jax as ht

V, F = 97, 22  # both padded by the modes below
QUERY = np.random.default_rng(1).normal(size=(2, 3, F))
FORMATS = {
    "ht": ht.HT((5, 4, 5), (2, 3, 4), rank=3),
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


def build(name, **options):
    return ht.nn.TensorEmbed(V, F, FORMATS[name], rngs=nnx.Rngs(0), **options)


@functools.cache
def made(name):
    """An embedding of random cores, and its table."""
    embed = nnx.eval_shape(lambda: build(name, param_dtype=jnp.float64))
    draw = np.random.default_rng(0)
    for core in embed.cores.values():
        core.set_value(jnp.asarray(draw.normal(size=core.shape)))
    return embed, np.asarray(jax.jit(ht.Weight.to_dense)(embed.weight))


@functools.cache
def found(name):
    """The rows of all ids, and the scores of queries."""
    graph, params = nnx.split(made(name)[0])

    @jax.jit
    def run(params, query):
        embed = nnx.merge(graph, params)
        return embed(jnp.arange(V)), embed.attend(query)

    return run(params, jnp.asarray(QUERY))


@formats
def test_rows_are_those_of_the_table(name):
    np.testing.assert_allclose(found(name)[0], made(name)[1], atol=1e-11)


@formats
def test_attend_multiplies_by_the_table(name):
    np.testing.assert_allclose(found(name)[1], QUERY @ made(name)[1].T, atol=1e-11)


@pytest.mark.parametrize("name", ["ht", "tr", "kcp"])
def test_gradients_are_those_through_the_table(name):
    graph, params = nnx.split(made(name)[0])
    ids = jnp.array([3, 3, 96])

    def loss(params, through_cores):
        embed = nnx.merge(graph, params)
        return jnp.sum(jnp.sin(embed(ids) if through_cores else embed.weight.to_dense()[ids]))

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    pairs = (jax.tree.leaves(gradient(params, way)) for way in (True, False))
    for a, b in zip(*pairs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)


def test_shape_of_ids_is_kept():
    embed, table = made("low_rank")
    ids = np.array([[3, 96], [0, 3], [50, 4]], np.uint8)
    np.testing.assert_allclose(embed(jnp.asarray(ids)), table[ids], atol=1e-12)


def test_no_ids():
    assert made("low_rank")[0](jnp.zeros((0, 3), jnp.int32)).shape == (0, 3, F)


@pytest.mark.parametrize("ids", [[-1, -V], [V, -V - 1, 2**30]], ids=["negative", "out of range"])
def test_odd_ids_as_in_flax(ids):
    embed, table = made("low_rank")
    theirs = nnx.Embed(V, F, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    theirs.embedding[...] = jnp.asarray(table)
    np.testing.assert_allclose(embed(jnp.array(ids)), theirs(jnp.array(ids)), atol=1e-12)


def test_second_gradients():
    graph, params = nnx.split(made("low_rank")[0])
    check_grads(lambda p: nnx.merge(graph, p)(jnp.array([3, 3, 96])), (params,), 2, modes=["rev"])


def test_gradient_of_an_absent_id_is_zero():
    embed, _ = made("dense")
    grads = nnx.grad(lambda e: jnp.sum(e(jnp.array([3, 5, V]))))(embed)
    touched = np.flatnonzero(np.abs(grads["cores"]["kernel"][...]).sum(1))
    np.testing.assert_array_equal(touched, [3, 5])


def test_jit_looks_up_traced_ids():
    embed, table = made("low_rank")
    found = nnx.jit(lambda e, ids: e(ids))(embed, jnp.array([7, 8]))
    np.testing.assert_allclose(found, table[[7, 8]], atol=1e-12)


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"dense"}))  # there it is the core
def test_table_is_never_formed(name):
    embed, _ = made(name)
    graph, params = nnx.split(embed)
    text = jax.jit(lambda p, i: nnx.merge(graph, p)(i)).lower(params, jnp.array([3])).as_text()
    assert f"{V}x{F}" not in text
    assert "100x24" not in text


def test_initial_variance_is_that_of_flax():
    # The realised norm is set, so this holds for every draw.
    table = build("ht", param_dtype=jnp.float64).weight.to_dense()
    assert float(jnp.mean(jnp.square(table))) == pytest.approx(1 / F)


def test_lookup_costs_less_than_a_row_times_the_table():
    embed, _ = made("tt")
    assert 0 < embed.lookup_flops < 2 * V * F


def test_dtype_is_that_of_the_vectors():
    def run():
        embed = build("ht", dtype=jnp.bfloat16)
        return embed(jnp.array([1])), embed.attend(jnp.ones((1, F), jnp.float32))

    assert [found.dtype for found in jax.eval_shape(run)] == [jnp.bfloat16] * 2


def test_format_that_is_too_small():
    with pytest.raises(ValueError, match="below in_features 200"):
        ht.nn.TensorEmbed(200, F, FORMATS["ht"], rngs=nnx.Rngs(0))


def test_ids_must_be_integers():
    with pytest.raises(ValueError, match="float64: an embedding reads integers"):
        made("ht")[0](jnp.ones(3))


def test_query_of_the_wrong_length():
    with pytest.raises(ValueError, match=f"must be features {F}"):
        made("ht")[0].attend(jnp.ones((3, F + 1)))
