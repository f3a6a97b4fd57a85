"""The cost model: what a schedule should take on a kind of device.

A matrix product runs at a rate that falls with a short inner or column size, never faster than
its operands can be read; laying an operand out anew costs a read and a write. The flops alone
say little: the order with the fewest has thin products and large intermediates. The constants of
the CPU were fitted to timings of random formats (bench.py --suite plans measures others).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from ht_jax.schedule.schedule import INPUT, Schedule, Step


@dataclasses.dataclass(frozen=True)
class Device:
    """What a kind of device can do.

    Attributes:
        flops: rate of a large float32 matrix product, flops per second.
        bandwidth: memory traffic, bytes per second.
        inner_half: inner size at which a product runs at half its rate.
        cols_full: number of columns from which on it runs at its full rate.
        overhead: seconds per contraction.
        cache_bytes: what two successive products share without going to memory.
        keep_bytes: largest sum of intermediates that is worth keeping for the backward pass.
        byte_speed: how much faster products of bfloat16 numbers are.

    Example:
        >>> device("tpu").flops > device("cpu").flops
        True
    """

    flops: float
    bandwidth: float
    inner_half: int
    cols_full: int
    overhead: float
    cache_bytes: float
    keep_bytes: float
    byte_speed: float


Count = Any  # an int, or a NumPy array of them: the search prices many steps at once

# Orders of magnitude of one recent device of each kind: only their ratios decide.
DEVICES = {
    "cpu": Device(230e9, 60e9, 46, 44, 4e-6, 2 * 2**20, 32 * 2**20, 2.0),
    "gpu": Device(20e12, 1e12, 32, 64, 5e-6, math.inf, math.inf, 4.0),
    "tpu": Device(50e12, 8e11, 128, 128, 2e-6, math.inf, math.inf, 2.0),
}


CACHE_SPEED = 4.0  # how much faster what lies in the cache is read
# How many bfloat16 numbers stand for one of the cores in the first product, by arithmetic.
PARTS: dict[str | None, int] = {None: 0, "float": 0, "split": 2, "bfloat16": 1}


def device(kind: str) -> Device:
    """The model of a device kind: "cpu", "gpu" or "tpu"; an unknown kind counts as a GPU.

    Example:
        >>> device("gpu").byte_speed
        4.0
    """
    return DEVICES.get(kind, DEVICES["gpu"])


def product_seconds(
    dev: Device, groups: Count, rows: Count, inner: Count, cols: Count, itemsize: float
) -> Any:
    """Seconds of `groups` products (rows, inner) @ (inner, cols); scalars or NumPy arrays."""
    few = np.minimum(1.0, (cols + 6) / (dev.cols_full + 6)) * inner / (inner + dev.inner_half)
    touched = groups * (rows * inner + inner * cols + rows * cols)
    busy = 2.0 * groups * rows * inner * cols / (dev.flops * few * (4 / itemsize))
    return np.maximum(busy, moving_seconds(dev, touched, itemsize)) + dev.overhead


def layout_seconds(dev: Device, size: Count, itemsize: float) -> Any:
    """Seconds to lay an array of `size` numbers out anew."""
    return moving_seconds(dev, 2.0 * size, itemsize)


def moving_seconds(dev: Device, size: Count, itemsize: float) -> Any:
    """Seconds to read or write `size` numbers, from the cache if they fit."""
    cached = np.minimum(size * itemsize, dev.cache_bytes)
    return (size * itemsize - (1 - 1 / CACHE_SPEED) * cached) / dev.bandwidth


class StepCost(NamedTuple):
    """What one contraction of a schedule takes.

    Attributes:
        flops, backward_flops: of the forward and of the backward pass.
        bytes_moved: read and written by the forward pass, transposes included.
        seconds: modelled, of what the schedule's mode says.

    Example:
        >>> import ht_jax as ht
        >>> schedule = ht.plan(ht.LowRank(48, 16, rank=2), batch=4)
        >>> [cost.flops for cost in step_costs(schedule, device("cpu"))]
        [768.0, 256.0]
    """

    flops: float
    backward_flops: float
    bytes_moved: float
    seconds: float


def price(schedule: Schedule, dev: Device) -> Schedule:
    """Fills in the counts and the modelled time of a schedule.

    Example:
        >>> import dataclasses, ht_jax as ht
        >>> schedule = ht.plan(ht.LowRank(48, 16, rank=2), batch=4)
        >>> price(dataclasses.replace(schedule, batch=8), device("cpu")).flops / schedule.flops
        2.0
    """
    costs = step_costs(schedule, dev)
    return dataclasses.replace(
        schedule,
        flops=sum(cost.flops for cost in costs),
        backward_flops=sum(cost.backward_flops for cost in costs),
        bytes_moved=sum(cost.bytes_moved for cost in costs),
        peak_bytes=peak_bytes(schedule),
        seconds=sum(cost.seconds for cost in costs),
    )


def step_costs(schedule: Schedule, dev: Device) -> tuple[StepCost, ...]:
    """What every contraction of a schedule takes, in order.

    Example:
        >>> import ht_jax as ht
        >>> schedule = ht.plan(ht.LowRank(48, 16, rank=2), batch=4)
        >>> sum(cost.flops for cost in step_costs(schedule, device("cpu"))) == schedule.flops
        True
    """
    return tuple(_step_cost(schedule, step, dev) for step in schedule.steps)


def _step_cost(schedule: Schedule, step: Step, dev: Device) -> StepCost:
    counts = _Counts.of(schedule, step)
    gradients = 2 - (step.left == INPUT)
    forward = seconds = counts.forward_seconds(dev)
    if schedule.mode == "train":
        seconds += counts.backward_seconds(dev, step.left != INPUT)
        seconds += forward if schedule.remat else 0.0
    return StepCost(counts.flops, gradients * counts.flops, counts.bytes_moved, seconds)


@dataclasses.dataclass(frozen=True)
class _Counts:
    """Sizes of one step, as a matrix product."""

    groups: int
    rows: int
    inner: int
    cols: int
    laid_out: int  # numbers laid out anew before the product
    itemsize: int
    parts: int = 1  # bfloat16 numbers that stand for one of the right operand; 0: no bfloat16

    @classmethod
    def of(cls, schedule: Schedule, step: Step) -> _Counts:
        product = schedule.product(step)
        size = schedule.size
        parts = (product.groups, product.rows, product.inner, product.cols)
        groups, rows, inner, cols = (math.prod(size[i] for i in part) for part in parts)
        laid_out = product.transposes_left * groups * rows * inner
        laid_out += product.transposes_right * groups * inner * cols
        laid_out += (product.indices != step.indices) * groups * rows * cols
        parts = PARTS[schedule.arithmetic] if step.left == INPUT else 0
        itemsize = np.dtype(schedule.dtype).itemsize
        return cls(groups, rows, inner, cols, laid_out, itemsize, parts)

    @property
    def flops(self) -> float:
        return 2.0 * self.groups * self.rows * self.inner * self.cols

    @property
    def bytes_moved(self) -> float:
        touched = self.rows * self.inner + self.inner * self.cols + self.rows * self.cols
        return float((self.groups * touched + 2 * self.laid_out) * self.itemsize)

    def forward_seconds(self, dev: Device) -> float:
        product = product_seconds(dev, *self._sizes(dev))
        return float(product + layout_seconds(dev, self.laid_out, self.itemsize))

    def backward_seconds(self, dev: Device, left: bool) -> float:
        """Seconds of the gradients of the right operand and, if it has one, of the left."""
        return float(backward_seconds(dev, *self._sizes(dev), left, self.laid_out))

    def _sizes(self, dev: Device) -> tuple[int, int, int, int, float]:
        cols, itemsize = self.cols, float(self.itemsize)
        if self.parts:
            cols, itemsize = self.parts * cols, 4 / dev.byte_speed
        return self.groups, self.rows, self.inner, cols, itemsize


def backward_seconds(
    dev: Device,
    groups: Count,
    rows: Count,
    inner: Count,
    cols: Count,
    itemsize: float,
    left: bool,
    laid_out: Count,
) -> Any:
    """Seconds of the gradients of one product; `left`: whether the left operand has one."""
    # That of the right operand sums over the rows: (cols, rows) @ (rows, inner).
    total = product_seconds(dev, groups, cols, rows, inner, itemsize)
    total = total + layout_seconds(dev, laid_out, itemsize)
    if left:
        total = total + product_seconds(dev, groups, rows, cols, inner, itemsize)
        total = total + layout_seconds(dev, groups * rows * cols, itemsize)
    return total


def tiled(schedule: Schedule, dev: Device) -> Schedule:
    """The schedule with the rows of a tile chosen, and what is kept for the backward pass.

    Rows are contracted in tiles where an intermediate array of all of them would leave the
    cache by far, or where integers are converted; a tile is never so small that the cores
    weigh more than it does, since every tile reads them all.
    """
    itemsize = np.dtype(schedule.dtype).itemsize
    made = [schedule.volume(step.indices) * itemsize for step in schedule.products]
    converted = schedule.network.in_size * schedule.batch * itemsize * bool(schedule.arithmetic)
    if max(made) <= 4 * dev.cache_bytes and converted <= 2 * dev.cache_bytes:
        return schedule
    right = sum(schedule.volume(schedule.operands[s.right]) for s in schedule.products) * itemsize
    room = max(min(dev.cache_bytes / max(made), 2 * dev.cache_bytes / max(converted, 1)), 0.0)
    read = schedule.network.in_size * schedule.batch * itemsize
    rows = math.ceil(schedule.batch * max(room, 4 * right / read))
    if rows >= schedule.batch:
        return schedule
    kept = sum(made[:-1]) if schedule.mode == "train" else 0.0
    return dataclasses.replace(schedule, tile=rows, remat=kept > dev.keep_bytes)


def peak_bytes(schedule: Schedule) -> float:
    """Largest sum of live intermediate arrays.

    A tile counts its slice of the input, converted if that is of integers; beside it lives what
    is kept of the other tiles.
    """
    itemsize = np.dtype(schedule.dtype).itemsize
    tile = schedule.tile or schedule.batch
    made = [schedule.volume(s.indices) * tile / schedule.batch for s in schedule.products]
    peak = _peak_training(made) if schedule.mode == "train" else _peak_forward(made)
    kept = 0.0
    if schedule.tile:
        kept = made[-1] if schedule.remat or schedule.mode == "infer" else sum(made)
    peak += kept * (schedule.batch / tile - 1)
    read = schedule.network.in_size * tile if schedule.tile or schedule.arithmetic else 0
    converted = 2 if PARTS[schedule.arithmetic] else itemsize
    return float(peak * itemsize + read * (converted + bool(schedule.arithmetic)))


def _peak_forward(made: list[float]) -> float:
    """Each product lives until the next one is made."""
    return max(a + b for a, b in zip([0.0, *made], made))


def _peak_training(made: list[float]) -> float:
    """All products up to one are kept beside its gradient; the output's gradient is laid out."""
    peaks = [sum(made[: k + 1]) + made[k] for k in range(len(made))]
    return max([*peaks, peaks[-1] + made[-1]])


__all__ = ["DEVICES", "Device", "StepCost", "device", "peak_bytes", "price", "step_costs", "tiled"]
