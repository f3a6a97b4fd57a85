"""Refinement: minimises |X (W - W')| R over rows of input that the calibration data really showed.

The decomposition knows of the inputs only the moments of their modes; here all cores move together
by L-BFGS, in whitened coordinates, where the frames are orthonormal and the inputs nearly white.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Shaped

from ht_jax.compression.moments import as_read
from ht_jax.compression.sites import Site, layer_at
from ht_jax.compression.whiten import Whitener
from ht_jax.formats import Prepared, Weight, apply
from ht_jax.schedule import Reading, Schedule

NUMBERS = 2**26  # of a matrix' recorded inputs, at most: 256 MB
HELD_OUT = 5  # one row in so many decides which iterate is kept


class Log:
    """Rows of input of one matrix, an even selection of each batch within its share."""

    def __init__(self, share: int):
        self.rows: list[np.ndarray] = []
        self.share: int = share
        self.left: int = share

    def add(self, x: np.ndarray) -> None:
        """Takes up rows while the share of the batch lasts."""
        count = min(len(x), self.left // x.shape[1])
        if count:
            kept = np.asarray(x)[np.linspace(0, len(x) - 1, count).astype(int)]
            self.rows.append(kept)
            self.left -= kept.size


class Recorder(nnx.Module):
    """Makes a dense layer write down its inputs, from within scan and jit too."""

    def __init__(self, log: Log):
        self.log: Log = nnx.static(log)

    def __call__(self, weight: Weight) -> Weight:
        """The weight, recorded."""
        return RecordedWeight(weight.cores, weight.format, self.log)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RecordedWeight(Weight):
    """A dense weight with the log of its inputs."""

    log: Log = dataclasses.field(metadata={"static": True})

    def merge(self, schedule: Schedule, precision: jax.lax.PrecisionLike = None) -> Prepared:
        """See `Weight.merge`; the log goes along."""
        merged = super().merge(schedule, precision).merged
        return RecordedPrepared(merged, self.format, schedule, self.log)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RecordedPrepared(Prepared):
    """What `RecordedWeight.merge` returns."""

    log: Log = dataclasses.field(metadata={"static": True})

    def __call__(
        self,
        x: Shaped[Array, "*batch in_features"],
        *,
        reading: Reading | None = None,
        precision: jax.lax.PrecisionLike = None,
    ) -> Shaped[Array, "*batch out_features"]:
        """The product, its input written down."""
        y = super().__call__(x, reading=reading, precision=precision)
        jax.debug.callback(self.log.add, as_read(x, reading, y.dtype).reshape(-1, x.shape[-1]))
        return y


def record(
    model: nnx.Module, sites: Sequence[Site], batches: Sequence[tuple[Any, ...]]
) -> dict[Site, np.ndarray]:
    """Rows of input of each matrix; of a joint one those of its parts, zeros beside them."""
    model, logs = nnx.clone(model), {}
    model.eval()
    for site in sites:
        for place in site.parts:
            layer = layer_at(model, site.path, place)
            log = Log(NUMBERS // len(batches) // len(site.parts))
            layer.observer = nnx.data(Recorder(log))
            logs[site, place] = log
    for batch in batches:
        for log in logs.values():
            log.left = log.share
        jax.block_until_ready(model(*batch))
        jax.effects_barrier()
    return {site: _joined(site, logs) for site in sites}


def _joined(site: Site, logs: dict[tuple[Site, str], Log]) -> np.ndarray:
    width, parts = site.kernel.shape[0], []
    for place, start in site.parts.items():
        rows = np.concatenate(logs[site, place].rows)
        parts.append(np.pad(rows, ((0, 0), (start, width - start - rows.shape[1]))))
    return np.concatenate(parts)


def refined(white: Weight, site: Site, whitener: Whitener, rows: np.ndarray, steps: int) -> Weight:
    """A whitened weight, moved to where it serves the recorded rows best.

    Args:
        white: the whitened weight.
        site: the matrix.
        whitener: its factors.
        rows: rows of its input.
        steps: of L-BFGS at most; of the iterates the one that serves the held-out rows best
            is returned, which may be the first.
    """
    x = whitener.whitened_rows(jnp.asarray(rows))
    y = whitener.whitened_outputs(jnp.asarray(rows) @ site.kernel)
    held = jnp.arange(len(rows)) % HELD_OUT == 0
    # The whitened inputs fill the padding of the modes as well.
    wide: Any = dataclasses.replace(white.format, in_features=x.shape[1])
    cores, _ = _descend(wide, white.cores, (x[~held], y[~held]), (x[held], y[held]), steps)
    return Weight(cores, white.format)


def _descend(fmt, cores, fitted, held, steps: int):
    optimizer = optax.lbfgs()
    state, best = optimizer.init(cores), (cores, float(_error(fmt, cores, *held)))
    for _ in range(steps):
        cores, state = _step(fmt, optimizer, cores, state, *fitted)
        error = float(_error(fmt, cores, *held))
        if error < best[1]:
            best = cores, error
    return best


@functools.partial(jax.jit, static_argnums=0)
def _error(fmt, cores, x: Float[Array, "rows i"], y: Float[Array, "rows o"]) -> Array:
    residual = apply(Weight(cores, fmt), x) - y
    return jnp.sum(residual**2) / jnp.sum(y**2)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _step(fmt, optimizer, cores, state, x: Array, y: Array):
    loss = functools.partial(_error, fmt, x=x, y=y)
    with jax.numpy_dtype_promotion("standard"):
        value, grad = optax.value_and_grad_from_state(loss)(cores, state=state)
        updates, state = optimizer.update(grad, state, cores, value=value, grad=grad, value_fn=loss)
    return optax.apply_updates(cores, updates), state
