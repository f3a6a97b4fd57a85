"""What keeps times comparable on virtual processors: threads in their places, slow stretches seen.

Two threads of XLA's pool may share one processor for seconds while the other idles. There are also
stretches in which the same work takes half as much processor time again, whatever their cause: the
gauge times a small product to notice them, and cannot be trusted to notice all.
"""

import os
import time
from pathlib import Path

import numpy as np

POOL = "tf_XLAEigen"  # the name of the threads that XLA computes with
TASKS = Path("/proc/self/task")
# Small enough for one thread: the others of NumPy's pool would spin on while something is timed.
FACTOR = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
PRODUCTS = 10
TRIES = 5
TOLERANCE = 1.2


def pin_threads() -> int:
    """Gives every thread of XLA's pool a processor of its own; returns how many there are.

    Where threads cannot be listed, as outside of Linux, it does nothing.
    """
    processors = sorted(os.sched_getaffinity(0)) if TASKS.exists() else []
    threads = [task for task in TASKS.glob("*") if (task / "comm").read_text().strip() == POOL]
    for n, task in enumerate(sorted(threads, key=lambda task: int(task.name))):
        os.sched_setaffinity(int(task.name), {processors[n % len(processors)]})
    return len(threads)


class Gauge:
    """Tells whether the processor computes as fast as it ever did before this gauge's eyes."""

    def __init__(self) -> None:
        self.fastest = float("inf")

    def read(self) -> float:
        """Seconds of some small products of matrices, the best of a few tries."""
        return self.note(min(_products() for _ in range(TRIES)))

    def note(self, reading: float) -> float:
        """Takes a reading into account, of this process or another; returns it."""
        self.fastest = min(self.fastest, reading)
        return reading

    def is_full(self, reading: float) -> bool:
        """Whether a reading is that of full speed."""
        return reading <= TOLERANCE * self.fastest

    @property
    def gflops(self) -> float:
        """The speed of one thread in the fastest reading, in units of 1e9 flops a second."""
        return 2e-9 * PRODUCTS * len(FACTOR) ** 3 / self.fastest


def _products() -> float:
    start = time.perf_counter()
    for _ in range(PRODUCTS):
        np.matmul(FACTOR, FACTOR)
    return time.perf_counter() - start
