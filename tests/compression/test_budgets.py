"""Budgets: kept in every unit, spent where the outputs feel it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht
from ht_jax.compression.report import output_error
from tests.compression.models import classifier, decaying, smooth_clips


@pytest.fixture(scope="module")
def model():
    return classifier()


@pytest.fixture(scope="module")
def calibration():
    return smooth_clips(0)


@pytest.mark.parametrize(
    ("unit", "limit"),
    [("bytes", 5000), *(pytest.param("params", n, marks=pytest.mark.slow) for n in (400, 3000))],
)
def test_a_budget_is_never_exceeded(model, calibration, unit, limit):
    after, report = ht.compress(model, budget={unit: limit}, calibration=calibration)
    state = jax.tree.leaves(nnx.state(after, nnx.Param))
    assert sum(a.size if unit == "params" else a.nbytes for a in state) <= limit
    assert report.params_after == sum(a.size for a in state)
    assert report.bytes_after == sum(a.nbytes for a in state)


@pytest.mark.slow
def test_a_latency_is_never_exceeded(model):
    _, report = ht.compress(model, budget={"latency": 1.5e-5})
    assert 0 < sum(row.latency_after for row in report.rows) <= 1.5e-5


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["input", "joint"])
def test_all_of_the_budget_gives_the_same_outputs(model, calibration, scope):
    after, report = ht.compress(model, budget=10**6, scope=scope, calibration=calibration)
    np.testing.assert_allclose(after(calibration[0]), model(calibration[0]), atol=1e-5)
    assert report.output_error < 1e-5


@pytest.mark.parametrize(
    "scope", [*(pytest.param(s, marks=pytest.mark.slow) for s in ("input", "all")), "joint"]
)
def test_joint_and_separate_matrices_are_replaced(model, calibration, scope):
    after, report = ht.compress(model, budget=1400, scope=scope, calibration=calibration)
    places = {row.name.split("/")[-1] for row in report.rows}
    expected = {"input": {"input"}, "all": {"input", "recurrent", "kernel"}}
    assert places == expected.get(scope, {"joint", "kernel"})
    assert (after.rnn.cell.joint is not None) == (scope == "joint")
    assert report.output_error < 0.5


@pytest.mark.slow
def test_calibration_lowers_the_error_of_outputs_for_other_data(model, calibration):
    others = [(batch,) for batch in smooth_clips(1)]
    aware, plain = (
        output_error(model, ht.compress(model, budget=1500, calibration=data)[0], others)
        for data in (calibration, None)
    )
    assert aware < 0.5 * plain


@pytest.mark.slow
def test_one_budget_beats_uniform_ranks(model, calibration):
    _, uniform = ht.compress(model, budget=1500, calibration=calibration, uniform=True)
    size = uniform.params_after
    _, ours = ht.compress(model, budget=size, calibration=calibration, formats=("ht",))
    assert ours.params_after <= size
    assert ours.output_error < uniform.output_error


@pytest.mark.slow
def test_the_expected_error_is_of_the_size_of_the_real_one(model, calibration):
    after, report = ht.compress(model, budget=2000, calibration=calibration)
    exact, near = (jnp.concatenate([m(x) for x in calibration]) for m in (model, after))
    measured = float(jnp.mean(jnp.sum((near - exact) ** 2, axis=1)))
    expected = sum(row.expected for row in report.rows)
    assert expected / 5 < measured < 5 * expected


def test_inputs_of_a_matrix_decide_what_is_kept():
    exact, keys = decaying(decay=0.95), jax.random.split(jax.random.key(0))
    seen = jnp.matmul(
        *(jax.random.normal(k, s, "float32") for k, s in zip(keys, ((64, 4), (4, 40))))
    )
    aware, plain = (
        jnp.linalg.norm(seen @ (weight.to_dense() - exact))
        for weight, _ in (ht.compress(exact, budget=256, calibration=d) for d in ([seen], None))
    )
    assert aware < 0.05 * plain


@pytest.mark.slow
def test_refinement_lowers_the_error_of_outputs(model, calibration):
    options = {"budget": 1000, "formats": ("ht",), "calibration": smooth_clips(2, count=64)}
    _, plain = ht.compress(model, **options)
    _, refined = ht.compress(model, refine=20, **options)
    assert refined.output_error < plain.output_error


def test_a_budget_that_stays_unused_is_told(monkeypatch):
    monkeypatch.setattr("ht_jax.compression.paths.LEAF", 2)
    monkeypatch.setattr("ht_jax.compression.paths.INNER", 2)
    exact = jax.random.normal(jax.random.key(0), (1100, 32), "float32")
    with pytest.warns(ht.RankWarning, match=r"stops at ranks of 2 .* 20,000 params stay unused"):
        ht.compress(exact, budget=20_000, formats=("ht",))
