"""Memory that was freed goes back to the system between stretches of training.

glibc keeps an arena for every thread, and what lies free in them grows for thousands of steps
(experiments/research/soak.py). MALLOC_ARENA_MAX=1 ends it, but may slow steps down.
"""

import ctypes
import platform


def give_back() -> None:
    """Returns the free memory of this process to the system, where the C library is glibc."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
