"""Moving Digits: the handwritten digits that scikit-learn ships, gliding through a clip.

1,797 real 8x8 images (Alpaydin and Kaynak 1998), a data set that needs no download: which digit,
or which way it moves, told from 6 frames of 160x120.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from ht_jax.data import moving
from ht_jax.data.motion import Scene
from ht_jax.data.pipeline import ClipData, Record
from ht_jax.data.prepare import prepared

# Images of each digit, two clips of each: 400 clips and 800, 5 and 10 per digit and direction.
_HELD_OUT = {"validation": 20, "test": 40}
_CLIPS = {"train": 1, "validation": 2, "test": 2}
_DIGITS = tuple(map(str, range(10)))
_SPLIT_SEED, _CLIP_SEEDS = 0, {"train": 1, "validation": 2, "test": 3}
_CITATION = """@misc{alpaydin1998digits,
  title = {Optical Recognition of Handwritten Digits},
  author = {Alpaydin, E. and Kaynak, C.},
  year = {1998},
  publisher = {UCI Machine Learning Repository},
  doi = {10.24432/C50P49}
}"""


class MovingDigits(tfds.core.GeneratorBasedBuilder):
    """TFDS builder of `moving_digits`; `ht_jax.data.load` prepares and reads it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012
    # TFDS would look here for checksums of downloads, by means of a package that it does not
    # install (tensorflow/datasets#11212); this data set downloads nothing.
    code_path = None

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Handwritten digits, each with the numbers of a clip in which it moves.",
            features=moving.features(8, _DIGITS),
            homepage="https://archive.ics.uci.edu/dataset/80",
            citation=_CITATION,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, Record]]]:
        del dl_manager
        digits: Any = load_digits()
        splits = moving.split_images(digits.target, _HELD_OUT, _SPLIT_SEED)
        return {name: self._generate_examples(digits, name, ids) for name, ids in splits.items()}

    def _generate_examples(
        self, digits: Any, split: str, ids: np.ndarray
    ) -> Iterator[tuple[int, Record]]:
        sprites = np.minimum(digits.images * 16, 255).astype(np.uint8)
        clips, seed = _CLIPS[split], _CLIP_SEEDS[split]
        return moving.records(sprites, digits.target, ids, clips=clips, seed=seed)


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    label: str = "direction",
    num_frames: int = 6,
    scene: Scene | None = None,
) -> ClipData:
    """Moving Digits, prepared on first use (1 MB, a few seconds).

    Args:
        name: "moving_digits".
        data_dir: the folder of TFDS data sets; None is TFDS's own.
        label: "direction" (8 classes), "digit" (10), or "both" (80: digit * 8 + direction).
        num_frames: frames of a clip.
        scene: frame and ranges; the default is 160 x 120 with items of 56 to 72 pixels.

    Returns:
        The data set: one record per training image, 400 validation and 800 test clips.

    Raises:
        ValueError: the label is unknown.
        OSError: the data set is not prepared, and the folder cannot be written.
    """
    del name
    described = _label(label), num_frames, scene or Scene()
    moving.describe(_DIGITS, *described)
    return moving.clip_data(prepared("moving_digits", MovingDigits, data_dir), *described)


def describe(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    label: str = "direction",
    num_frames: int = 6,
    scene: Scene | None = None,
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Class names and clip shape of what `load` returns; nothing is prepared.

    Args:
        name, data_dir, label, num_frames, scene: as for `load`.

    Raises:
        ValueError: the label is unknown, or there are fewer than 1 frames.
    """
    del name, data_dir
    return moving.describe(_DIGITS, _label(label), num_frames, scene or Scene())


def _label(label: str) -> str:
    labels = {"direction": "direction", "digit": "item", "both": "both"}
    if label not in labels:
        raise ValueError(f"unknown label {label!r}: choose one of {', '.join(labels)}")
    return labels[label]
