"""The frontier of a model: analysed once, then compressed to as many budgets as one likes.

The analysis observes the model on the calibration data and decomposes every matrix; a budget is
then a choice among truncations of what is there.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ht_jax.compression import paths
from ht_jax.compression.allocate import Budget, Priced, allocate, allocate_uniformly
from ht_jax.compression.moments import observe
from ht_jax.compression.paths import Choice
from ht_jax.compression.refine import record, refined
from ht_jax.compression.report import Report, rows, size
from ht_jax.compression.sites import Scope, Site, adopted, as_dense, densified, find_sites, put
from ht_jax.compression.whiten import Whitener
from ht_jax.formats import HT, RankWarning, Weight

Batches = Sequence[tuple[Any, ...]]
UNUSED = 0.1  # of a budget: from there on it is said why


@dataclasses.dataclass(frozen=True, eq=False)
class Frontier:
    """What `frontier` found.

    Attributes:
        model: as it was.
        dense: its copy with dense layers of this package, in float32 or wider.
        whiteners: the factors of each matrix.
        choices: all ways to hold each matrix.
        batches: the calibration data, if any.
        uniform: whether the choices are those of one rank for all.

    Example:
        >>> model = nnx.Linear(48, 16, rngs=nnx.Rngs(0))
        >>> found = frontier(model, formats=["low_rank"])
        >>> [found.within(budget)[1].params_after for budget in (200, 500)]
        [144, 464]
    """

    model: nnx.Module
    dense: nnx.Module
    whiteners: Mapping[Site, Whitener]
    choices: Mapping[Site, Sequence[Choice]]
    batches: Batches | None
    uniform: bool

    def within(self, budget: Any, *, refine: int = 0) -> tuple[Any, Report]:
        """The model within a budget, and a report.

        Args:
            budget: as `compress` takes it.
            refine: likewise.

        Raises:
            ValueError: the budget is below the smallest possible.
        """
        chosen = self._allocated(Budget.of(budget))
        inputs = {}
        if refine and self.batches:
            inputs = record(self.dense, list(chosen), self.batches)
        found = {
            site: self._weight(site, choice, inputs.get(site), refine)
            for site, choice in chosen.items()
        }
        weights = {site: weight for site, weight in found.items() if weight is not None}
        after = rebuilt(self.model, weights)
        lines = tuple(line for s in chosen for line in rows(s, found[s], chosen[s].error))
        return after, Report.of(self.model, after, lines, self.batches)

    def _allocated(self, budget: Budget) -> dict[Site, Choice]:
        options = []
        for site, choices in self.choices.items():
            found = choices if self.uniform else budget.thinned(choices)
            options.append([Priced(budget.cost(site, choice), choice) for choice in found])
        fixed = _fixed(self.model, self.choices, budget)
        pick = allocate_uniformly if self.uniform else allocate

        def refuse(least: float) -> str:
            return (
                f"budget {budget.limit:,} {budget.unit} is below the {least + fixed:,} of the "
                "smallest model in these formats: allow that or more"
            )

        chosen = dict(zip(self.choices, pick(options, budget.limit - fixed, refuse)))
        left = budget.limit - fixed - sum(budget.cost(*each) for each in chosen.items())
        if left > UNUSED * budget.limit:
            self._warn_of_bounds(chosen, f"{left:,.6g} of {budget.limit:,} {budget.unit}")
        return chosen

    def _warn_of_bounds(self, chosen: Mapping[Site, Choice], left: str) -> None:
        """Says so where a budget stays unused because no finer decomposition was made for it."""
        for site, choice in chosen.items():
            fmt = choice.format
            if choice.error and isinstance(fmt, HT) and paths.is_bounded(fmt):
                warnings.warn(
                    f"{site.name}: the decomposition for budgets stops at ranks of {paths.LEAF} "
                    f"for the input's modes, {paths.INNER} elsewhere; {left} stay unused. "
                    "A tol= knows no such bound",
                    RankWarning,
                    stacklevel=4,
                )

    def _weight(
        self, site: Site, choice: Choice, rows: np.ndarray | None, steps: int
    ) -> Weight | None:
        """The weight of a choice; None if the matrix stays as it is."""
        white, whitener = choice.make(), self.whiteners[site]
        if white is None:
            return None
        if rows is not None:
            white = refined(white, site, whitener, rows, steps)
        return whitener.coloured(white)


def frontier(
    model: nnx.Module,
    *,
    formats: Sequence[str] = ("ht", "low_rank"),
    scope: Scope = "all",
    calibration: Iterable[tuple[Any, ...]] | None = None,
    uniform: bool = False,
    key: jax.Array | None = None,
) -> Frontier:
    """Analyses a model; arguments as `compress` takes them, batches as tuples.

    Returns:
        The frontier, whose `within` compresses to a budget.

    Example:
        >>> found = frontier(nnx.Linear(48, 16, rngs=nnx.Rngs(0)), formats=["low_rank"])
        >>> smaller, report = found.within({"bytes": 1_000})
        >>> report.bytes_after <= 1_000
        True
    """
    paths.check_names(formats)
    batches = None if calibration is None else list(calibration)
    ours = adopted(model)
    dense, sites = densified(ours), sites_of(ours, scope, batches)
    if batches is None:
        whiteners = {site: Whitener.plain(site) for site in sites}
    else:
        moments = observe(dense, sites, batches, jax.random.key(0) if key is None else key)
        whiteners = {site: Whitener.of(site, found) for site, found in moments.items()}
    find = paths.uniform if uniform else paths.choices
    choices = {site: find(site, whiteners[site], formats) for site in sites}
    return Frontier(model, dense, whiteners, choices, batches, uniform)


def sites_of(model: nnx.Module, scope: Scope, batches: Batches | None) -> list[Site]:
    """The matrices of an adopted model in the scope, checked.

    Raises:
        ValueError: there is none, or one holds values that are not finite.
    """
    shapes = tuple(jnp.shape(a) for a in jax.tree.leaves(batches[:1] if batches else ()))
    sites = find_sites(model, scope, shapes)
    if not sites:
        raise ValueError(f"there is no matrix in the scope {scope!r} of this model")
    for site in sites:
        if not bool(jnp.isfinite(site.kernel).all()):
            raise ValueError(f"{site.name or 'the matrix'} holds values that are not finite")
    return sites


def rebuilt(model: nnx.Module, weights: Mapping[Site, Weight]) -> nnx.Module:
    """A copy of the model that holds other weights; layers without any stay what they are."""
    after = adopted(model, {site.path for site in weights})
    for site, weight in weights.items():
        put(after, site, weight)
    return after


def _fixed(model: Any, sites: Iterable[Site], budget: Budget) -> float:
    """What the model takes besides its matrices, once all of them are replaced.

    Counted in such a model: a layer may then hold parameters that it did not (a bias of Flax's
    GRU), and matrices that shared them have their own.
    """
    if budget.unit == "latency":
        return 0.0
    kernels = {site: as_dense(site.kernel.astype(site.dtype), site.gates) for site in sites}
    numbers, taken = size(rebuilt(model, kernels))
    arrays = [weight.cores["kernel"] for weight in kernels.values()]
    if budget.unit == "params":
        return numbers - sum(kernel.size for kernel in arrays)
    return taken - sum(kernel.nbytes for kernel in arrays)
