"""Every format against its oracle: forward, gradients, counts, norm, slices, text form."""

import dataclasses
import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht
from tests.formats.table import ROWS

SLICES = [(0, 40), (41, 43), (0, 55), (54, 55)]
OTHER_TREES = ("ht_linear", "ht_swapped", "ht_single")
formats = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
marked = (
    pytest.param(row, marks=[pytest.mark.slow] if row.name in OTHER_TREES else []) for row in ROWS
)
few_trees = pytest.mark.parametrize("row", [*marked], ids=lambda row: row.name)
gated = pytest.mark.parametrize("gates", [pytest.param(1, marks=pytest.mark.slow), 4])
pytestmark = pytest.mark.filterwarnings("ignore::ht_jax.RankWarning")


def made_row(row, gates):
    """The row with gates."""
    return dataclasses.replace(row, fmt=row.fmt.with_gates(gates)) if gates > 1 else row


@functools.cache
def made(row, gates):
    """The row with gates, a float64 weight of it, its oracle kernel and some inputs."""
    key, row = jax.random.key(0), made_row(row, gates)
    weight = row.fmt.init(key, jnp.float64)
    x = jax.random.normal(jax.random.fold_in(key, 1), (7, row.fmt.in_features), jnp.float64)
    return weight, row.kernel(weight.cores), x


apply = jax.jit(ht.apply)
to_dense = jax.jit(ht.Weight.to_dense)


def close(a, b, rtol=1e-10):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.linalg.norm(a - b) <= rtol * np.linalg.norm(b)


@formats
@gated
def test_forward_equals_the_dense_product(row, gates):
    weight, kernel, x = made(row, gates)
    assert close(to_dense(weight), kernel)
    assert close(apply(weight, x), np.asarray(x) @ kernel)


@formats
def test_gradients_equal_those_of_the_dense_product(row):
    weight, kernel, x = made(row, 4)
    target = np.random.default_rng(0).normal(size=(7, weight.format.out_features))
    gradient = jax.jit(jax.grad(lambda w, x: jnp.vdot(ht.apply(w, x), target), (0, 1)))
    cores, inputs = gradient(weight, x)
    assert close(inputs, target @ kernel.T)
    # The kernel is linear in each core: move one core, and the product moves by the gradient.
    for name, core in weight.cores.items():
        towards = np.random.default_rng(1).normal(size=core.shape)
        moved = made_row(row, 4).kernel({**weight.cores, name: towards})
        assert np.vdot(cores.cores[name], towards) == pytest.approx(np.vdot(x @ moved, target))


@pytest.mark.slow
@formats
def test_gradient_of_gradient_equals_that_of_the_dense_product(row):
    weight, _, x = made(row, 1)

    def loss(product):
        return lambda w: jnp.sum(jnp.sin(product(w)))

    def curvature(f):  # the gradient of half the squared gradient, which needs all of the Hessian
        def squares(w):
            return sum(jnp.vdot(g, g) for g in jax.tree.leaves(jax.grad(f)(w)))

        return jax.jit(jax.grad(squares))(weight)

    planned, dense = loss(lambda w: ht.apply(w, x)), loss(lambda w: x @ w.to_dense())
    for a, b in zip(jax.tree.leaves(curvature(planned)), jax.tree.leaves(curvature(dense))):
        assert close(a, b, 1e-9)


@few_trees
@pytest.mark.parametrize("dtype", [pytest.param(jnp.float32, marks=pytest.mark.slow), jnp.bfloat16])
def test_dtype_is_kept(row, dtype):
    weight, _, x = made(row, 4)
    weight, x = weight.astype(dtype), x.astype(dtype)
    y = apply(weight, x)
    assert y.dtype == dtype
    wanted = np.asarray(x, np.float64) @ made_row(row, 4).kernel(weight.cores)
    assert close(y, wanted, 20 * float(jnp.finfo(dtype).eps))


