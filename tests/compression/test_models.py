"""Models of every kind within a budget: compressed, shared, frozen, of Flax, of half precision."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht

SQUARE = ht.HT((4, 4), (4, 4), rank=2)
JOINT = ht.HT((8, 4), (4, 4), rank=3)


class Shared(nnx.Module):
    def __init__(self, rngs):
        self.a = self.b = nnx.Linear(16, 16, rngs=rngs)
        self.tied = nnx.Linear(16, 16, rngs=rngs)
        self.tied.kernel = self.a.kernel
        self.norm = nnx.LayerNorm(16, rngs=rngs)
        self.embed = ht.nn.TensorEmbed(16, 16, SQUARE, rngs=rngs)

    def __call__(self, x):
        return self.tied(self.norm(self.b(self.a(x))))


def lstm(**formats):
    return ht.nn.RNN(ht.nn.LSTMCell(16, 16, **formats, rngs=nnx.Rngs(0)))


MODELS = {
    "compressed": lambda: lstm(input=SQUARE, recurrent=SQUARE),
    "joint": lambda: lstm(joint=JOINT),
    "half compressed": lambda: lstm(input=SQUARE),
    "wide": lambda: lstm(input=ht.HT((4, 4), (4, 4), rank=16)),
    "frozen": lambda: ht.nn.RNN(ht.nn.freeze(lstm(input=SQUARE).cell)),
    "flax GRU": lambda: nnx.RNN(nnx.GRUCell(16, 16, rngs=nnx.Rngs(0))),
    "bidirectional": lambda: ht.nn.Bidirectional(lstm(recurrent=SQUARE), lstm(joint=JOINT)),
    "dense layer": lambda: ht.nn.TensorDense(SQUARE, rngs=nnx.Rngs(0)),
    "shared": lambda: Shared(nnx.Rngs(0)),
}


def count(model):
    return sum(param.size for param in jax.tree.leaves(nnx.state(model, nnx.Param)))


@pytest.mark.filterwarnings("ignore::ht_jax.RankWarning")
@pytest.mark.parametrize("scope", ["all", "joint"])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_budget_is_kept_or_the_least_is_named(make, scope):
    model = make()
    found = ht.compression.frontier(model, scope=scope)
    with pytest.raises(ValueError, match="is below the") as error:
        found.within(1)
    least = int(str(error.value).split("below the ")[1].split()[0].replace(",", ""))
    assert least <= count(model) + 48  # a GRU of this package has a bias more
    for budget in (least, (least + count(model)) // 2, 10 * count(model)):
        if budget >= least:
            after, report = found.within(budget)
            assert count(after) == report.params_after <= budget
    with pytest.raises(ValueError, match=f"is below the {least:,} of the smallest"):
        found.within(least - 1)


@pytest.mark.parametrize("make", [MODELS["compressed"], MODELS["joint"], MODELS["wide"]])
@pytest.mark.parametrize("options", [{"tol": 1e-3}, {"budget": 10**6}])
def test_compressing_a_compressed_model_never_enlarges_it(make, options):
    model, x = make(), jax.random.normal(jax.random.key(1), (2, 3, 16), "float32")
    after, report = ht.compress(model, **options)
    assert report.params_before == count(model)
    assert count(after) <= count(model)
    np.testing.assert_allclose(after(x), model(x), atol=1e-3)


def test_a_frozen_cell_is_compressed_with_its_effect():
    frozen = MODELS["frozen"]()
    x = jax.random.normal(jax.random.key(1), (2, 3, 16), "float32")
    after, report = ht.compress(frozen, budget=900, calibration=[x])
    assert count(after) <= 900
    assert report.output_error > 0


def test_what_stays_has_a_row_for_each_of_its_parts():
    _, report = ht.compress(MODELS["compressed"](), budget=10**6, scope="joint")
    assert [row.name for row in report.rows] == ["cell/input", "cell/recurrent"]
    assert [row.format for row in report.rows] == [SQUARE.with_gates(4)] * 2


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "options",
    [
        {"tol": 0.3},
        {"budget": 1500},
        {"budget": {"bytes": 3000}},
        {"budget": 1500, "calibration": True, "refine": 2},
        {"budget": 1500, "calibration": True, "scope": "joint"},
    ],
    ids=["tol", "params", "bytes", "calibration", "joint"],
)
@pytest.mark.parametrize("make", [ht.nn.LSTMCell, nnx.OptimizedLSTMCell])
def test_half_precision_is_compressed_as_float32(make, options, dtype):
    rnn = {ht.nn.LSTMCell: ht.nn.RNN, nnx.OptimizedLSTMCell: nnx.RNN}[make]
    wide = rnn(make(24, 16, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(wide)
    narrow = jax.tree.map(
        lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, state
    )
    half = nnx.merge(graph, narrow)
    x = 30 * jax.random.normal(jax.random.key(1), (2, 30, 24), "float32")
    options = dict(options)
    if options.pop("calibration", None):
        options["calibration"] = [x]
    with warnings.catch_warnings(), jax.numpy_dtype_promotion("standard"):
        warnings.simplefilter("ignore", ht.RankWarning)
        after, report = ht.compress(half, **options)
        _, wanted = ht.compress(wide, **options)
    assert {a.dtype.name for a in jax.tree.leaves(nnx.state(after, nnx.Param))} == {dtype}
    unit = 2 if "bytes" in str(options) else 1
    assert report.params_after <= 1500 or "tol" in options
    for ours, theirs in zip(report.rows, wanted.rows, strict=True):
        assert unit == 2 or ours.error == pytest.approx(theirs.error, abs=0.05)
        assert "tol" not in options or ours.error <= options["tol"]


def test_half_precision_arrays_of_any_size_stay_finite():
    kernel = jnp.full((200, 160), 60_000, jnp.float16)  # its norm is beyond float16
    weight, report = ht.compress(kernel, tol=1e-2)
    assert weight.cores["u"].dtype == jnp.float16
    assert report.rows[0].params_after == 360


@pytest.mark.parametrize("budget", [np.int64(500), np.float32(500)])
def test_a_budget_may_be_a_numpy_number(budget):
    assert ht.compress(jnp.ones((48, 16)), budget=budget)[1].params_after <= 500
