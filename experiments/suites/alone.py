"""Measurements in a process of their own: peak memory, and times with a given number of threads.

`python alone.py '{"suite": ..., "system": ...}'` builds one system and prints one line of JSON.
"""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SCRIPT = Path(__file__).resolve()
EAGER = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
WARM = 3  # calls before the first one that counts


def milliseconds(task: Mapping[str, Any], threads: int | None = None) -> float:
    """Median time of a call, from a new process that is bound to `threads` processors.

    A process that met a slow stretch of the machine is run again.

    Args:
        task: {"module": a file of suites, "name": one of its systems, "batch": clips,
            "repeats": calls}.
        threads: number of processors; all unless given.
    """
    from suites.timing import GAUGE, PATIENCE

    tries: list[dict[str, float]] = []
    while len(tries) < PATIENCE and not any(GAUGE.is_full(found["gauge"]) for found in tries):
        tries.append(_measure(task, threads, {}))
        GAUGE.note(tries[-1]["gauge"])
    return min(tries, key=lambda found: found["gauge"])["ms"]


def peak_mb(task: Mapping[str, Any]) -> float:
    """Megabytes that a call takes at its peak beyond its inputs.

    The allocator gives back what is freed at once, which costs time, so time is none of this.

    Args:
        task: as for `milliseconds`.
    """
    return _measure(task, None, EAGER)["peak_mb"]


def _measure(task: Mapping[str, Any], threads: int | None, variables: dict[str, str]) -> Any:
    allowed = sorted(os.sched_getaffinity(0))
    bound = set(allowed[: threads or len(allowed)])
    found = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(task)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        preexec_fn=lambda: os.sched_setaffinity(0, bound),
    )
    return json.loads(found.stdout.splitlines()[-1])


def report(call: Any, repeats: int) -> dict[str, float]:
    """Median milliseconds of a call, its memory at the peak beyond its inputs, and the gauge."""
    from suites.timing import GAUGE, rounds

    for _ in range(WARM):
        call()
    ctypes.CDLL(None).malloc_trim(0)
    before = _kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    times = rounds([call], repeats)
    peak = _kilobytes("VmHWM")
    ms, peak_mb = float(np.median(times)) * 1e3, (peak - before) / 1e3
    return {"ms": ms, "peak_mb": peak_mb, "gauge": GAUGE.fastest}


def _kilobytes(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field))


def _main(task: dict[str, Any]) -> None:
    import importlib

    sys.path.insert(0, str(SCRIPT.parents[1]))
    module = importlib.import_module(f"suites.{task['module']}")
    make = {system.name: system.make for system in module.systems(task["batch"])}[task["name"]]
    print(json.dumps(report(make(), task["repeats"])))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