@few_trees
def test_vmap_over_weights_equals_the_loop(row):
    weight, kernel, x = made(row, 4)
    weights = jax.tree.map(lambda core: jnp.stack([core, 2 * core]), weight)
    together = jax.jit(jax.vmap(ht.apply, (0, None)))(weights, x)
    assert close(together[0], x @ kernel)
    assert close(together[1], x @ kernel * 2 ** len(weight.cores))


@formats
@gated
def test_parameters_are_counted(row, gates):
    weight, _, _ = made(row, gates)
    count = sum(core.size for core in weight.cores.values())
    assert weight.format.num_params == count
    ratio = weight.format.in_features * weight.format.out_features / count
    assert weight.format.compression_ratio == pytest.approx(ratio)


@few_trees
def test_initial_norm_is_that_of_a_dense_layer_for_every_seed(row):
    fmt = row.fmt.with_gates(4)
    weights = jax.vmap(fmt.init)(jax.random.split(jax.random.key(1), 20))
    kernels = jax.vmap(ht.Weight.to_dense)(weights)
    squared = np.sum(np.square(kernels, dtype=np.float64), axis=(1, 2))
    np.testing.assert_allclose(squared, fmt.out_features, rtol=1e-5)


@formats
@pytest.mark.parametrize(
    "rows", [(10, 33), *(pytest.param(r, marks=pytest.mark.slow) for r in SLICES)]
)
def test_restriction_is_a_slice_of_the_kernel(row, rows):
    weight, kernel, x = made(row, 4)
    part = weight.restrict(*rows)
    assert close(apply(part, x[:, slice(*rows)]), x[:, slice(*rows)] @ kernel[slice(*rows)])


def test_a_single_row_is_a_slice_of_one_slab():
    row = next(row for row in ROWS if row.name == "ht_padded")
    weight, kernel, x = made(row, 4)
    part = weight.restrict(54, 55)
    assert part.format.in_modes == (1, 1, 1)
    assert close(apply(part, x[:, 54:]), x[:, 54:] @ kernel[54:])


@pytest.mark.slow
@formats
def test_restriction_of_a_restriction(row):
    weight, kernel, _ = made(row, 1)
    assert close(to_dense(weight.restrict(10, 40).restrict(5, 9)), kernel[15:19])


@formats
@gated
def test_text_form_reads_back(row, gates):
    fmt = made_row(row, gates).fmt
    assert ht.parse_format(repr(fmt)) == fmt
    assert hash(ht.parse_format(repr(fmt))) == hash(fmt)


@formats
@pytest.mark.parametrize("shape", [(0,), (2, 3), ()])
def test_batch_axes(row, shape):
    weight, kernel, _ = made(row, 4)
    x = np.ones((*shape, row.fmt.in_features))
    y = apply(weight, x)
    assert y.shape == (*shape, weight.format.out_features)
    assert close(y, x @ kernel)


@pytest.mark.parametrize(
    ("in_modes", "leaf_rank", "rank", "gates", "published"),
    [
        ((8, 10, 10, 9, 8), 4, 5, 4, 1245),
        ((8, 10, 10, 9, 8), 3, 3, 4, 810),
        ((9, 10, 10, 9, 8), 4, 5, 4, 1309),
    ],
)
def test_published_sizes(in_modes, leaf_rank, rank, gates, published):
    fmt = ht.HT(in_modes, (4, 4, 2, 4, 2), leaf_rank=leaf_rank, rank=rank)
    assert fmt.with_gates(gates).num_params == published


