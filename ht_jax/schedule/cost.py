"""The cost model: what a schedule should take on a kind of device.

A matrix product runs at a rate that falls with a short inner or column size, never faster than
its operands can be read; laying an operand out anew costs a read and a write. The flops alone
say little: the order with the fewest has thin products and large intermediates.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ht_jax.schedule.schedule import INPUT, Product, Schedule, Step


@dataclasses.dataclass(frozen=True)
class Device:
    """What a kind of device can do.

    Attributes:
        flops: rate of a large float32 matrix product, flops per second.
        bandwidth: memory traffic, bytes per second.
        inner_half: inner size at which a product runs at half its rate.
        cols_full: number of columns from which on it runs at its full rate.
        fault_bytes: arrays larger than this are mapped anew on every call.
        fault_cost: what that adds, seconds per byte.
        overhead: seconds per contraction.
        tile_bytes: largest float copy of integer inputs worth making at once.
    """

    flops: float
    bandwidth: float
    inner_half: int
    cols_full: int
    fault_bytes: float
    fault_cost: float
    overhead: float
    tile_bytes: float


# Orders of magnitude of one recent device of each kind: only their ratios decide.
DEVICES = {
    "cpu": Device(200e9, 30e9, 12, 64, 32 * 2**20, 2e-10, 3e-6, 4 * 2**20),
    "gpu": Device(20e12, 1e12, 32, 64, math.inf, 0.0, 5e-6, math.inf),
    "tpu": Device(50e12, 8e11, 128, 128, math.inf, 0.0, 2e-6, math.inf),
}


def device(kind: str) -> Device:
    """The model of a device kind: "cpu", "gpu" or "tpu"; an unknown kind counts as a GPU."""
    return DEVICES.get(kind, DEVICES["gpu"])


def product_seconds(dev: Device, groups, rows, inner, cols, itemsize: int):
    """Seconds of `groups` products (rows, inner) @ (inner, cols); scalars or NumPy arrays."""
    small = np.minimum(1.0, (cols + 6) / (dev.cols_full + 6))
    rate = dev.flops * inner / (inner + dev.inner_half) * small * (4 / itemsize)
    out = groups * rows * cols * itemsize
    traffic = groups * (rows * inner + inner * cols) * itemsize + out
    busy = np.maximum(2.0 * groups * rows * inner * cols / rate, traffic / dev.bandwidth)
    return busy + fault_seconds(dev, out) + dev.overhead


def layout_seconds(dev: Device, size, itemsize: int):
    """Seconds to lay an array of `size` numbers out anew."""
    return 2.0 * size * itemsize / dev.bandwidth


def fault_seconds(dev: Device, size_bytes):
    """Seconds for the first touch of a large array."""
    return np.where(size_bytes > dev.fault_bytes, size_bytes * dev.fault_cost, 0.0)


def price(schedule: Schedule, dev: Device) -> Schedule:
    """Fills in the counts and the modelled time of a schedule."""
    itemsize = np.dtype(schedule.dtype).itemsize
    wanted = _needs_gradient(schedule)
    flops = backward = moved = seconds = 0.0
    for step in schedule.steps:
        counts = _Counts.of(schedule, step, itemsize)
        gradients = (step.left in wanted) + (step.right in wanted)
        flops += counts.flops
        backward += gradients * counts.flops
        moved += counts.bytes_moved
        seconds += counts.forward_seconds(dev)
        if schedule.mode == "train":
            seconds += counts.backward_seconds(dev, step.left in wanted, step.right in wanted)
    return dataclasses.replace(
        schedule,
        flops=flops,
        backward_flops=backward,
        bytes_moved=moved,
        peak_bytes=_peak_bytes(schedule, itemsize),
        seconds=float(seconds),
    )


@dataclasses.dataclass(frozen=True)
class _Counts:
    """Sizes of one step, as a matrix product."""

    groups: int
    rows: int
    inner: int
    cols: int
    laid_out: int  # numbers laid out anew before the product
    itemsize: int

    @classmethod
    def of(cls, schedule: Schedule, step: Step, itemsize: int) -> _Counts:
        product = schedule.product(step)
        size = schedule.size
        parts = (product.groups, product.rows, product.inner, product.cols)
        groups, rows, inner, cols = (math.prod(size[i] for i in part) for part in parts)
        laid_out = product.transposes_left * groups * rows * inner
        laid_out += product.transposes_right * groups * inner * cols
        laid_out += (product.indices != step.indices) * groups * rows * cols
        return cls(groups, rows, inner, cols, laid_out, itemsize)

    @property
    def flops(self) -> float:
        return 2.0 * self.groups * self.rows * self.inner * self.cols

    @property
    def bytes_moved(self) -> float:
        touched = self.rows * self.inner + self.inner * self.cols + self.rows * self.cols
        return float((self.groups * touched + 2 * self.laid_out) * self.itemsize)

    def forward_seconds(self, dev: Device) -> float:
        product = product_seconds(dev, self.groups, self.rows, self.inner, self.cols, self.itemsize)
        return float(product + layout_seconds(dev, self.laid_out, self.itemsize))

    def backward_seconds(self, dev: Device, left: bool, right: bool) -> float:
        sizes = (self.groups, self.rows, self.inner, self.cols, self.itemsize)
        return float(backward_seconds(dev, *sizes, left, right, self.laid_out))


def backward_seconds(dev, groups, rows, inner, cols, itemsize, left, right, laid_out):
    """Seconds of the gradients of one product; `left`, `right`: which operands have one.

    The gradient of the right operand sums over the rows, so both its factors are transposed:
    it is taken to run at two thirds of the forward rate.
    """
    total = layout_seconds(dev, laid_out, itemsize)
    if right:
        total = total + 1.5 * product_seconds(dev, groups, inner, rows, cols, itemsize)
    if left:
        total = total + product_seconds(dev, groups, rows, cols, inner, itemsize)
        total = total + layout_seconds(dev, groups * rows * cols, itemsize)
    return total


def _needs_gradient(schedule: Schedule) -> set[str]:
    """Operands that depend on a core: everything but the input itself."""
    return {name for name in schedule.operands if name != INPUT}


def _peak_bytes(schedule: Schedule, itemsize: int) -> float:
    """Largest sum of live intermediates; in training all of them live until the end."""
    size = {s.out: math.prod(schedule.size[i] for i in s.indices) for s in schedule.steps}
    if schedule.mode == "train":
        return float(sum(size.values()) + max(size.values(), default=0)) * itemsize
    live = peak = 0
    for step in schedule.steps:
        live += size[step.out]
        peak = max(peak, live)
        live -= size.get(step.left, 0) + size.get(step.right, 0)
    return float(peak) * itemsize


__all__ = ["DEVICES", "Device", "Product", "device", "price"]
