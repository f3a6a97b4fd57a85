"""Suggestions: modes, tree and ranks for people who know only their sizes and their budget.

Of two formats within the budget the one of larger effective rank is better (the geometric mean of
the network's inner indices), then the one with less padding, then the one that is modelled faster.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from ht_jax.formats import Format, RankWarning
from ht_jax.schedule import Mode
from ht_jax.summary import bond_sizes
from ht_jax.tree import DimensionTree

Modes = tuple[int, ...]

SIMILAR = 1.1  # effective ranks count as equal in steps of this factor
PLANNED = 8  # candidates that are good enough to be planned
PER_SIDE = 2  # factorizations kept of each size, for each number of modes
SPREAD, WIDTH = 2.5, 6  # modes lie within this factor of their mean, and this near unless exact
UNEVEN, EXACT = 0.05, 0.03  # in shares of padding: modes e times as large as others; no padding
TERMS = (1, 2, 4)  # tried for what a format asks for beside modes and a rank
GIVEN = {"rank", "in_modes", "out_modes", "in_features", "out_features", "gates"}
OFFSETS = (None, -2, -1, 1)  # of a second kind of rank from the first


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """One proposal.

    Attributes:
        format: for the matrix without gates, as cells take it.
        num_params: numbers in its cores, gates included.
        compression_ratio: numbers of the dense matrix for each of them.
        padding: share of the padded matrix that stands for nothing, in [0, 1).
        rank: effective rank, the geometric mean of the network's inner indices.
        seconds: modelled time of `batch` rows.

    Example:
        >>> print(suggest(48, 16, budget=200, format="tt")[0])
        TT(...): 192 numbers (4x), effective rank 4.0, 0.0% padding, ... ms modelled
    """

    format: Format
    num_params: int
    compression_ratio: float
    padding: float
    rank: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.format}: {self.num_params:,} numbers ({self.compression_ratio:,.0f}x), "
            f"effective rank {self.rank:.1f}, {self.padding:.1%} padding, "
            f"{self.seconds * 1e3:.3g} ms modelled"
        )


def suggest(
    in_features: int,
    out_features: int,
    budget: int | None = None,
    format: str | type[Format] = "ht",
    *,
    latency: float | None = None,
    gates: int = 1,
    batch: int = 96,
    mode: Mode = "infer",
    max_modes: int = 6,
    count: int = 5,
    **options: Any,
) -> list[Suggestion]:
    """Proposes formats for a matrix, the best first.

    Args:
        in_features: length of the input; of [x; h] for a joint matrix.
        out_features: length of the output, without gates.
        budget: numbers that the cores may hold, gates included. By default 1 % of the dense
            matrix or, if that is more, ten times what the smallest format holds; all that the
            dense matrix holds if a latency is given.
        format: name of a format, in small letters or as its class, or the class.
        latency: seconds that `batch` rows may take on the default device, as modelled.
        gates: 4 for an LSTM, 3 for a GRU.
        batch: rows of input for which the time is modelled.
        mode: "infer" models the forward pass, "train" forward and backward.
        max_modes: most modes on either side.
        count: most suggestions.
        options: fields of the format that are given, such as `terms=2` or `tree=...`.

    Returns:
        Suggestions of different modes, in the order of the effective rank (equal within a
        tenth), then the padding, then the modelled time.

    Raises:
        ValueError: an unknown format, or a budget or a latency below the smallest possible.

    Example:
        >>> best = suggest(57_856, 256, budget=2_000, gates=4)[0]
        >>> best.num_params <= 2_000, best.padding < 0.02
        (True, True)
    """
    wanted = _Wanted(_format_class(format), in_features, out_features, gates, batch, mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RankWarning)  # a rank that cannot be used does not fit
        drafts = list(wanted.drafts(max_modes, options))
        smallest = min((draft(1) for draft in drafts), key=wanted.num_params)
        limit = _limit(wanted, budget, latency, smallest)
        found = _shortlist([wanted.largest(draft, limit) for draft in drafts])
        if latency is not None:
            found = wanted.in_time(found, latency, smallest)
        best = _best([wanted.suggestion(fmt) for _, _, fmt in found])[:count]
        if "tree" not in options:
            best[0] = wanted.with_faster_tree(best[0])
    return best


Draft = Callable[[int], Format]  # from a rank to a format
Found = tuple[Draft, int, Format]  # a draft at a rank


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """What is asked for: the class of format, the sizes, and for what the time is modelled."""

    cls: type[Any]
    in_features: int
    out_features: int
    gates: int
    batch: int
    mode: Mode

    def num_params(self, fmt: Format) -> int:
        return fmt.with_gates(self.gates).num_params

    def seconds(self, fmt: Format) -> float:
        return fmt.with_gates(self.gates).plan(self.batch, mode=self.mode).seconds

    def drafts(self, max_modes: int, options: dict[str, Any]) -> Iterator[Draft]:
        """Formats of all modes and other fields worth a try, but for their rank.

        Raises:
            ValueError: not one of them can be made.
        """
        fields = {f.name: f for f in dataclasses.fields(self.cls)}
        _check_options(self.cls, fields, options)
        refusal, made = None, 0
        extras_of = _extras(fields, options)
        for sizes, extras in itertools.product(self._sizes(fields, max_modes), extras_of):
            draft = functools.partial(self._make, sizes, {**extras, **options})
            try:
                draft(1).with_gates(self.gates)
            except (ValueError, RankWarning) as error:
                refusal = error
            else:
                made += 1
                yield draft
        if not made:
            raise ValueError(f"no {self.cls.__name__} can be made: {refusal}")

    def _make(self, sizes: dict[str, Any], extras: dict[str, Any], rank: int) -> Format:
        extras = {k: v.beside(rank) if isinstance(v, _Offset) else v for k, v in extras.items()}
        fmt: Format = self.cls(**sizes, rank=rank, **extras)
        return fmt.sized(self.in_features, self.out_features)

    def _sizes(self, fields: dict[str, Any], max_modes: int) -> Iterator[dict[str, Any]]:
        """Modes of both sides, as arguments of the format."""
        if "in_modes" not in fields:
            yield {"in_features": self.in_features, "out_features": self.out_features}
            return
        numbers, paired = range(2, max_modes + 1), _is_paired(self.cls, fields)
        for d, e in itertools.product(numbers, numbers):
            if paired and d != e:
                continue
            for ins, outs in itertools.product(
                factorizations(self.in_features, d), factorizations(self.out_features, e)
            ):
                ins, outs = _arranged(ins, outs, self.gates, paired)
                yield {"in_modes": ins, "out_modes": outs}

    def largest(self, draft: Draft, limit: int) -> Found | None:
        """The draft at the largest rank that is of use and within `limit`."""
        return _largest(draft, lambda fmt: self.num_params(fmt) <= limit)

    def in_time(self, found: list[Found], latency: float, smallest: Format) -> list[Found]:
        """The drafts at the largest ranks, up to those they have, that keep the latency."""

        def fits(fmt: Format, most: int) -> bool:
            return self.num_params(fmt) <= most and self.seconds(fmt) <= latency

        heads = _first_of_each(found, lambda fmt: len(fmt.in_modes))
        kept = []
        for draft, _, fmt in heads[: PLANNED // 2]:
            most = self.num_params(fmt)
            kept.append(_largest(draft, functools.partial(fits, most=most)))
        if not any(kept):
            raise ValueError(
                f"latency {latency} s is below what the formats found take for {self.batch} rows, "
                f"such as {self.seconds(smallest):.3g} s for {smallest}: allow more time"
            )
        return [candidate for candidate in kept if candidate is not None]

    def suggestion(self, fmt: Format) -> Suggestion:
        gated = fmt.with_gates(self.gates)
        counts = gated.num_params, gated.compression_ratio
        return Suggestion(fmt, *counts, _padding(fmt), _effective_rank(fmt), self.seconds(fmt))

    def with_faster_tree(self, found: Suggestion) -> Suggestion:
        """The suggestion with a linear tree in place of a balanced one, if that is faster."""
        fmt: Any = found.format
        if not hasattr(fmt, "tree"):
            return found
        linear = DimensionTree.linear(len(fmt.in_modes))
        other = self.suggestion(dataclasses.replace(fmt, tree=linear))
        return min(found, other, key=lambda suggestion: suggestion.seconds)


def _largest(draft: Draft, fits: Callable[[Format], bool]) -> Found | None:
    """The draft at the largest rank that fits, found by doubling and halving."""

    def good(rank: int) -> bool:
        try:
            return fits(draft(rank))
        except RankWarning:
            return False

    low, high = 0, 1
    while good(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if good(middle) else (low, middle)
    return (draft, low, draft(low)) if low else None


@dataclasses.dataclass(frozen=True)
class _Offset:
    """A second kind of rank, relative to the first."""

    offset: int

    def beside(self, rank: int) -> int:
        return max(1, rank + self.offset)


@functools.lru_cache(256)
def factorizations(size: int, count: int) -> tuple[Modes, ...]:
    """The best ways to write `size`, or a little more, as a product of `count` modes.

    Good are little padding and modes of similar size: modes e times as large as others weigh as
    much as 5 % of padding, and padding at all as 3 % more of it.

    Args:
        size: at least 1.
        count: at least 2.

    Returns:
        A few tuples of modes, each ascending, the best first.

    Example:
        >>> factorizations(57_600, 4)[0], factorizations(57_856, 5)[0]
        ((15, 15, 16, 16), (8, 9, 9, 9, 10))
    """
    root = size ** (1 / count)
    low, high = max(1, math.floor(root / SPREAD)), math.ceil(root * SPREAD)
    near = range(max(low, round(root) - WIDTH), min(high, round(root) + WIDTH) + 1)
    values = sorted({*near, *(v for v in range(low, high + 1) if size % v == 0)})
    found = set()
    for head in itertools.combinations_with_replacement(values, count - 1):
        last = max(head[-1], -(-size // math.prod(head)))
        if last <= high:
            found.add((*head, last))
    return tuple(sorted(found, key=lambda modes: (_weight(modes, size), modes))[:PER_SIDE])


def _weight(modes: Modes, size: int) -> float:
    padding = math.prod(modes) / size - 1
    return padding + EXACT * (padding > 0) + UNEVEN * math.log(modes[-1] / modes[0])


def _arranged(ins: Modes, outs: Modes, gates: int, paired: bool) -> tuple[Modes, Modes]:
    """The modes in an order in which their cores are small once gates join the first out mode.

    Paired modes multiply, so large ones should meet small ones (the rearrangement inequality).
    """
    if not paired:
        return ins, outs
    options = []
    for first in set(outs):
        rest = list(outs)
        rest.remove(first)
        gated = [gates * first, *sorted(rest)]
        order = sorted(range(len(gated)), key=lambda k: -gated[k])
        matched = dict(zip(order, ins))
        options.append(([matched[k] for k in range(len(ins))], (first, *sorted(rest)), gated))
    options.sort(key=lambda o: (sum(m * n for m, n in zip(o[0], o[2])), o[1]))
    return tuple(options[0][0]), options[0][1]


def _format_class(format: str | type[Format]) -> type[Format]:
    if not isinstance(format, str):
        return format
    known = {cls.__name__: cls for cls in _subclasses(Format) if _has_rank(cls)}
    plain = {name.lower(): cls for name, cls in known.items()}
    name = format.lower().replace("_", "")
    if name not in plain:
        raise ValueError(f"{format!r} is not a format with ranks: choose one of {sorted(known)}")
    return plain[name]


def _subclasses(cls: type) -> Iterator[type]:
    for child in cls.__subclasses__():
        yield child
        yield from _subclasses(child)


def _has_rank(cls: type[Any]) -> bool:
    return dataclasses.is_dataclass(cls) and "rank" in {f.name for f in dataclasses.fields(cls)}


def _check_options(cls: type, fields: dict[str, Any], options: dict[str, Any]) -> None:
    for name in options:
        if name not in fields or name in GIVEN:
            free = ", ".join(sorted(fields.keys() - GIVEN)) or "none"
            raise ValueError(f"{name!r} is not an option of {cls.__name__} here: there are {free}")


def _extras(fields: dict[str, Any], options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Values of the fields that are neither sizes nor the rank."""
    tried: dict[str, Any] = {}
    for name, field in fields.items():
        if name in options or name in GIVEN:
            continue
        if field.default is dataclasses.MISSING:
            tried[name] = TERMS
        elif name.endswith("_rank"):
            tried[name] = [n if n is None else _Offset(n) for n in OFFSETS]
    for values in itertools.product(*tried.values()):
        yield dict(zip(tried, values))


