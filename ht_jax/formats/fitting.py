"""What the decompositions of all formats share: mode layout, error measure, rank notes."""

from __future__ import annotations

import warnings

import jax.numpy as jnp
import numpy as np

from ht_jax.formats.base import Fit, Format, ModeFormat
from ht_jax.formats.weight import Weight


class RankWarning(UserWarning):
    """A rank is larger than the format can use."""


def tell_rank(fmt: Format, what: str, asked: int, most: int, *, clipped: bool) -> None:
    """Warns if a rank is above what can be used.

    A format with gates says nothing: the one that it was made of has been told already.
    """
    if asked <= most or fmt.gates > 1:
        return
    done = f"it was clipped to {most}" if clipped else f"{most} would do; it is kept"
    warnings.warn(f"{what} is {asked} in {fmt}: {done}", RankWarning, stacklevel=5)


def padded_kernel(kernel, fmt: Format):
    """The kernel with zero rows and columns, as large as the network's modes."""
    net = fmt.network()
    behind = net.in_size - fmt.in_offset - fmt.in_features
    blocks = kernel.reshape(fmt.in_features, fmt.gates, -1)
    cols = net.out_size // fmt.gates - blocks.shape[-1]
    blocks = jnp.pad(jnp.asarray(blocks), ((fmt.in_offset, behind), (0, 0), (0, cols)))
    return blocks.reshape(net.in_size, net.out_size)


def mode_pairs(kernel, fmt: ModeFormat):
    """The kernel as a tensor (m_1, n_1, m_2, n_2, ...) of its paired modes."""
    d = len(fmt.in_modes)
    order = [axis for k in range(d) for axis in (k, d + k)]
    return padded_kernel(kernel, fmt).reshape(*fmt.in_modes, *fmt.out_modes).transpose(order)


def fit(weight: Weight, kernel, restarts: int = 0) -> tuple[Weight, Fit]:
    """The weight with its measured relative error, rows compared a block at a time."""
    squared = norm = 0.0
    for start in range(0, kernel.shape[0], 4096):
        rows = kernel[start : start + 4096]
        part = weight if rows.shape == kernel.shape else weight.restrict(start, start + len(rows))
        squared += float(jnp.sum(jnp.abs(part.to_dense() - rows) ** 2))
        norm += float(jnp.sum(jnp.abs(rows) ** 2))
    return weight, Fit(float(np.sqrt(squared / norm)) if norm else float(np.sqrt(squared)), restarts)
