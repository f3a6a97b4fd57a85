"""Lowering: tiles, integers and prepared weights change what is computed when, never what."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht
from ht_jax import schedule as schedules

FMT = ht.HT((4, 5, 3), (2, 3, 4), rank=3, in_features=55)
RING = ht.BT((4, 15), (6, 4), rank=2, terms=2)
ROWS = 30


def values_and_gradients(fmt, x, **options):
    weight = fmt.init(jax.random.key(0), jnp.float64)

    def loss(cores):
        y = ht.apply(ht.Weight(cores, fmt), x, **options)
        return jnp.sum(jnp.sin(y)), y

    (_, y), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(weight.cores)
    return y, gradients


def dense_values_and_gradients(fmt, x):
    weight = fmt.init(jax.random.key(0), jnp.float64)

    def loss(cores):
        y = x @ ht.Weight(cores, fmt).to_dense()
        return jnp.sum(jnp.sin(y)), y

    (_, y), gradients = jax.value_and_grad(loss, has_aux=True)(weight.cores)
    return y, gradients


def assert_close(ours, wanted, rtol):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(wanted), strict=True):
        error = np.linalg.norm(a - b) / np.linalg.norm(b)
        assert error < rtol, error


@pytest.mark.parametrize("fmt", [FMT, RING], ids=["padded", "terms"])
@pytest.mark.parametrize(("tile", "remat"), [(1, False), (12, True)])
def test_tiles_of_floats(fmt, tile, remat):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(ROWS, fmt.in_features)))
    schedule = dataclasses.replace(ht.plan(fmt, ROWS, dtype="float64"), tile=tile, remat=remat)
    ours = values_and_gradients(fmt, x, schedule=schedule)
    assert_close(ours, dense_values_and_gradients(fmt, x), 1e-12)


@pytest.mark.parametrize(("tile", "offset"), [(0, -1.99), (7, -0.5)])
@pytest.mark.parametrize(
    ("arithmetic", "rtol"), [("float", 1e-12), ("split", 2e-5), ("bfloat16", 2e-2)]
)
def test_integers_are_read_as_their_floats(arithmetic, rtol, offset, tile):
    frames = np.random.default_rng(0).integers(0, 256, (ROWS, FMT.in_features), np.uint8)
    reading = ht.Reading(1 / 64, offset, arithmetic)
    schedule = ht.plan(FMT, ROWS, dtype="float64", arithmetic=arithmetic)
    schedule = dataclasses.replace(schedule, tile=tile)
    ours = values_and_gradients(FMT, jnp.asarray(frames), reading=reading, schedule=schedule)
    assert_close(ours, dense_values_and_gradients(FMT, frames / 64 + offset), rtol)


@pytest.mark.parametrize(("offset", "shift"), [(0.0, 0), (-1.99, 127), (-9.0, 255), (3.0, 0)])
def test_what_is_read_as_zero_is_subtracted_from_bytes(offset, shift):
    """So that sums of large numbers of one sign do not cancel; what is left is a constant row."""
    load = ht.Reading(1 / 64, offset, "bfloat16").of(jnp.uint8, jnp.float32)
    assert load.shift == shift
    np.testing.assert_allclose((load.rest - load.shift) / 64, offset, atol=1e-12)


def test_integers_of_two_bytes_are_read_exactly():
    frames = np.random.default_rng(0).integers(0, 60_000, (ROWS, FMT.in_features), np.uint16)
    ours = values_and_gradients(FMT, jnp.asarray(frames), reading=ht.Reading(1e-4))
    assert_close(ours, dense_values_and_gradients(FMT, frames * 1e-4), 1e-12)


def test_bytes_meet_bfloat16_cores_without_rounding(key):
    """Sums are float32: the error is that of the cores, which are compared as they are."""
    fmt = ht.Dense(300, 8)
    weight = fmt.init(key, jnp.bfloat16)
    frames = np.random.default_rng(0).integers(0, 256, (4, 300), np.uint8)
    wanted = frames.astype(np.float64) @ np.asarray(weight.cores["kernel"], np.float64)
    got = np.asarray(ht.apply(weight, jnp.asarray(frames)), np.float64)
    np.testing.assert_allclose(got, wanted, rtol=2**-8, atol=1e-2)


def test_second_gradients_of_split_products():
    """The rule of the exact product is differentiable again: compared with float arithmetic."""
    frames = jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 60), np.uint8))
    fmt = ht.LowRank(60, 24, rank=2)
    cores = fmt.init(jax.random.key(0), jnp.float32).cores

    def slope(cores, arithmetic):
        reading = ht.Reading(1 / 64, arithmetic=arithmetic)
        value = lambda c: jnp.sum(ht.apply(ht.Weight(c, fmt), frames, reading=reading) ** 2)  # noqa: E731
        return sum(jnp.sum(g**2) for g in jax.tree.leaves(jax.grad(value)(cores)))

    second = jax.jit(jax.grad(slope), static_argnums=1)
    ours, wanted = (second(cores, a) for a in ("split", "float"))
    assert_close(ours, wanted, 1e-4)


@pytest.mark.parametrize("arithmetic", ["split", "bfloat16"])
def test_integers_that_bfloat16_would_round_are_refused(arithmetic, key):
    weight = FMT.init(key)
    x = jnp.zeros((2, FMT.in_features), jnp.int32)
    with pytest.raises(ValueError, match="inputs of one byte, not int32"):
        ht.apply(weight, x, reading=ht.Reading(arithmetic=arithmetic))


def test_an_unknown_arithmetic_is_named():
    with pytest.raises(ValueError, match="'half' is not one of"):
        ht.Reading(arithmetic="half")


def test_a_scale_of_zero_is_refused():
    with pytest.raises(ValueError, match="would hide the input"):
        ht.Reading(0.0)


def test_no_gradient_of_the_input_is_computed_unless_asked_for():
    """The compiled step has no product as large as the input's gradient."""
    fmt = ht.HT((8, 10, 10), (4, 4, 4), rank=3)
    weight, x = fmt.init(jax.random.key(0)), jnp.ones((16, 800), jnp.float32)

    def flops(argnums):
        grad = jax.grad(lambda w, x: jnp.sum(jnp.sin(ht.apply(w, x))), argnums=argnums)
        return jax.jit(grad).lower(weight, x).compile().cost_analysis()["flops"]

    assert flops(0) < 0.8 * flops((0, 1))


