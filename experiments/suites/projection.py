"""The input-to-hidden product of all frames, in multiples of one pass over them.

Every format at the papers' shapes, forward alone and with the gradient of the cores, from float32
frames; HT also from bytes, in each arithmetic. `x_pass` divides by a sum of the float32 frames that
is timed in the same round, `x_cold_pass` by one that finds them outside of the caches.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ht_jax as ht
from suites import shapes
from suites.timing import Call, Row, rounds, seconds

EVICTING = 128 * 2**20  # bytes read between cold passes


def run(batch: int, repeats: int) -> list[Row]:
    """Rows of the suite.

    Args:
        batch: clips of 6 frames.
        repeats: rounds.
    """
    rows = batch * shapes.FRAMES
    floats = jax.random.normal(jax.random.key(1), (rows, shapes.PIXELS), jnp.float32)
    frames = jnp.asarray(shapes.clips(batch).reshape(rows, -1))
    total = jax.jit(jnp.sum)
    one_pass: Call = lambda: jax.block_until_ready(total(floats))  # noqa: E731
    cold = _cold_pass(one_pass, repeats)
    found = []
    for name, fmt, x, reading in _cases(floats, frames):
        weight = fmt.init(jax.random.key(0)).restrict(0, shapes.PIXELS)
        for mode, make in (("forward", _forward), ("forward + backward", _gradient)):
            call = make(weight, x, reading)
            taken = rounds([one_pass, call], repeats)
            found.append(_row(f"{name}, {mode}", weight, taken, cold))
    return found


def _cases(floats: Any, frames: Any):
    yield "dense", ht.Dense(shapes.PIXELS, 4 * shapes.HIDDEN), floats, None
    for name, fmt in {**shapes.FORMATS, "FDHT, x part": shapes.FDHT}.items():
        yield name, fmt.with_gates(4), floats, None
    for arithmetic in ("float", "split", "bfloat16"):
        reading = ht.Reading(1 / 64, arithmetic=arithmetic)
        yield f"HT from bytes, {arithmetic}", shapes.HT.with_gates(4), frames, reading


def _forward(weight: ht.Weight, x: Any, reading: Any) -> Call:
    apply = jax.jit(lambda w, x: ht.apply(w, x, reading=reading))
    return lambda: jax.block_until_ready(apply(weight, x))


def _gradient(weight: ht.Weight, x: Any, reading: Any) -> Call:
    def loss(w: ht.Weight, x: Any) -> Any:
        return jnp.sum(jnp.square(ht.apply(w, x, reading=reading)))

    gradient = jax.jit(jax.grad(loss))
    return lambda: jax.block_until_ready(gradient(weight, x))


def _cold_pass(one_pass: Callable[[], Any], repeats: int) -> float:
    other, total = jnp.ones(EVICTING // 4, jnp.float32), jax.jit(jnp.sum)
    taken = []
    for _ in range(repeats + 1):
        jax.block_until_ready(total(other))
        taken.append(seconds(one_pass))
    return float(np.median(taken[1:]))


def _row(name: str, weight: ht.Weight, taken: np.ndarray, cold: float) -> Row:
    ratio = taken[:, 1] / taken[:, 0]
    return {
        "system": name,
        "params": weight.format.num_params,
        "ms": float(np.median(taken[:, 1])) * 1e3,
        "x_pass": float(np.median(ratio)),
        "x_pass_range": [float(ratio.min()), float(ratio.max())],
        "x_cold_pass": float(np.median(taken[:, 1])) / cold,
    }
