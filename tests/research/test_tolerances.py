"""Random tensors keep every tolerance."""

import pytest


@pytest.mark.parametrize("seed", range(20_000, 20_028))
def test_random_tensors_keep_every_tolerance(seed):
    from experiments.research import tolerances

    for found in tolerances.checks(tolerances.draw(seed), 2):
        assert (found["broken"], found["not_finite"]) == (False, False), found
