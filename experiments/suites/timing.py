"""Paired timing: all systems in one process, in turn, round after round.

What is reported is the ratio to the first, round by round, with its range. Rounds that met a slow
stretch of the machine are taken again (`steady.py`).
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from suites import steady

Row = dict[str, Any]
Call = Callable[[], Any]

GAUGE = steady.Gauge()  # of the whole process: a stretch may outlast a comparison
PATIENCE = 4  # rounds taken for each one wanted, at most


@dataclasses.dataclass(frozen=True)
class System:
    """Something to time.

    Args:
        name: What it is.
        params: Numbers in its weights.
        make: Builds it and returns a call that runs it once and waits for the end.
    """

    name: str
    params: int
    make: Callable[[], Call]


def seconds(call: Call) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def rounds(calls: Sequence[Call], repeats: int, *, warm: bool = False) -> np.ndarray:
    """Seconds (repeats, calls), after two rounds that warm up.

    Args:
        calls: what to time.
        repeats: number of rounds.
        warm: whether each timed call follows one of its own that is not timed, as in a stream;
            else it follows that of another system, which has filled the caches.
    """
    for call in (*calls, *calls):
        call()
    steady.pin_threads()
    taken: list[tuple[float, list[float]]] = []
    for _ in range(PATIENCE * repeats):
        before = GAUGE.read()
        times = [_turn(call, warm) for call in calls]
        taken.append((max(before, GAUGE.read()), times))
        if sum(GAUGE.is_full(reading) for reading, _ in taken) == repeats:
            break
    steadiest = sorted(taken, key=lambda pair: pair[0])[:repeats]
    return np.array([times for _, times in steadiest])


def _turn(call: Call, warm: bool) -> float:
    if warm:
        call()
    return seconds(call)


def compare(systems: Sequence[System], repeats: int, *, warm: bool = False) -> list[Row]:
    """Times systems against the first; a system that cannot be built is reported as such."""
    built, rows = [], []
    for system in systems:
        try:
            built.append((system, system.make()))
        except ImportError as error:
            rows.append({"system": system.name, "params": system.params, "missing": str(error)})
    taken = rounds([call for _, call in built], repeats, warm=warm)
    ratios = taken[:, :1] / taken
    measured = [
        {
            "system": system.name,
            "params": system.params,
            "ms": float(np.median(taken[:, n])) * 1e3,
            "times_faster": float(np.median(ratios[:, n])),
            "times_faster_range": [float(ratios[:, n].min()), float(ratios[:, n].max())],
        }
        for n, (system, _) in enumerate(built)
    ]
    return measured + rows