def _is_paired(cls: type[Any], fields: dict[str, Any]) -> bool:
    """Whether the format wants as many out as in modes."""
    try:
        cls(in_modes=(2, 2), out_modes=(2,), rank=1, **next(_extras(fields, {})))
    except ValueError:
        return True
    return False


def _limit(wanted: _Wanted, budget: int | None, latency: float | None, smallest: Format) -> int:
    least, dense = wanted.num_params(smallest), wanted.in_features * wanted.out_features
    dense *= wanted.gates
    if budget is None:
        usual = dense if latency is not None else max(dense // 100, 10 * least)
        return max(least, min(usual, dense))
    if budget < least:
        raise ValueError(
            f"budget {budget} is below the smallest {wanted.cls.__name__}, {least} numbers "
            f"({smallest}): allow {least} or more"
        )
    return budget


def _shortlist(found: list[Found | None]) -> list[Found]:
    """The best draft of each pair of modes, those of unlike numbers of modes first; a few."""
    kept = [candidate for candidate in found if candidate is not None]
    top = max(_effective_rank(fmt) for _, _, fmt in kept)
    kept.sort(key=lambda c: (_steps(top, _effective_rank(c[2])), _padding(c[2])))
    firsts = _first_of_each(kept, lambda fmt: len(fmt.in_modes))
    return _first_of_each(firsts + kept, lambda fmt: (fmt.in_modes, fmt.out_modes))[:PLANNED]


def _first_of_each(found: list[Found], kind: Callable[[Format], Any]) -> list[Found]:
    first: dict[Any, Found] = {}
    for candidate in found:
        first.setdefault(kind(candidate[2]), candidate)
    return list(first.values())


def _best(found: list[Suggestion]) -> list[Suggestion]:
    """By the stated criterion, without those of less than half the best rank."""
    top = max(suggestion.rank for suggestion in found)
    good = [suggestion for suggestion in found if suggestion.rank >= top / 2]
    return sorted(good, key=lambda s: (_steps(top, s.rank), s.padding, s.seconds))


def _effective_rank(fmt: Format) -> float:
    bonds = bond_sizes(fmt)
    return math.prod(bonds) ** (1 / len(bonds)) if bonds else 1.0


def _padding(fmt: Format) -> float:
    whole = math.prod(fmt.in_modes) * math.prod(fmt.out_modes)
    return 1 - fmt.in_features * fmt.out_features / whole


def _steps(top: float, rank: float) -> int:
    return math.floor(math.log(top / rank, SIMILAR))
