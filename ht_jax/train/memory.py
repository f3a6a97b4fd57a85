"""Memory that was freed goes back to the system, so that a long run does not grow.

glibc keeps an arena for every thread, and what lies free in them grows for thousands of steps
(experiments/soak.py).
"""

import ctypes
import platform

M_ARENA_MAX = -8  # of glibc's malloc.h


def use_one_arena() -> None:
    """Lets the threads of this process share an arena, where the C library is glibc."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Returns the free memory of this process to the system, where the C library is glibc."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
