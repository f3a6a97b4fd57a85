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


def measure(task: Mapping[str, Any], threads: int | None = None) -> dict[str, float]:
    """What `report` gives, from a new process that is bound to `threads` processors.

    Args:
        task: {"module": a file of suites, "name": one of its systems, "batch": clips,
            "repeats": calls}.
        threads: number of processors; all unless given.
    """
    allowed = sorted(os.sched_getaffinity(0))
    bound = set(allowed[: threads or len(allowed)])
    found = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(task)],
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, bound),
    )
    return json.loads(found.stdout.splitlines()[-1])


def report(call: Any, repeats: int) -> dict[str, float]:
    """Median milliseconds of a call, and the memory that it takes at its peak beyond its inputs."""
    from suites.timing import seconds

    call()
    ctypes.CDLL(None).malloc_trim(0)
    before = _kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    times = [seconds(call) for _ in range(repeats)]
    peak = _kilobytes("VmHWM")
    return {"ms": float(np.median(times)) * 1e3, "peak_mb": (peak - before) / 1e3}


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
