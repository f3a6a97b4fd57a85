"""Paired timing: all systems in one process, in turn, round after round.

A slow phase of the machine meets them alike; what is reported is the ratio to the first, round by
round, with its range.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
Call = Callable[[], Any]


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
    return np.array([[_turn(call, warm) for call in calls] for _ in range(repeats)])


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
