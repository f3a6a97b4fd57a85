"""Reading of a prepared video set, or of the features of its frames, by protocol.

Where more frames are stored than asked for, training draws them anew each time, in order, as the
papers do; evaluation takes them evenly.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow_datasets.core import constants

from ht_jax.data.pipeline import ClipData, Example, Record, Source
from ht_jax.data.prepare import opened
from ht_jax.data.video.decode import evenly
from ht_jax.data.video.layouts import LAYOUTS
from ht_jax.data.video.protocols import Clip, divide


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    num_frames: int = 6,
    protocol: str | None = None,
    fold: int = 0,
    cnn: str | None = None,
) -> ClipData:
    """Loads a video set that `experiments/prepare.py` has prepared.

    Args:
        name: in `LAYOUTS`.
        data_dir: the folder of TFDS data sets; None is TFDS's own.
        num_frames: frames of a clip, at most those stored.
        protocol: in `PROTOCOLS`; None is "official" where there is one, else "group_5fold".
        fold: of the protocol.
        cnn: the network whose stored features replace the frames.

    Returns:
        The data set.

    Raises:
        ValueError: an option's value is unknown, or more frames are asked for than stored.
        FileNotFoundError: the set is not prepared.
        OSError: what was prepared is damaged.

    Example:
        >>> load("ucf11", "nowhere")
        Traceback (most recent call last):
        FileNotFoundError: ucf11 with 6 frames is not prepared in nowhere/ucf11: it is not there...
    """
    builder = _prepared(name, data_dir, num_frames, cnn)
    clips = index(builder)
    split = divide(clips, protocol or default_protocol(name), fold)
    source = builder.as_data_source("clips")
    shape = builder.info.features["frames"].shape
    return ClipData(
        name=name,
        class_names=tuple(builder.info.features["label"].names),
        clip_shape=(num_frames, *shape[1:]),
        train=Subset(source, split.train),
        validation=Subset(source, split.validation),
        test=Subset(source, split.test),
        train_transform=_drawn(shape[0], num_frames),
        eval_transform=_even(shape[0], num_frames),
    )


def describe(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    num_frames: int = 6,
    protocol: str | None = None,
    fold: int = 0,
    cnn: str | None = None,
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Class names and clip shape of what `load` returns, which must be prepared too.

    Args:
        name, data_dir, num_frames, protocol, fold, cnn: as for `load`.

    Raises:
        ValueError, FileNotFoundError: as for `load`.

    Example:
        >>> describe("ucf11", "nowhere", num_frames=0)
        Traceback (most recent call last):
        ValueError: num_frames 0 must be at least 1
    """
    builder = _prepared(name, data_dir, num_frames, cnn)
    divide(index(builder), protocol or default_protocol(name), fold)
    features = builder.info.features
    return tuple(features["label"].names), (num_frames, *features["frames"].shape[1:])


def index(builder: Any) -> list[Clip]:
    """The clips of a prepared set, in the order of its records."""
    return [
        Clip(**{**clip, "official": tuple(clip["official"])})
        for clip in builder.info.metadata["clips"]
    ]


def default_protocol(name: str) -> str:
    """The protocol of a set where none is named: no scene is on both sides in any of them."""
    return "official" if LAYOUTS[name].official else "group_5fold"


def dataset_folder(data_dir: str | os.PathLike[str] | None, name: str) -> Path:
    """The folder of a set, below which lie its configurations."""
    return Path(data_dir or constants.DATA_DIR).expanduser() / name


@dataclass(frozen=True)
class Subset:
    """Some records of a source, in a given order."""

    source: Source
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int, /) -> Record:
        return self.source[int(self.indices[place])]


def _prepared(name: str, data_dir: Any, num_frames: int, cnn: str | None) -> Any:
    if num_frames < 1:
        raise ValueError(f"num_frames {num_frames} must be at least 1")
    folder = dataset_folder(data_dir, name)
    pattern = f"{cnn}-*" if cnn else "[0-9]*x*x*"
    found = {
        int(p.parent.name.rpartition("-")[2].split("x")[0]): p
        for p in folder.glob(f"{pattern}/*.*.*")
    }
    enough = [stored for stored in found if stored >= num_frames]
    if not enough:
        has = f"it holds {max(found)} frames a clip" if found else "it is not there"
        option = f" --cnn {cnn}" if cnn else ""
        raise FileNotFoundError(
            f"{name} with {num_frames} frames is not prepared in {folder}: {has}; run "
            f"experiments/prepare.py {name} SOURCE{option} --data-dir {folder.parent} "
            f"--num-frames {num_frames}, SOURCE being the folder of {LAYOUTS[name].archives[0]}"
        )
    return opened(found[min(enough)])


def _even(stored: int, num_frames: int) -> Callable[[Record], Example]:
    kept = evenly(stored, num_frames)

    def transform(record: Record) -> Example:
        return {"frames": record["frames"][kept], "label": np.int32(record["label"])}

    return transform


def _drawn(stored: int, num_frames: int) -> Callable[[Record, np.random.Generator], Example]:
    def transform(record: Record, rng: np.random.Generator) -> Example:
        kept = np.sort(rng.permutation(stored)[:num_frames])
        return {"frames": record["frames"][kept], "label": np.int32(record["label"])}

    return transform
