"""What a matrix meets in use: second moments of its inputs and of the outputs' sensitivity to it.

With x its inputs and g the outputs' gradient at its products, a change D of the matrix moves the
outputs of an example by E |D' x . g|^2 ~ tr(A D G D'), A = E[x x'], G = E[g g'] (Martens and
Grosse 2015); A is the Kronecker product of the moments of its modes, since in full it may not fit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Shaped

from ht_jax.compression.sites import Site, layer_at, owner
from ht_jax.formats import Prepared, Weight
from ht_jax.schedule import Reading, Schedule

LARGE = 4096  # outputs: with more of them only their mean square is kept, not all products


@dataclasses.dataclass(frozen=True)
class Moments:
    """Second moments of one matrix, summed over the calibration data.

    Attributes:
        inputs: for each input mode (m, m), summed over the others.
        output: (out, out) of the gradients at the products; None if there are too many of them.
        rows: rows of input.
        examples: examples that the rows belong to.
    """

    inputs: tuple[np.ndarray, ...]
    output: np.ndarray | None
    rows: float
    examples: int


class Moment(nnx.Variable[Array]):
    """A sum of second moments; its "gradient" is what one batch adds to it."""


class Observer(nnx.Module):
    """Makes a dense layer show the moments of its products, as cotangents of `moments`.

    They so pass through scan, checkpoint and jit, which sum cotangents over their iterations.

    Args:
        in_shape: the input modes.
        offset: rows of the site's matrix before those of the layer.
        out_features: length of the outputs.
        dtype: of the sums.
    """

    in_shape: tuple[int, ...]
    offset: int
    moments: dict[str, Moment]

    def __init__(self, in_shape: tuple[int, ...], offset: int, out_features: int, dtype: Any):
        self.in_shape, self.offset = in_shape, offset
        out = (out_features,) * 2 if out_features <= LARGE else ()
        shapes = {f"moment_{k}": (m, m) for k, m in enumerate(in_shape)}
        shapes |= {"moment_out": out, "moment_rows": ()}
        self.moments = nnx.data({name: Moment(jnp.zeros(s, dtype)) for name, s in shapes.items()})

    def __call__(self, weight: Weight) -> Weight:
        """The weight, observed."""
        moments = {name: moment[...] for name, moment in self.moments.items()}
        return ObservedWeight(weight.cores, weight.format, moments, self.in_shape, self.offset)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ObservedWeight(Weight):
    """A dense weight with the moments that its products are to show."""

    moments: dict[str, Array]
    in_shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    offset: int = dataclasses.field(metadata={"static": True})

    def merge(self, schedule: Schedule, precision: jax.lax.PrecisionLike = None) -> Prepared:
        """See `Weight.merge`; the moments go along."""
        merged = super().merge(schedule, precision).merged
        observed = self.moments, self.in_shape, self.offset
        return ObservedPrepared(merged, self.format, schedule, *observed)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ObservedPrepared(Prepared):
    """What `ObservedWeight.merge` returns."""

    moments: dict[str, Array]
    in_shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    offset: int = dataclasses.field(metadata={"static": True})

    def __call__(
        self,
        x: Shaped[Array, "*batch in_features"],
        *,
        reading: Reading | None = None,
        precision: jax.lax.PrecisionLike = None,
    ) -> Shaped[Array, "*batch out_features"]:
        """The product, observed."""
        y = super().__call__(x, reading=reading, precision=precision)
        rows = as_read(x, reading, y.dtype).reshape(-1, x.shape[-1])
        behind = math.prod(self.in_shape) - self.offset - rows.shape[1]
        rows = jnp.pad(rows, ((0, 0), (self.offset, behind))).reshape(-1, *self.in_shape)
        return _observe(y.reshape(-1, y.shape[-1]), rows, self.moments).reshape(y.shape)


def as_read(x: Array, reading: Reading | None, dtype: Any) -> Array:
    """Inputs as floats: integers by their reading."""
    if not jnp.issubdtype(x.dtype, jnp.integer):
        return x
    reading = reading or Reading()
    scale, offset = (jnp.asarray(a, dtype) for a in (reading.scale, reading.offset))
    return x.astype(dtype) * scale + offset


@jax.custom_vjp
def _observe(y: Array, x: Array, moments: Mapping[str, Array]) -> Array:
    del x, moments
    return y


def _forward(y: Array, x: Array, moments: Mapping[str, Array]):
    return y, (x, jnp.ndim(moments["moment_out"]))


def _backward(saved: tuple[Array, int], g: Array):
    x, ndim = saved
    shown = {f"moment_{k}": _product(x, k + 1) for k in range(x.ndim - 1)}
    shown["moment_out"] = _product(g, 1) if ndim else jnp.sum(g * g) / g.shape[1]
    shown["moment_rows"] = jnp.asarray(x.shape[0], x.dtype)
    return g, jnp.zeros_like(x), shown


_observe.defvjp(_forward, _backward)


def _product(x: Array, axis: int) -> Float[Array, "m m"]:
    flat = jnp.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
    return flat @ flat.T


def observe(
    model: nnx.Module,
    sites: Sequence[Site],
    calibration: Iterable[tuple[Any, ...]],
    key: jax.Array,
) -> dict[Site, Moments]:
    """Runs a model over calibration data and sums the moments of its matrices.

    Args:
        model: with dense matrices at the sites, as `densified` leaves it.
        sites: the matrices.
        calibration: batches; each is the tuple of the model's arguments.
        key: for random directions of the outputs, in which the gradients are taken.

    Returns:
        The moments by site.
    """
    graphdef, moments, rest = nnx.split(_watched(model, sites), Moment, ...)

    @jax.jit
    def batch_moments(rest: Any, key: jax.Array, batch: tuple[Any, ...]) -> Any:
        def directed(moments):
            outputs = nnx.merge(graphdef, moments, rest)(*batch)
            return sum(
                jnp.vdot(jax.random.rademacher(jax.random.fold_in(key, n), y.shape, y.dtype), y)
                for n, y in enumerate(jax.tree.leaves(outputs))
            )

        return jax.grad(directed)(moments)

    total, examples = None, 0
    for n, batch in enumerate(calibration):
        found = nnx.to_pure_dict(batch_moments(rest, jax.random.fold_in(key, n), batch))
        found = jax.tree.map(lambda a: np.asarray(a, np.float64), found)
        total = found if total is None else jax.tree.map(np.add, total, found)
        examples += jnp.shape(jax.tree.leaves(batch)[0])[0]
    return {site: _moments(site, total, examples) for site in sites}


def _watched(model: nnx.Module, sites: Sequence[Site]) -> nnx.Module:
    """A copy of the model that shows the moments of its matrices."""
    model = nnx.clone(model)
    model.eval()
    for site in sites:
        for place, rows in site.parts.items():
            layer = layer_at(model, site.path, place)
            kernel = layer.weight.cores["kernel"]
            observer = Observer(site.in_shape, rows, kernel.shape[1], kernel.dtype)
            layer.observer = nnx.data(observer)
    return model


def _moments(site: Site, total: Any, examples: int) -> Moments:
    """The moments of a site; to those of a joint matrix its parts contribute.

    In the first mode they have slices of their own. The other modes they share, so there each
    counts alike: else what hidden states need drowns in the power of the frames.
    """
    parts = [_layer_of(total, site.path, place)["observer"]["moments"] for place in site.parts]
    first = np.sum([part["moment_0"] for part in parts], 0)
    others = [
        np.sum([part[f"moment_{k}"] / (np.trace(part[f"moment_{k}"]) or 1.0) for part in parts], 0)
        for k in range(1, len(site.in_shape))
    ]
    # Both parts of a joint matrix see the same gradients, and each row is met by both.
    rows, output = parts[0]["moment_rows"], parts[0]["moment_out"]
    return Moments((first, *others), output if np.ndim(output) else None, float(rows), examples)


def _layer_of(total: Any, path: str, place: str) -> dict[str, Any]:
    cell = owner(total, path)
    return cell if place == "kernel" else cell[place]
