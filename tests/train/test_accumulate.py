"""A batch taken in parts gives the step of the whole batch, to rounding."""

import jax
import numpy as np
import optax
import pytest

from ht_jax.train.accumulate import accumulated
from ht_jax.train.step import init_state, make_train_step


def logits(params, frames, key=None):
    return frames.astype(np.float32).reshape(len(frames), -1) / 255 @ params["w"]


def test_step_in_parts_is_the_step_of_the_whole(toy):
    batch, optimizer = next(toy.make_task(toy.make_config()).train_batches(0)), optax.sgd(0.1)
    params = {"w": jax.random.normal(jax.random.key(0), (32, 3), np.float32)}
    steps = [make_train_step(logits, optimizer, 0, parts=parts) for parts in (1, 4)]
    whole, parts = [jax.jit(step)(init_state(params, optimizer), batch) for step in steps]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), whole, parts)


def test_every_part_draws_by_a_key_of_its_own():
    def mean(params, batch, key):
        return params * jax.random.uniform(key)

    key = jax.random.key(0)
    drawn = [jax.random.uniform(each) for each in jax.random.split(key, 2)]
    found = accumulated(mean, 2)(np.float64(1.0), {"x": np.zeros(4)}, key)
    assert drawn[0] != drawn[1]
    assert float(found) == pytest.approx(float(sum(drawn) / 2))
