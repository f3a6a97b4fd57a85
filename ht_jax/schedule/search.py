"""The search: proposes schedules, of which the cost model takes the best."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ht_jax.schedule.cost import Device
from ht_jax.schedule.grouped import grouped
from ht_jax.schedule.pairwise import pairwise
from ht_jax.schedule.schedule import Problem, Schedule


def candidates(problem: Problem, dev: Device) -> Iterator[Schedule]:
    """All schedules that the searches propose, each once, unpriced.

    Args:
        problem: what is to be contracted.
        dev: the device's cost model, which steers the grouped search.
    """
    seen = set()
    for found_by, steps in itertools.chain(grouped(problem, dev), pairwise(problem)):
        if tuple(steps) not in seen:
            seen.add(tuple(steps))
            yield problem.schedule(steps, found_by)
