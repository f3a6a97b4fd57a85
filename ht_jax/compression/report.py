"""What a compression did: matrix by matrix, and to the model's outputs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ht_jax.compression.sites import Site
from ht_jax.formats import Format, Weight
from ht_jax.network import interleaved
from ht_jax.summary import align

ROWS = 4096  # compared at a time


@dataclasses.dataclass(frozen=True)
class Row:
    """One matrix.

    Attributes:
        name: path of its layer and its place there.
        format: how it is held now.
        params_before, params_after: numbers.
        error: relative Frobenius error, measured in float64.
        expected: squared error that it is expected to bring into an example's outputs (without
            calibration: the squared relative error).
        latency_before, latency_after: modelled seconds of one row.

    Example:
        >>> import ht_jax as ht, jax.numpy as jnp
        >>> _, report = ht.compress(jnp.ones((48, 16)), tol=1e-3, formats=["low_rank"])
        >>> report.rows[0].ratio
        12.0
    """

    name: str
    format: Format
    params_before: int
    params_after: int
    error: float
    expected: float
    latency_before: float
    latency_after: float

    @property
    def ratio(self) -> float:
        """Numbers before for each number after."""
        return self.params_before / self.params_after


@dataclasses.dataclass(frozen=True)
class Report:
    """What `compress` did; `print` shows it as a table.

    Attributes:
        rows: one for each matrix in the scope.
        params_before, params_after: numbers in the whole model.
        bytes_before, bytes_after: what they take.
        output_error: relative error of the outputs over the calibration data; None without.

    Example:
        >>> import ht_jax as ht, jax.numpy as jnp
        >>> _, report = ht.compress(jnp.ones((48, 16)), tol=1e-3, formats=["low_rank"])
        >>> report.params_before, report.params_after
        (768, 64)
    """

    rows: tuple[Row, ...]
    params_before: int
    params_after: int
    bytes_before: int
    bytes_after: int
    output_error: float | None = None

    @classmethod
    def of(
        cls, before: Any, after: Any, rows: tuple[Row, ...], batches: Sequence[Any] | None
    ) -> Report:
        """The report on a model before and after."""
        (numbers, taken), (numbers_after, taken_after) = size(before), size(after)
        error = None if batches is None else output_error(before, after, batches)
        return cls(rows, numbers, numbers_after, taken, taken_after, error)

    def __str__(self) -> str:
        header = ["matrix", "format", "before", "after", "ratio", "error", "us before", "us after"]
        table = align(header, [_cells(row) for row in self.rows], text=2)
        outputs = "" if self.output_error is None else f", outputs off by {self.output_error:.2%}"
        return (
            f"{table}\nmodel: {self.params_before:,} numbers before, {self.params_after:,} after "
            f"({self.bytes_after:,} bytes){outputs}"
        )


def rows(site: Site, weight: Weight | None, expected: float) -> list[Row]:
    """The row of a matrix; without a weight it is held as before, and each part has a row."""

    def seconds(fmt: Format) -> float:
        return fmt.plan(1, dtype=site.dtype, mode="infer").seconds

    if weight is not None:
        params = sum(fmt.num_params for fmt in site.held.values()), weight.format.num_params
        errors = relative_error(weight, site.kernel), expected
        took = sum(map(seconds, site.held.values()))
        return [Row(site.name, weight.format, *params, *errors, took, seconds(weight.format))]
    return [
        Row(
            "/".join(part for part in (site.path, place) if part),
            fmt,
            *[fmt.num_params] * 2,
            *[0.0] * 2,
            *[seconds(fmt)] * 2,
        )
        for place, fmt in site.held.items()
    ]


def output_error(before: Any, after: Any, batches: Sequence[tuple[Any, ...]]) -> float:
    """Relative error of a model's outputs over some batches."""
    squares = np.zeros(2)
    run = [_runner(model) for model in (before, after)]
    for batch in batches:
        exact, near = (np.concatenate([np.ravel(y) for y in r(batch)], dtype=float) for r in run)
        squares += [np.sum((near - exact) ** 2), np.sum(exact**2)]
    return math.sqrt(squares[0] / squares[1]) if squares[1] else math.sqrt(squares[0])


def _runner(model: nnx.Module):
    model = nnx.clone(model)
    model.eval()
    graphdef, state = nnx.split(model)
    call = jax.jit(lambda state, batch: jax.tree.leaves(nnx.merge(graphdef, state)(*batch)))
    return lambda batch: call(state, batch)


def size(model: nnx.Module) -> tuple[int, int]:
    """Numbers of a model and the bytes that they take."""
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    return sum(a.size for a in leaves), sum(a.nbytes for a in leaves)


def relative_error(weight: Weight, kernel: Float[Array, "in_features out_features"]) -> float:
    """The relative Frobenius error, a block of rows at a time, contracted in float64 by NumPy."""
    squared = norm = 0.0
    for start in range(0, len(kernel), ROWS):
        block = np.asarray(kernel[start : start + ROWS], np.float64)
        part = weight if len(block) == len(kernel) else weight.restrict(start, start + len(block))
        squared += float(np.sum((_formed(part) - block) ** 2))
        norm += float(np.sum(block**2))
    return math.sqrt(squared / norm) if norm else math.sqrt(squared)


def _formed(weight: Weight) -> np.ndarray:
    fmt, net = weight.format, weight.format.network()
    tensors = [(np.asarray(array, np.float64), at) for array, at in net.tensors(weight.cores)]
    kernel = np.einsum(*interleaved(tensors, net.inputs + net.outputs), optimize="greedy")
    kernel = kernel.reshape(net.in_size, net.out_size)
    rows = kernel[fmt.in_offset : fmt.in_offset + fmt.in_features]
    return np.asarray(fmt.crop_outputs(rows))  # pyright: ignore[reportArgumentType]


def _cells(row: Row) -> list[str]:
    micro = [f"{1e6 * seconds:.3g}" for seconds in (row.latency_before, row.latency_after)]
    counts = f"{row.params_before:,}", f"{row.params_after:,}", f"{row.ratio:,.1f}"
    return [row.name or ".", str(row.format), *counts, f"{row.error:.2e}", *micro]
