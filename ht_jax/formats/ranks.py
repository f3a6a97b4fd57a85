"""Ranks as users give them: one int for all edges of a network, or one for each edge."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ht_jax.formats.base import ModeFormat, at_least_one, sizes


def set_ranks(fmt: ModeFormat, name: str, count: int, what: str) -> None:
    """Checks the field `name` of a format: an int, or one for each of `count` edges.

    Equal ranks become one int, so that formats that are the same compare equal.

    Args:
        fmt: the format, which is about to be constructed.
        name: the field.
        count: how many edges there are.
        what: what has these ranks, for the message.

    Raises:
        ValueError: a rank below 1, or ranks of the wrong number.
    """
    value: Any = getattr(fmt, name)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        at_least_one(name, value)
        object.__setattr__(fmt, name, int(value))
        return
    value = sizes(name, value)
    if len(value) != count:
        raise ValueError(f"{name} {value} lists {len(value)} ranks for {count} {what}")
    object.__setattr__(fmt, name, value[0] if len(set(value)) == 1 else value)


def per_edge(rank: int | tuple[int, ...], count: int) -> tuple[int, ...]:
    """The rank of each of `count` edges."""
    return (rank,) * count if isinstance(rank, int) else rank


def bounded(fmt: ModeFormat, rank: int | None, **ranks: Any) -> Any:
    """The format itself, or with `rank` on every edge if one is asked for.

    Args:
        fmt: the format.
        rank: a bound on every rank, or None.
        ranks: other fields to set where `rank` is given.
    """
    if rank is None:
        return fmt
    at_least_one("rank", rank)
    return dataclasses.replace(fmt, rank=int(rank), **ranks)
