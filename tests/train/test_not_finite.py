"""Steps whose loss or gradient is not finite are skipped and counted; too many end the run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ht_jax.train import UserError, train
from ht_jax.train.checkpoint import Checkpoints
from ht_jax.train.step import init_state, make_train_step

OPTIMIZER = optax.adam(0.1)


def loss_is(params, frames, key=None):
    return params["w"] * frames  # logits; a frame of nan makes the loss nan


def batch_of(value):
    return {"frames": jnp.full((2, 3), value, jnp.float32), "label": jnp.array([0, 1], jnp.int32)}


@pytest.fixture(scope="module")
def step():
    return jax.jit(make_train_step(loss_is, OPTIMIZER, 0))


def test_bad_step_changes_only_the_counts(step):
    state = init_state({"w": jnp.arange(3.0, dtype=jnp.float32)}, OPTIMIZER)
    state, _ = step(state, batch_of(1.0))
    after, metrics = step(state, batch_of(float("nan")))
    for name in ("params", "opt_state"):
        jax.tree.map(np.testing.assert_array_equal, after[name], state[name])
    assert (int(after["step"]), int(after["skipped"]), int(metrics["skipped"])) == (2, 1, 1)


def test_good_step_starts_the_count_anew(step):
    state = init_state({"w": jnp.arange(3.0, dtype=jnp.float32)}, OPTIMIZER)
    for value, skipped in (("inf", 1), ("nan", 2), (1.0, 0)):
        state, _ = step(state, batch_of(float(value)))
        assert int(state["skipped"]) == skipped


def test_gradient_that_is_not_finite_is_skipped_though_the_loss_is():
    def apply(params, frames, key=None):
        return jnp.sqrt(params["w"]) * frames  # infinite slope at 0

    state = init_state({"w": jnp.zeros(3, jnp.float32)}, OPTIMIZER)
    state, metrics = make_train_step(apply, OPTIMIZER, 0)(state, batch_of(1.0))
    assert np.isfinite(metrics["loss"])
    assert int(state["skipped"]) == 1


@pytest.fixture
def broken(toy, tmp_path):
    changes = {"max_skipped": 2, "eval_every": 50}
    config = toy.make_config(tmp_path, quiet=True, **changes)
    task = toy.make_task(config)
    task.model.classifier.bias = nnx.Param(task.model.classifier.bias[...] * float("nan"))
    with pytest.raises(UserError) as caught:
        train(config, task)
    return config, task, str(caught.value)


def test_run_ends_and_leaves_state_and_batch_ids(toy, broken):
    config, task, message = broken
    assert "3 steps in a row were skipped, the last is step 3 with loss nan" in message
    report = json.loads((config.workdir / "not_finite" / "report.json").read_text())
    assert report["steps"] == [1, 2, 3]
    assert report["batch_ids"] == {str(step): task.train_ids(step) for step in (1, 2, 3)}
    with Checkpoints(config.workdir / "not_finite", read_only=True) as checkpoints:
        state, _ = checkpoints.restore(toy.init_state(config, task))
    assert np.isnan(state["params"]["classifier"]["bias"]).all()


def test_skipped_steps_are_recorded_as_json(broken):
    def refuse(name):
        raise ValueError(name)

    config, *_ = broken
    lines = (config.workdir / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [(each["loss"], each["skipped"]) for each in records] == [
        (None, 1),
        (None, 2),
        (None, 3),
    ]
