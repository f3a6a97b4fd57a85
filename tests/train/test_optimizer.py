"""The recipes of published code: learning rates by step, the penalty on the classifier."""

import jax
import jax.numpy as jnp
import pytest

from ht_jax.train import OptimizerConfig
from ht_jax.train.optimizer import make_optimizer, make_penalty, make_schedule


@pytest.mark.parametrize(
    ("options", "step", "expected"),
    [
        ({"schedule": "inverse", "decay": 0.5}, 4, 0.1 / 3),
        ({"schedule": "drops", "drop_every": 10}, 9, 0.1),
        ({"schedule": "drops", "drop_every": 10}, 25, 0.1 * 0.04),
        ({"schedule": "constant"}, 50, 0.1),
        ({"schedule": "cosine"}, 100, 0.0),
        ({"schedule": "inverse", "decay": 0.5, "warmup_steps": 4}, 8, 0.1 / 3),
    ],
)
def test_rate_of_a_step(options, step, expected):
    config = OptimizerConfig(0.1, **{"warmup_steps": 0, **options})
    assert float(make_schedule(config, 100)(step)) == pytest.approx(expected, abs=1e-8)


def test_penalty_is_the_sum_of_squares_of_the_classifier():
    penalty = make_penalty(OptimizerConfig(classifier_l2=0.5))
    kernel = jnp.array([[1.0, -2.0], [0.0, 3.0]])
    assert float(penalty({"classifier": {"kernel": kernel}, "rnn": 7.0})) == 7.0
    assert make_penalty(OptimizerConfig()) is None


def test_matrices_of_many_inputs_learn_slower_in_proportion():
    options = {"clip_norm": 0.0, "schedule": "constant", "warmup_steps": 0}
    params = {"wide": jnp.ones((1024, 2)), "square": jnp.ones((256, 2)), "bias": jnp.ones(1024)}
    optimizer = make_optimizer(OptimizerConfig(0.1, fan_in=256, **options), 10)
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = optimizer.update(params, optimizer.init(params), params)
    rates = {name: -float(update.ravel()[0]) for name, update in updates.items()}
    assert rates == pytest.approx({"wide": 0.025, "square": 0.1, "bias": 0.1}, rel=1e-3)


def test_cores_may_take_orthogonal_steps():
    """With one step of Muon, all singular values of a core's update are nearly alike."""
    options = {"clip_norm": 0.0, "schedule": "constant", "warmup_steps": 0}
    core = jax.random.normal(jax.random.key(0), (4, 2, 5)) * jnp.array([9.0, 3.0, 1.0, 1.0, 1.0])
    tree = {"cores": {"leaf_0": core, "kernel": core[:, 0]}, "bias": jnp.ones(3)}
    optimizer = make_optimizer(OptimizerConfig(0.1, cores="muon", **options), 10)
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = optimizer.update(tree, optimizer.init(tree), tree)

    def spread(update):
        values = jnp.linalg.svd(update.reshape(-1, 5), compute_uv=False)
        return float(values[0] / values[-1])

    assert spread(updates["cores"]["leaf_0"]) < 2 < 3 < spread(core)
    dense = jnp.abs(updates["cores"]["kernel"])  # Adam's first step is the sign of the gradient
    assert float(dense.max() / dense.min()) == pytest.approx(1.0, rel=1e-3)
