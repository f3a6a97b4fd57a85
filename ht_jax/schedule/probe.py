"""The probe: what this very device can do, measured in a second where its kind is only a guess.

Only tuning uses it: without tuning the choice of a schedule is the same on every machine of a kind.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ht_jax.schedule import store
from ht_jax.schedule.cost import Device, device

SIDE = 1024  # of the square products; arrays of 4 MiB
LARGE = 8 * 2**20  # bytes of the array that is laid out anew
BLOCK = 32  # its blocks, as between two products
REPEATS = 7
MEASURED = ("flops", "bandwidth", "byte_speed", "overhead")


def probed() -> Device:
    """The default device's model, its rates measured now or read from the disk.

    Example:
        >>> import ht_jax as ht
        >>> problem = ht.TT((4, 4), (2, 2), rank=2).problem(64)
        >>> schedule = ht.schedule.ranked(problem, probed())[0]  # for this very machine
        >>> schedule.seconds > 0
        True
    """
    guess = device(jax.default_backend())
    key = {"probe": 1, **store.machine()}
    found = store.read(key)
    if not _is_sound(found):
        found = _measure()
        store.write(key, found)
    return dataclasses.replace(guess, **{name: float(found[name]) for name in MEASURED})


def _is_sound(found: Any) -> bool:
    if not isinstance(found, dict) or set(found) != set(MEASURED):
        return False
    return all(isinstance(v, int | float) and 0 < v < 1e18 for v in found.values())


def _measure() -> dict[str, float]:
    square = jnp.ones((SIDE, SIDE), jnp.float32)
    bytes_square = square.astype(jnp.bfloat16)
    large = jnp.ones((LARGE // (4 * BLOCK**2), BLOCK, BLOCK), jnp.float32)
    product = _median(lambda a: jnp.dot(a, a, preferred_element_type=jnp.float32), square)
    faster = _median(lambda a: jnp.dot(a, a, preferred_element_type=jnp.float32), bytes_square)
    turned = _median(lambda a: jnp.swapaxes(a, 1, 2), large)
    small = _median(_chain, jnp.ones((16, 16), jnp.float32))
    return {
        "flops": 2.0 * SIDE**3 / product,
        "bandwidth": 2.0 * LARGE / turned,
        "byte_speed": max(product / faster, 0.1),
        "overhead": small / CHAIN,
    }


CHAIN = 20


def _chain(a: jax.Array) -> jax.Array:
    """Products that are all overhead, each waiting for the one before."""
    for _ in range(CHAIN):
        a = jax.lax.optimization_barrier(a @ a)
    return a


def _median(function: Callable[[jax.Array], jax.Array], a: jax.Array) -> float:
    compiled = jax.jit(function).lower(a).compile()
    jax.block_until_ready(compiled(a))
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(compiled(a))
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
