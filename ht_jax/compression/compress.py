"""`compress`: a trained model's matrices as tensor networks, by tolerance or within one budget.

Under a budget the error is counted where it counts: in the outputs for the calibration data, or
without any in each matrix relative to its size. A tolerance is on each matrix by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ht_jax import nn
from ht_jax.compression import paths
from ht_jax.compression.allocate import Budget
from ht_jax.compression.frontier import frontier, rebuilt, sites_of
from ht_jax.compression.report import Report, relative_error, rows
from ht_jax.compression.sites import Scope, Site, adopted
from ht_jax.compression.whiten import Whitener
from ht_jax.formats import Dense, Weight


def compress(
    model: Any,
    *,
    tol: float | None = None,
    budget: Any = None,
    formats: Sequence[str] = ("ht", "low_rank"),
    scope: Scope = "all",
    calibration: Iterable[Any] | None = None,
    refine: int = 0,
    uniform: bool = False,
    key: jax.Array | None = None,
) -> tuple[Any, Report]:
    """A trained model, matrix or pytree of arrays with compressed matrices.

    Args:
        model: an nnx model (its `nnx.Linear` layers, its cells, within `nnx.RNN` or elsewhere, and
            the layers of this package); a matrix (in_features, out_features); or a pytree, of
            which the matrices are compressed. It stays as it is.
        tol: relative Frobenius error that each matrix keeps, measured in float64; with as few
            parameters as the formats allow. A matrix that does not shrink stays as it is.
        budget: in its place, what the whole model may take: a number of parameters, or one of
            {"params": n}, {"bytes": n}, {"latency": seconds of all matrices for one row, as
            modelled}. It is never exceeded. All `nnx.Param`s count, each once, whether in the
            scope or not; a matrix that is compressed already is compressed again or kept.
        formats: "ht" and "low_rank", or one of them; each matrix takes the better.
        scope: "input" for the input-to-hidden matrices of cells; "all" for every matrix by
            itself; "joint" likewise, both matrices of a cell as one.
        calibration: batches of the model's inputs (a tuple each where it takes several), for a
            matrix arrays of its input; it decides what an error costs under a budget.
        refine: steps of L-BFGS on the calibration data after the decomposition, layer by layer.
        uniform: one rank for all nodes of all matrices, for comparison: the largest that the
            budget allows.
        key: for random directions of the outputs.

    Returns:
        The compressed model, called as before (a matrix becomes a `Weight`), and a `Report`.

    Raises:
        ValueError: neither or both of tol and budget, an unknown format or scope, values that are
            not finite, a budget below the smallest possible, or no matrix in the scope.

    Example:
        >>> kernel = jnp.outer(jnp.arange(48.0), jnp.ones(16))
        >>> weight, report = compress(kernel, tol=1e-3)
        >>> weight.format, report.rows[0].params_after
        (LowRank(in_features=48, out_features=16, rank=1), 64)
    """
    _check(tol, budget, formats, scope)
    batches = None if calibration is None else [_as_tuple(batch) for batch in calibration]
    if batches == []:
        raise ValueError("calibration holds no batch: give one or more, or None")
    if not isinstance(model, nnx.Module):
        return _compress_arrays(
            model, tol, budget, formats=formats, calibration=batches, refine=refine, key=key
        )
    if tol is None:
        found = frontier(
            model, formats=formats, scope=scope, calibration=batches, uniform=uniform, key=key
        )
        return found.within(budget, refine=refine)
    return _within_tolerance(model, tol, formats, scope, batches)


def _within_tolerance(model: Any, tol: float, formats: Sequence[str], scope: Scope, batches):
    sites = sites_of(adopted(model), scope, batches)
    found = {site: within(site, tol, formats) for site in sites}
    weights = {site: weight for site, weight in found.items() if weight is not None}
    after = rebuilt(model, weights)
    lines = tuple(line for site in sites for line in rows(site, found[site], tol**2))
    return after, Report.of(model, after, lines, batches)


def within(site: Site, tol: float, formats: Sequence[str]) -> Weight | None:
    """The weight of fewest parameters within a relative error; None if there is no smaller one."""
    whitener = Whitener.plain(site)
    options = paths.choices(site, whitener, formats, tol=tol / 2)
    good = [c for c in options if c.error <= tol**2 * (1 - 1e-3)]
    for choice in sorted(good, key=lambda c: c.params):
        white = choice.make()
        if white is None:
            return None
        weight = whitener.coloured(white)
        if relative_error(weight, site.kernel) <= tol:
            return weight
    return None


def _compress_arrays(tree: Any, tol, budget, *, calibration, **options: Any) -> tuple[Any, Report]:
    """The matrices of a pytree, as the layers of a model."""
    leaves, structure = jax.tree.flatten(tree)
    matrices = {n: a for n, a in enumerate(leaves) if _is_matrix(a)}
    if calibration is not None and len(leaves) > 1:
        raise ValueError("calibration goes with a model or with one matrix, not with a pytree")
    layers = {n: _layer(jnp.asarray(a)) for n, a in matrices.items()}
    alone = isinstance(tree, jax.Array | np.ndarray)
    rest = [jnp.asarray(a) for n, a in enumerate(leaves) if n not in matrices]
    holder = layers[0] if alone and layers else _Holder(layers, rest)
    after, report = compress(holder, tol=tol, budget=budget, calibration=calibration, **options)
    for n in matrices:
        layer = after if alone else after.layers[str(n)]
        compressed = not isinstance(layer.format, Dense)
        leaves[n] = layer.weight if compressed or alone else leaves[n]
    return jax.tree.unflatten(structure, leaves), report


class _Holder(nnx.Module):
    """The arrays of a pytree, so that they are a model; nothing calls it."""

    def __init__(self, layers: dict[int, nn.TensorDense], rest: list[Any]):
        self.layers = nnx.data({str(n): layer for n, layer in layers.items()})
        self.rest = nnx.data([nnx.Param(a) for a in rest])


def _layer(kernel: jax.Array) -> nn.TensorDense:
    fmt = Dense(*kernel.shape)
    options = {"use_bias": False, "param_dtype": kernel.dtype}
    layer = nnx.eval_shape(lambda: nn.TensorDense(fmt, **options, rngs=nnx.Rngs(0)))
    layer.hold(Weight({"kernel": kernel}, fmt))
    return layer


def _is_matrix(a: Any) -> bool:
    return jnp.ndim(a) == 2 and jnp.issubdtype(jnp.asarray(a).dtype, jnp.floating)


def _as_tuple(batch: Any) -> tuple[Any, ...]:
    return tuple(batch) if isinstance(batch, tuple | list) else (batch,)


def _check(tol: Any, budget: Any, formats: Sequence[str], scope: str) -> None:
    if (tol is None) == (budget is None):
        raise ValueError(f"tol={tol}, budget={budget}: give exactly one of them")
    if tol is not None and not 0 < tol < 1:
        raise ValueError(f"tol {tol} must lie between 0 and 1: it is relative to each matrix")
    if budget is not None:
        Budget.of(budget)
    paths.check_names(formats)
    if scope not in ("input", "all", "joint"):
        raise ValueError(f"scope {scope!r} is none of 'input', 'all' and 'joint'")
