"""The recipes of published code: learning rates by step, the penalty on the classifier."""

import jax.numpy as jnp
import pytest

from ht_jax.train import OptimizerConfig
from ht_jax.train.optimizer import make_penalty, make_schedule


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