def test_a_prepared_weight_is_the_weight(key):
    weight = FMT.init(key, jnp.float64)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, FMT.in_features)))
    prepared = weight.prepare(6)
    np.testing.assert_allclose(prepared(x), x @ weight.to_dense(), rtol=1e-12)
    assert set(prepared.merged) != set(weight.cores)


def test_memory_of_a_training_step_is_what_the_plan_says():
    """Temporary memory of the compiled step, without and with tiles, against the model."""
    fmt = ht.HT((8, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5).with_gates(4)
    cores = fmt.init(jax.random.key(0)).cores
    x = jax.ShapeDtypeStruct((96, fmt.in_features), jnp.float32)
    for tile, remat in ((0, False), (24, True)):
        schedule = dataclasses.replace(ht.plan(fmt, 96), tile=tile, remat=remat)
        schedule = schedules.price(schedule, schedules.device("cpu"))

        def step(cores, x, schedule=schedule):
            value = lambda c: jnp.sum(  # noqa: E731
                jnp.sin(ht.apply(ht.Weight(c, fmt), x, schedule=schedule))
            )
            return jax.grad(value)(cores)

        measured = jax.jit(step).lower(cores, x).compile().memory_analysis().temp_size_in_bytes
        assert 0.8 < schedule.peak_bytes / measured < 1.2, (tile, schedule.peak_bytes, measured)


def transposed(function, x):
    """The transpose of a linear function of one array."""
    return lambda y: jax.linear_transpose(function, x)(y)[0]


@pytest.mark.parametrize("fmt", [FMT, RING, FMT.restrict(7, 40)], ids=["padded", "terms", "rows"])
@pytest.mark.parametrize(("tile", "remat"), [(0, False), (12, False), (12, True)])
def test_the_transpose_in_the_input_is_the_product_with_the_transposed_kernel(
    fmt, tile, remat, key
):
    base = getattr(fmt, "base", fmt).init(key, jnp.float64)
    weight = base if base.format == fmt else base.restrict(fmt.start, fmt.stop)
    schedule = dataclasses.replace(ht.plan(fmt, ROWS, dtype="float64"), tile=tile, remat=remat)
    product, kernel = lambda x: ht.apply(weight, x, schedule=schedule), weight.to_dense()
    x, y = (jnp.ones((ROWS, n)).at[0].set(2) for n in kernel.shape)
    back = jax.jit(transposed(product, x))
    np.testing.assert_allclose(back(y), y @ kernel.T, atol=1e-12)
    np.testing.assert_allclose(jax.jvp(back, (y,), (2 * y,))[1], 2 * y @ kernel.T, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(back)(y[None])[0], y @ kernel.T, atol=1e-12)
    np.testing.assert_allclose(transposed(back, y)(x), x @ kernel, atol=1e-12)


@pytest.mark.parametrize("tile", [0, 12])
@pytest.mark.parametrize("name", ["leaf_0", "leaf_2", "node_0_1"])
def test_the_transpose_in_a_core_is_its_gradient(name, tile, key):
    weight = FMT.init(key, jnp.float64)
    schedule = dataclasses.replace(ht.plan(FMT, ROWS, dtype="float64"), tile=tile)
    x, y = (jnp.ones((ROWS, n)).at[0].set(2) for n in (FMT.in_features, FMT.out_features))

    def product(core):
        other = dataclasses.replace(weight, cores={**weight.cores, name: core})
        return ht.apply(other, x, schedule=schedule)

    gradient = jax.grad(lambda core: jnp.vdot(product(core), y))(weight.cores[name])
    np.testing.assert_allclose(transposed(product, weight.cores[name])(y), gradient, rtol=1e-10)


def test_layers_and_prepared_recurrences_have_transposes():
    fmt = ht.HT((4, 4), (4, 4), rank=2)
    options = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    cell = ht.nn.LSTMCell(16, 16, input=fmt, recurrent=fmt, **options)
    dense = ht.nn.TensorDense(fmt, use_bias=False, **options)
    embed = ht.nn.TensorEmbed(16, 16, fmt, **options)
    weights = cell.recurrent_weight(), cell.input_weight(), dense.weight
    kernels = [*(weight.to_dense() for weight in weights), embed.weight.to_dense().T]
    products = cell.recurrent_weight().prepare(3), cell.project, dense, embed.attend
    for product, kernel in zip(products, kernels, strict=True):
        y = jnp.ones((3, kernel.shape[1])).at[0].set(2)
        found = transposed(product, jnp.ones((3, 16)))(y)
        np.testing.assert_allclose(found, y @ kernel.T, atol=1e-12)


def test_a_transpose_in_integers_is_refused(key):
    weight = FMT.init(key, jnp.float64)
    x = jnp.ones((2, FMT.in_features), jnp.uint8)
    with pytest.raises(TypeError, match="linear_transpose only supports"):
        transposed(lambda x: ht.apply(weight, x), x)(jnp.ones((2, FMT.out_features)))
