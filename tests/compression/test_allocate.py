"""The allocation: against exhaustive search where that is possible."""

import itertools

import numpy as np
import pytest

from ht_jax import Dense
from ht_jax.compression.allocate import Budget, Priced, allocate, hull
from ht_jax.compression.paths import Choice


def priced(cost, error):
    return Priced(cost, Choice(Dense(1, max(int(cost), 1)), error, lambda: None))


def convex_options(seed):
    """Errors that fall less and less: equal steps taken greedily are then optimal."""
    gains = np.sort(np.random.default_rng(seed).random(5))[::-1]
    return [priced(k + 1, 1 + gains.sum() - gains[:k].sum()) for k in range(6)]


def refuse(least):
    return f"at least {least}"


@pytest.mark.parametrize("seed", range(5))
def test_equal_steps_are_allocated_optimally(seed):
    options = [convex_options(3 * seed + n) for n in range(3)]
    for limit in (3, 7, 11, 18):
        combinations = list(itertools.product(*options))
        fitting = [c for c in combinations if sum(p.cost for p in c) <= limit]
        best = min(sum(p.error for p in c) for c in fitting)
        found = allocate(options, limit, refuse)
        assert sum(choice.error for choice in found) == pytest.approx(best)
        assert sum(choice.format.num_params for choice in found) <= limit


def test_hull_drops_what_a_mixture_beats():
    points = [priced(1, 10.0), priced(2, 9.9), priced(3, 1.0), priced(4, 2.0), priced(5, 0.0)]
    assert [p.cost for p in hull(points)] == [1, 3, 5]


def test_what_is_left_buys_a_choice_off_the_hull():
    options = [[priced(1, 10.0), priced(2, 9.0), priced(9, 0.0)]]
    assert allocate(options, 5, refuse)[0].format.num_params == 2


def test_the_least_cost_is_told():
    with pytest.raises(ValueError, match="at least 4"):
        allocate([[priced(1, 1.0)], [priced(3, 1.0)]], 2, refuse)


@pytest.mark.parametrize("budget", [0, -3, True, "1%", {"params": 3, "bytes": 4}, {"watts": 3}])
def test_a_budget_that_is_none(budget):
    with pytest.raises(ValueError, match="budget"):
        Budget.of(budget)