def test_published_fdht_candidate():
    fmt = ht.HT((16, 16, 16), (8, 16, 16), leaf_rank=3, rank=5).with_gates(4)
    assert fmt.num_params == 3132


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ht.HT((8, 10), (4, 4), rank=0), "rank .*0.* at least 1"),
        (lambda: ht.HT((8, 10), (4, 4), rank=2, leaf_rank=-1), "leaf_rank .*-1"),
        (lambda: ht.HT((8, 10), (4,), rank=2), "fill up with modes of 1"),
        (lambda: ht.HT((8, 0), (4, 4), rank=2), r"in_modes \(8, 0\)"),
        (lambda: ht.HT((8, 2.5), (4, 4), rank=2), r"in_modes \(8, 2.5\)"),
        (lambda: ht.HT((8, 10, 10), (4, 4, 2), rank=2, in_features=57600), "multiply to 800"),
        (lambda: ht.HT((8, 10), (4, 4), rank=2, tree=((0, 1), 2)), "3 leaves"),
        (lambda: ht.HT((8, 10), (4, 4), rank=2, tree=(0, 0)), "exactly once"),
        (lambda: ht.HT((8, 10), (4, 4), rank=2, tree="balanced"), "pair"),
        (lambda: ht.HT((8, 10, 2), (4, 4, 2), rank=2, leaf_rank=(1, 2)), "2 ranks for 3 leaves"),
        (lambda: ht.HT((8, 10), (4, 4), rank=2).with_gates(0), "gates"),
        (lambda: ht.HT((8, 10), (4, 4), rank=2).restrict(3, 81), r"\[3, 81\)"),
        (lambda: ht.HT((8, 10), (4, 4), rank=2, in_features=0), "in_features 0"),
        (lambda: ht.HT((8, 10), (4, 4), rank=2, gates=3), "do not divide into 3 gates"),
        (lambda: ht.HT((8, 10), (3, 4), rank=2, gates=2, out_features=9), "into 2 gates"),
        (lambda: ht.HT((8, 10), (4, 4), rank=2, gates=0), "gates 0"),
        (lambda: ht.HT((8, 10), (4, 4), rank=2).with_gates(2).sized(70, 30), "has gates"),
        (lambda: ht.Dense(4, 4, gates=-1), "gates -1"),
        (lambda: ht.Dense(0, 3), "in_features"),
        (lambda: ht.parse_format("HT(__import__('os'))"), "does not describe"),
        (lambda: ht.parse_format("Hankel(in_modes=(1,))"), "not a format"),
        (lambda: ht.parse_format("HT(in_modes=(4,), out_modes=(4,), size=3)"), "does not fit"),
    ],
)
def test_bad_input_is_named(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_overfull_rank_is_clipped_and_told_once():
    with pytest.warns(ht.RankWarning, match="rank of leaf_1 is 9 .* clipped to 6"):
        fmt = ht.HT((8, 3), (4, 2), rank=9)
    assert fmt.ranks["leaf_1"] == 6
    assert fmt.with_gates(4).num_params == 8 * 16 * 9 + 3 * 2 * 6 + 9 * 6


def test_a_cell_does_not_tell_of_the_rank_again():
    with pytest.warns(ht.RankWarning):
        fmt = ht.HT((8, 3), (4, 2), rank=9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ht.nn.LSTMCell(23, 7, input=fmt, rngs=nnx.Rngs(0))


def test_numpy_integers_are_as_good_as_ints():
    fmt = ht.HT(np.array([8, 3]), (4, 2), rank=np.int64(2), in_features=np.int64(23))
    assert repr(fmt) == "HT(in_modes=(8, 3), out_modes=(4, 2), in_features=23, rank=2)"
    assert repr(ht.Dense(np.int64(3), 4)) == "Dense(in_features=3, out_features=4)"


def test_the_schedule_of_another_network_is_refused(key):
    other = ht.plan(ht.HT((8, 3), (4, 2), rank=1), batch=2)
    with pytest.raises(ValueError, match="another network"):
        ht.apply(ht.HT((8, 3), (4, 2), rank=2).init(key), jnp.ones((2, 24)), schedule=other)


def test_wrong_input_width_is_named(key):
    weight = ht.HT((8, 3), (4, 2), rank=2).init(key)
    with pytest.raises(ValueError, match=r"\(2, 23\).*in_features 24"):
        ht.apply(weight, jnp.ones((2, 23)))
