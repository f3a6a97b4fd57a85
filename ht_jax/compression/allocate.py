"""One budget for all matrices: each next number goes where it lowers the expected error most.

The choices of a matrix are cut down to the lower convex hull of (cost, error); from the cheapest
choices on, the steepest step of any matrix is taken until none fits (greedy on concave gains).
"""

from __future__ import annotations

import dataclasses
import heapq
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from ht_jax.compression.paths import Choice
from ht_jax.compression.sites import Site

UNITS = {"params": "numbers", "bytes": "bytes", "latency": "seconds a row"}


@dataclasses.dataclass(frozen=True)
class Budget:
    """What the whole model may take, in one unit.

    Attributes:
        unit: "params" or "bytes" of all `nnx.Param`s, each once; or "latency": modelled seconds
            of all matrices for one row.
        limit: how many.
    """

    unit: str
    limit: float

    @classmethod
    def of(cls, budget: Any) -> Budget:
        """A budget from what a user gives: a number of parameters, or {unit: limit}.

        Raises:
            ValueError: an unknown unit, several of them, or a limit that is not positive.
        """
        given = budget if isinstance(budget, Mapping) else {"params": budget}
        if len(given) != 1 or not set(given) <= set(UNITS):
            raise ValueError(f"budget {budget!r}: give a number of parameters, or one of {UNITS}")
        ((unit, limit),) = given.items()
        if isinstance(limit, bool) or not isinstance(limit, numbers.Real) or not float(limit) > 0:
            raise ValueError(f"budget {budget!r}: the limit must be a positive number")
        return cls(unit, int(limit) if isinstance(limit, numbers.Integral) else float(limit))

    def cost(self, site: Site, choice: Choice) -> float:
        """What a matrix takes."""
        if self.unit == "latency":
            return choice.seconds(site.dtype)
        size = jnp.dtype(site.dtype).itemsize if self.unit == "bytes" else 1
        return choice.params * size

    def thinned(self, choices: Sequence[Choice]) -> Sequence[Choice]:
        """The choices worth pricing: planning takes time, so few of them for a latency."""
        if self.unit != "latency":
            return choices
        kept: list[Choice] = []
        for choice in sorted(choices, key=lambda c: -c.params):
            if not kept or choice.params < 0.7 * kept[-1].params:
                kept.append(choice)
        return [*kept, choices[0], min(choices, key=lambda c: c.params)]


@dataclasses.dataclass(frozen=True)
class Priced:
    """A choice and its cost."""

    cost: float
    choice: Choice

    @property
    def error(self) -> float:
        """Squared, expected."""
        return self.choice.error


def allocate(
    options: Sequence[Sequence[Priced]], limit: float, describe: Callable[[float], str]
) -> list[Choice]:
    """One choice for each matrix, together within a limit.

    Args:
        options: what each matrix may be.
        limit: on the sum of the costs.
        describe: the error message for the least cost.

    Raises:
        ValueError: the cheapest choices cost more than the limit.
    """
    hulls = [hull(option) for option in options]
    chosen = [0] * len(hulls)
    least = sum(points[0].cost for points in hulls)
    left = limit - least
    if left < 0:
        raise ValueError(describe(least))
    steps = [_step(points, 0, n) for n, points in enumerate(hulls) if len(points) > 1]
    heapq.heapify(steps)
    while steps:
        _, n, at = heapq.heappop(steps)
        price = hulls[n][at + 1].cost - hulls[n][at].cost
        if price > left:
            continue
        left, chosen[n] = left - price, at + 1
        if at + 2 < len(hulls[n]):
            heapq.heappush(steps, _step(hulls[n], at + 1, n))
    return _filled(options, [points[k] for points, k in zip(hulls, chosen)], left)


def allocate_uniformly(
    options: Sequence[Sequence[Priced]], limit: float, describe: Callable[[float], str]
) -> list[Choice]:
    """For comparison: the same rank for all matrices, `options` being in its order.

    Raises:
        ValueError: rank 1 costs more than the limit.
    """
    best = None
    for rank in range(max(map(len, options))):
        picked = [option[min(rank, len(option) - 1)] for option in options]
        cost = sum(priced.cost for priced in picked)
        if cost <= limit:
            best = [priced.choice for priced in picked]
        elif best is None:
            raise ValueError(describe(cost))
    assert best is not None
    return best


def hull(options: Sequence[Priced]) -> list[Priced]:
    """The choices on the lower convex hull, from the cheapest to the most exact."""
    kept: list[Priced] = []
    for option in sorted(options, key=lambda p: (p.cost, p.error)):
        if kept and option.error >= kept[-1].error:
            continue
        while len(kept) > 1 and _slope(kept[-2], kept[-1]) >= _slope(kept[-1], option):
            kept.pop()
        kept.append(option)
    return kept


def _slope(a: Priced, b: Priced) -> float:
    """Change of the error for each unit of cost; negative."""
    return (b.error - a.error) / max(b.cost - a.cost, 1e-30)


def _step(points: list[Priced], at: int, n: int) -> tuple[float, int, int]:
    return _slope(points[at], points[at + 1]), n, at


def _filled(options: Sequence[Sequence[Priced]], chosen: list[Priced], left: float) -> list[Choice]:
    """What is left of the limit, spent on choices off the hull, where the error falls most."""
    for n in sorted(range(len(chosen)), key=lambda n: -chosen[n].error):
        fitting = [p for p in options[n] if p.cost <= chosen[n].cost + left]
        best = min(fitting, key=lambda p: (p.error, p.cost), default=chosen[n])
        left, chosen[n] = left + chosen[n].cost - best.cost, best
    return [priced.choice for priced in chosen]
