"""The steps against what NumPy and Optax say by themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ht_jax.train import OptimizerConfig
from ht_jax.train.optimizer import make_optimizer, make_schedule
from ht_jax.train.step import init_state, make_eval_step, make_train_step, split_model


@pytest.fixture
def setting(toy, tmp_path):
    config = toy.make_config(tmp_path)
    task = toy.make_task(config, dropout=0.5)
    apply, params = split_model(task.model)
    return config, task, apply, params


def test_eval_step_counts_only_what_the_mask_keeps(setting):
    _, task, apply, params = setting
    batch = list(task.eval_batches("test"))[-1]
    sums = jax.jit(make_eval_step(apply))(params, batch)
    kept = {name: x[batch["mask"]] for name, x in batch.items()}
    logits = np.asarray(apply(params, kept["frames"]))
    hits = (logits.argmax(-1) == kept["label"]).sum()
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(logits)), kept["label"]]
    assert 0 < len(logits) < len(batch["mask"])
    assert np.trace(sums["confusion"]) == hits
    assert np.sum(sums["confusion"]) == len(logits)
    np.testing.assert_allclose(sums["loss"], losses.sum(), rtol=1e-5)


def test_dropout_draws_by_seed_and_step_alone(setting):
    config, task, apply, params = setting
    optimizer = make_optimizer(config.optimizer, config.steps)
    step = jax.jit(make_train_step(apply, optimizer, config.seed))
    state, batch = init_state(params, optimizer), next(task.train_batches(0))
    loss = float(step(state, batch)[1]["loss"])
    later = {**state, "step": state["step"] + 1}
    assert float(step(state, batch)[1]["loss"]) == loss
    assert float(step(later, batch)[1]["loss"]) != loss


def test_grad_norm_is_measured_before_clipping(setting):
    _, task, apply, params = setting
    batch = next(task.train_batches(0))
    clipped = optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(1.0))
    state = init_state(params, clipped)
    new, metrics = jax.jit(make_train_step(apply, clipped, 0))(state, batch)
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, new["params"], params))
    assert float(moved) == pytest.approx(1e-3, rel=1e-4)
    assert metrics["grad_norm"] > 1e-2


def test_bfloat16_computes_low_but_learns_in_float32(toy, tmp_path):
    model = nnx.Linear(32, 3, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(model)
    tx, batch = optax.sgd(0.1), next(toy.make_task(toy.make_config(tmp_path)).train_batches(0))

    def apply(params, frames, key=None):
        return nnx.merge(graphdef, params)(frames.reshape(8, -1) / 255)

    state = init_state(nnx.to_pure_dict(params), tx)
    state, metrics = jax.jit(make_train_step(apply, tx, 0))(state, batch)
    assert metrics["loss"].dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(state["params"])} == {jnp.dtype("float32")}


@pytest.mark.parametrize(("kind", "last"), [("cosine", 0.0), ("constant", 0.5)])
def test_schedule_warms_up_then_takes_its_course(kind, last):
    schedule = make_schedule(OptimizerConfig(0.5, warmup_steps=4, schedule=kind), 20)
    rates = [float(schedule(step)) for step in range(21)]
    assert 0 < rates[0] < rates[1] < rates[4] == 0.5
    assert rates[20] == pytest.approx(last, abs=1e-6)


def test_warmup_takes_at_most_half_of_the_run():
    schedule = make_schedule(OptimizerConfig(0.5, warmup_steps=50), 10)
    assert float(schedule(5)) == 0.5
