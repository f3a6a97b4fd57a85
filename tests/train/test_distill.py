"""Distillation: what the batches carry and what the step makes of it."""

import jax
import numpy as np
import optax

from ht_jax.train.distill import distilled
from ht_jax.train.step import init_state, make_train_step, split_model


def test_batches_carry_the_logits_of_the_teacher(toy):
    config = toy.make_config()
    task, teacher = toy.make_task(config), toy.make_model(0.0, seed=7)
    batch = next(distilled(task, teacher).train_batches(3))
    plain = next(task.train_batches(3))
    np.testing.assert_array_equal(batch["frames"], plain["frames"])
    np.testing.assert_allclose(batch["teacher"], teacher(plain["frames"]), atol=1e-5)


def test_the_loss_is_the_cross_entropy_and_the_divergence_from_the_teacher(toy):
    task = toy.make_task(toy.make_config())
    apply, params = split_model(task.model)
    optimizer = optax.sgd(0.0)
    step = jax.jit(make_train_step(apply, optimizer, seed=0))
    batch = next(task.train_batches(0))
    logits = np.asarray(apply(params, batch["frames"]), float)
    teacher = np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)
    p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (teacher.astype(float), logits))
    divergence = np.mean(np.sum(p * np.log(p / q), axis=1))
    state = init_state(params, optimizer)
    losses = [step(state, b)[1]["loss"] for b in (batch, {**batch, "teacher": teacher})]
    np.testing.assert_allclose(losses[1] - losses[0], divergence, rtol=1e-4)
