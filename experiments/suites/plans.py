"""What planning costs, and how far its choice is from the best: on the papers' formats and on
shapes that nothing was adjusted to.

`regret` is the time of the untimed choice over that of the best of all candidates, `tuned_regret`
that of the choice by measurement; both from timings of a round of their own.
"""

import time
from typing import Any

import jax
import numpy as np

import ht_jax as ht
from ht_jax import schedule as schedules
from ht_jax.schedule import tune
from suites import shapes
from suites.timing import Row

RANDOM = 20


def run(batch: int, repeats: int) -> list[Row]:
    """Rows of the suite.

    Args:
        batch: clips of 6 frames, for the papers' formats.
        repeats: rounds.
    """
    rows = []
    for name, fmt in {**shapes.FORMATS, "FDHT": shapes.FDHT}.items():
        rows.append(_row(name, fmt.with_gates(4), batch * shapes.FRAMES, repeats))
    rng = np.random.default_rng(2027)
    for _ in range(RANDOM):
        fmt, batch = random_format(rng), int(2 ** rng.uniform(0, 9))
        rows.append(_row(repr(fmt), fmt, batch, repeats))
    return rows


def random_format(rng: np.random.Generator) -> ht.Format:
    """A format of random modes with at most 60,000 inputs, of ranks from 2 to 16."""
    d = int(rng.integers(2, 6))
    in_modes = tuple(int(m) for m in rng.integers(2, int(60_000 ** (1 / d)) + 1, d))
    out_modes = tuple(int(n) for n in rng.integers(2, 6, d))
    rank = int(rng.integers(2, 17))
    kind = rng.choice(["HT", "TT", "TR", "BT", "KCP", "CP", "Tucker"])
    options: dict[str, dict[str, int]] = {"BT": {"terms": 2}, "KCP": {"terms": 2}}
    if kind in ("BT", "Tucker", "TR", "KCP"):
        rank = min(rank, 5)
    return getattr(ht, kind)(in_modes, out_modes, rank=rank, **options.get(kind, {}))


def _row(name: str, fmt: ht.Format, batch: int, repeats: int) -> Row:
    problem = fmt.problem(batch)
    start = time.perf_counter()
    ranked = schedules.ranked(problem)
    planned = time.perf_counter() - start
    tuned = schedules.tuned(problem, lambda: ranked)
    every = list(dict.fromkeys([*ranked, tuned]))
    start = time.perf_counter()
    calls: list[Any] = [tune.timed_call(problem, every[0])]
    compiled = time.perf_counter() - start
    calls += [tune.timed_call(problem, schedule) for schedule in every[1:]]
    medians = np.median([[tune.seconds(call) for call in calls] for _ in range(repeats)], axis=0)
    best = medians[: len(ranked)].min()
    jax.clear_caches()
    return {
        "system": name,
        "rows": batch,
        "plan_s": planned,
        "compile_s": compiled,
        "candidates": len(ranked),
        "ms": medians[0] * 1e3,
        "regret": medians[0] / best,
        "tuned_regret": medians[every.index(tuned)] / best,
    }
