"""Means with 95 % intervals, and differences of systems paired by seed, from Student's t."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True)
class Mean:
    """A mean over runs.

    Attributes:
        value: the mean.
        half_width: of its 95 % interval; None for a single run.
        count: of the runs.
    """

    value: float
    half_width: float | None
    count: int

    def percent(self) -> str:
        """As percent with the interval.

        >>> Mean(0.875, 0.021, 5).percent()
        '87.5 ± 2.1 %'
        """
        if self.half_width is None:
            return f"{self.value:.1%}".replace("%", " %")
        return f"{100 * self.value:.1f} ± {100 * self.half_width:.1f} %"


def mean(values: Sequence[float]) -> Mean:
    """The mean and its 95 % interval.

    Args:
        values: one for each independent run.

    >>> mean([0.8, 0.9]).value
    0.85
    """
    count = len(values)
    center = math.fsum(values) / count
    if count < 2:
        return Mean(center, None, count)
    deviation = math.sqrt(math.fsum((x - center) ** 2 for x in values) / (count - 1))
    half = float(stats.t.ppf(0.975, count - 1)) * deviation / math.sqrt(count)
    return Mean(center, half, count)


@dataclass(frozen=True)
class Paired:
    """The difference of two systems, seed by seed.

    Attributes:
        difference: mean of first - second.
        half_width: of its 95 % interval.
        p_value: of the two-sided paired t-test.
    """

    difference: float
    half_width: float
    p_value: float


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """The paired t-test of two systems with the same seeds.

    Args:
        first: one value for each seed.
        second: the same.

    Raises:
        ValueError: not the same two or more seeds.

    >>> paired([0.8, 0.9, 0.7], [0.7, 0.8, 0.5]).difference
    0.1333
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(
            f"{len(first)} and {len(second)} runs: pairs need the same 2 seeds or more"
        )
    differences = [a - b for a, b in zip(first, second)]
    found = mean(differences)
    assert found.half_width is not None
    if found.half_width == 0:  # a t-test of equal differences divides by 0
        return Paired(found.value, 0.0, float(found.value == 0))
    return Paired(found.value, found.half_width, float(stats.ttest_rel(first, second).pvalue))
