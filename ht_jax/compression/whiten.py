"""Whitening: coordinates in which a plain Frobenius error is the error that the outputs feel.

With A = S S and G = R R of `moments`, `tr(A D G D') = |S D R|^2`, so the matrix S W R is decomposed
by any method that knows the Frobenius norm, and the cores are taken back by S^-1 and R^-1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ht_jax.compression.moments import Moments
from ht_jax.compression.sites import Site
from ht_jax.formats import Weight
from ht_jax.formats.contracting import balanced
from ht_jax.formats.fitting import is_narrow

DAMPING = 1e-4  # in mean squares: what calibration has not met may still come


@dataclasses.dataclass(frozen=True, eq=False)
class Whitener:
    """The factors of one matrix.

    Attributes:
        in_shape: modes of its input.
        inputs: the factors S of the modes; () for none.
        output: the factor R of the outputs; None for none.
        scale: another factor, so that squared errors are those of an example's outputs, or,
            without calibration, relative to the matrix.
        dtype: of the weights that `coloured` gives; None for that of what it is given.
    """

    in_shape: tuple[int, ...]
    inputs: tuple[np.ndarray, ...]
    output: np.ndarray | None
    scale: float
    dtype: Any = None

    @classmethod
    def plain(cls, site: Site) -> Whitener:
        """No factors: the relative Frobenius error of the matrix."""
        norm = float(jnp.linalg.norm(site.kernel))
        return cls(site.in_shape, (), None, 1 / norm if norm else 1.0, site.dtype)

    @classmethod
    def of(cls, site: Site, moments: Moments, damping: float = DAMPING) -> Whitener:
        """The factors of a matrix from its moments."""
        power = float(np.trace(moments.inputs[0]))  # the sum of all squared inputs
        if not power > 0 or not np.isfinite(power):
            raise ValueError(
                f"calibration shows inputs of power {power} to {site.name!r}: "
                "give batches on which the model's outputs are finite and depend on it"
            )
        inputs = tuple(_root(m / np.trace(m), damping) for m in moments.inputs)
        if moments.output is None:
            scale = math.sqrt(power / moments.examples)
            return cls(site.in_shape, inputs, None, scale, site.dtype)
        # Sum over an example's rows of tr(A_row D G_row D') ~ rows / examples * tr(A D G D').
        scale = math.sqrt(power / moments.rows / moments.examples)
        return cls(site.in_shape, inputs, _root(moments.output, damping), scale, site.dtype)

    def whitened(self, kernel: Float[Array, "in_features out"]) -> Float[Array, "*modes out"]:
        """S W R as a tensor of the input's modes and the output."""
        behind = math.prod(self.in_shape) - kernel.shape[0]
        x = jnp.pad(kernel, ((0, behind), (0, 0))).reshape(*self.in_shape, kernel.shape[1])
        x = x * jnp.asarray(self.scale, x.dtype)
        for axis, factor in enumerate(self.inputs):
            x = _along(x, axis, factor)
        return x if self.output is None else _along(x, x.ndim - 1, self.output)

    def whitened_rows(self, x: Float[Array, "rows in_features"]) -> Float[Array, "rows in_size"]:
        """Rows of input as the whitened matrix takes them: x S^-1, filled up with zeros first."""
        behind = math.prod(self.in_shape) - x.shape[1]
        x = jnp.pad(x, ((0, 0), (0, behind))).reshape(-1, *self.in_shape)
        for axis, factor in enumerate(self.inputs):
            x = _along(x, axis + 1, np.linalg.inv(factor))
        return x.reshape(len(x), -1)

    def whitened_outputs(self, y: Float[Array, "rows out"]) -> Float[Array, "rows out"]:
        """Products of rows and the matrix as those of `whitened_rows` and the whitened one."""
        y = y * jnp.asarray(self.scale, y.dtype)
        return y if self.output is None else y @ jnp.asarray(self.output, y.dtype)

    def whitened_weight(self, weight: Weight) -> Weight:
        """The whitened weight of one whose format cuts the same modes, in full."""
        net, cores = weight.format.network(), dict(weight.cores)
        cores = _each(cores, net, net.inputs, self.inputs)
        cores = _each(cores, net, net.outputs, [] if self.output is None else [self.output])
        first, *_ = cores
        cores[first] = cores[first] * jnp.asarray(self.scale, cores[first].dtype)
        return Weight(cores, weight.format)

    def coloured(self, weight: Weight) -> Weight:
        """The weight whose whitened one is given, in whatever format that cuts the same modes."""
        net, cores = weight.format.network(), dict(weight.cores)
        inverses = [np.linalg.inv(factor) for factor in self.inputs]
        cores = _each(cores, net, net.inputs, inverses)
        inverses = [] if self.output is None else [np.linalg.inv(self.output)]
        cores = _each(cores, net, net.outputs, inverses)
        first, *_ = cores
        cores[first] = cores[first] / jnp.asarray(self.scale, cores[first].dtype)
        for name in cores:  # a format that cuts no modes has no room for padding
            cores[name] = cores[name][tuple(slice(size) for size in net.shape(name))]
        if self.dtype is None or not is_narrow(self.dtype):
            return Weight(cores, weight.format)
        return Weight(balanced(net, cores), weight.format).astype(self.dtype)  # none overflows


def _root(moment: np.ndarray, damping: float) -> np.ndarray:
    """The square root of a damped moment, symmetric and of full rank."""
    moment = np.asarray(moment, np.float64)
    ridge = damping * np.trace(moment) / len(moment)
    values, vectors = np.linalg.eigh(moment)
    floor = ridge or 1.0
    return (vectors * np.sqrt(np.maximum(values, 0) + floor)) @ vectors.T


def _along(x: Array, axis: int, factor: np.ndarray) -> Array:
    """A symmetric factor applied to one axis, as matrix products on the memory as it lies."""
    before, after = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    small = jnp.asarray(factor, x.dtype)
    if after == 1:
        return (x.reshape(before, -1) @ small).reshape(x.shape)
    y = jnp.matmul(small, x.reshape(before, x.shape[axis], after))
    return y.reshape(x.shape)


def _each(
    cores: dict[str, Array], net: Any, indices: Sequence[str], factors: Sequence[np.ndarray]
) -> dict[str, Array]:
    """The cores with the factors of consecutive modes applied to the open indices they fill."""
    left = list(factors)
    for index in indices if factors else ():
        holders = [name for name, at in net.operands if index in at]
        taken: list[np.ndarray] = []
        for name in holders:
            axis = net.indices[name].index(index)
            while left and math.prod(map(len, taken)) < cores[name].shape[axis]:
                taken.append(left.pop(0))
            if taken:
                cores[name] = _grouped(cores[name], axis, taken)
    return cores


def _grouped(core: Array, axis: int, factors: Sequence[np.ndarray]) -> Array:
    sizes = [len(factor) for factor in factors]
    x = core.reshape(*core.shape[:axis], *sizes, *core.shape[axis + 1 :])
    for n, factor in enumerate(factors):
        x = _along(x, axis + n, factor)
    return x.reshape(core.shape)
