"""Protocols: how the clips of a video set are divided, each as three lists of indices.

`random_5fold` and `holdout_80_20` are those of the papers, which let clips of one scene fall on
both sides; the `group_` protocols keep a group whole, in the validation split too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

SEED = 11111986  # of the random folds in published code of TT-RNN
VALIDATION = 0.1  # share of the clips not tested, for choices; the papers had none

Indices = Int[np.ndarray, " clips"]


@dataclass(frozen=True)
class Clip:
    """A clip as protocols see it.

    Attributes:
        name: unique in its set.
        label: index of its class.
        group: clips of one group show one scene, or one person in one video.
        official: "train", "test" or "" for each official split; empty where there is none.
    """

    name: str
    label: int
    group: str
    official: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """Indices of the clips of the three splits, which share none."""

    train: Indices
    validation: Indices
    test: Indices


def divide(clips: Sequence[Clip], protocol: str, fold: int) -> Split:
    """Divides clips by a protocol.

    Args:
        clips: in the order that the indices refer to.
        protocol: a name in `PROTOCOLS`.
        fold: which part is the test split; of "holdout_80_20", which repetition.

    Returns:
        The split; each list ascends.

    Raises:
        ValueError: the protocol or the fold is unknown, or the set has no official splits.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    chosen = PROTOCOLS[protocol]
    if not 0 <= fold < chosen.folds:
        raise ValueError(f"fold {fold} of {protocol} must lie in 0 to {chosen.folds - 1}")
    train, test = chosen.divide(clips, fold)
    held = _deal(clips, train, round(1 / VALIDATION), fold, by_group=chosen.by_group) == 0
    return Split(train[~held], train[held], test)


def _deal(
    clips: Sequence[Clip], indices: Indices, parts: int, seed: int, *, by_group: bool
) -> Indices:
    """A part for each of the clips: parts of like sizes, the classes alike in each.

    Whole groups are dealt, large ones first, each to the part that has fewest of its classes.
    """
    groups: dict[str, list[int]] = {}
    for place, index in enumerate(indices):
        key = clips[index].group if by_group else clips[index].name
        groups.setdefault(key, []).append(place)
    draws = np.random.default_rng([SEED, seed]).random(len(groups))
    order = sorted(zip(groups.values(), draws), key=lambda pair: (-len(pair[0]), pair[1]))
    counts = np.zeros((parts, 1 + max((clip.label for clip in clips), default=0)))
    dealt = np.empty(len(indices), int)
    for places, _ in order:
        labels = [clips[indices[place]].label for place in places]
        load = [(counts[part, labels].sum(), counts[part].sum()) for part in range(parts)]
        dealt[places] = best = min(range(parts), key=load.__getitem__)
        np.add.at(counts[best], labels, 1)
    return dealt


def _folds(parts: int, *, by_group: bool) -> Callable[[Sequence[Clip], int], tuple]:
    def divide(clips: Sequence[Clip], fold: int) -> tuple[Indices, Indices]:
        whole = np.arange(len(clips))
        dealt = _deal(clips, whole, parts, 0, by_group=by_group)
        return whole[dealt != fold], whole[dealt == fold]

    return divide


def _random_folds(clips: Sequence[Clip], fold: int) -> tuple[Indices, Indices]:
    order = np.argsort(np.random.default_rng(SEED).random(len(clips)))
    test = np.sort(order[fold::5])
    return np.setdiff1d(np.arange(len(clips)), test), test


def _holdout(clips: Sequence[Clip], fold: int) -> tuple[Indices, Indices]:
    order = np.argsort(np.random.default_rng([SEED, fold]).random(len(clips)))
    cut = len(clips) * 4 // 5
    return np.sort(order[:cut]), np.sort(order[cut:])


def _official(clips: Sequence[Clip], fold: int) -> tuple[Indices, Indices]:
    if not any(clip.official for clip in clips):
        raise ValueError(
            "the protocol 'official' needs official splits, and none were prepared: choose "
            "another protocol, or prepare anew with the set's split files in the folder"
        )
    side = np.array([clip.official[fold] for clip in clips])
    return np.flatnonzero(side == "train"), np.flatnonzero(side == "test")


@dataclass(frozen=True)
class Protocol:
    """A way to divide clips.

    Attributes:
        folds: how many divisions it has.
        divide: from clips and a fold to the indices of (train with validation, test).
        by_group: whether no group is on two sides; the validation split follows it.
    """

    folds: int
    divide: Callable[[Sequence[Clip], int], tuple[Indices, Indices]]
    by_group: bool


PROTOCOLS = {
    "random_5fold": Protocol(5, _random_folds, by_group=False),
    "holdout_80_20": Protocol(100, _holdout, by_group=False),
    "group_5fold": Protocol(5, _folds(5, by_group=True), by_group=True),
    "group_25fold": Protocol(25, _folds(25, by_group=True), by_group=True),
    "official": Protocol(3, _official, by_group=True),
}
