"""Moving images of any labelled set: Moving Fashion-MNIST, or what TFDS has prepared.

The images come from the folder of the set's own files, or from a TFDS set of the same name in the
folder of data sets; they are stored once, and clips are rendered from them on the fly.
"""

import functools
import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int, UInt8

from ht_jax.data import moving
from ht_jax.data.motion import Scene
from ht_jax.data.pipeline import ClipData, Record
from ht_jax.data.prepare import home, opened, prepared

SCENE = Scene(sizes=(72, 96))
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
_FASHION = (
    *("T-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
_VALIDATION = 0.1  # of the training images of a class, at most
_VALIDATION_MOST = 200
_SEEDS = {"train": 1, "validation": 2, "test": 3}


class Images(NamedTuple):
    """Labelled images: the sprites, their classes, and the names of these."""

    sprites: UInt8[np.ndarray, "images side side"]
    items: Int[np.ndarray, " images"]
    names: tuple[str, ...]


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    label: str = "both",
    num_frames: int = 6,
    scene: Scene | None = None,
    source: str | os.PathLike[str] | None = None,
) -> ClipData:
    """A set of moving images, prepared on first use.

    Args:
        name: "moving_" and the name of the set in TFDS; "moving_fashion_mnist" needs no TFDS.
        data_dir: the folder of TFDS data sets; None is TFDS's own.
        label: "direction" (8 classes), "item", or "both" (item * 8 + direction).
        num_frames: frames of a clip.
        scene: frame and ranges; the default is 160 x 120 with items of 72 to 96 pixels.
        source: the folder of the files of Fashion-MNIST, or of any set in its format; None is that
            of Debian's package, or else the TFDS set.

    Returns:
        The data set: one record per training image, of which validation takes a tenth, at most 200
        of a class; the official test images, one clip of each.

    Raises:
        ValueError: the label is unknown.
        FileNotFoundError: there are no images.
    """
    moving.describe((), _label(label), num_frames, scene or SCENE)
    make = functools.partial(MovingImages, name, data_dir, source)
    builder = prepared(name, lambda data_dir: make(data_dir=data_dir), data_dir)
    return moving.clip_data(builder, _label(label), num_frames, scene or SCENE)


def describe(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    label: str = "both",
    num_frames: int = 6,
    scene: Scene | None = None,
    source: str | os.PathLike[str] | None = None,
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Class names and clip shape of what `load` returns.

    Args:
        name, data_dir, label, num_frames, scene, source: as for `load`.

    Raises:
        ValueError, FileNotFoundError: as for `load`.
    """
    del source
    if name == "moving_fashion_mnist":
        names = _FASHION
    else:
        names = tuple(_tfds_folder(name, data_dir).info.features["label"].names)
    return moving.describe(names, _label(label), num_frames, scene or SCENE)


class MovingImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """TFDS builder of moving images; `load` prepares and reads it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012
    code_path = None  # nothing is downloaded, so there are no checksums to look for

    def __init__(self, name: str, images_dir: Any, source: Any, data_dir: Any):
        self.name = name  # pyright: ignore[reportAttributeAccessIssue]
        self._images = functools.partial(_images, name, images_dir, source)
        super().__init__(data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        images = self._images("test")
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images, each with the numbers of a clip in which it moves.",
            features=moving.features(images.sprites.shape[1], images.names),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, Record]]]:
        del dl_manager
        train, test = self._images("train"), self._images("test")
        fewest = np.bincount(train.items, minlength=len(train.names)).min()
        held = min(_VALIDATION_MOST, int(_VALIDATION * fewest))
        splits = moving.split_images(train.items, {"validation": held}, seed=0)
        order = np.random.default_rng(0).random(len(test.items)).argsort()
        return {
            **{name: self._generate_examples(train, name, ids) for name, ids in splits.items()},
            "test": self._generate_examples(test, "test", order),
        }

    def _generate_examples(
        self, images: Images, split: str, ids: np.ndarray
    ) -> Iterator[tuple[int, Record]]:
        seed = _SEEDS[split]
        return moving.records(images.sprites, images.items, ids, clips=1, seed=seed)


def _images(name: str, data_dir: Any, source: Any, split: str) -> Images:
    if source is None and name == "moving_fashion_mnist" and _DEBIAN.is_dir():
        source = _DEBIAN
    if source is not None:
        return _read_idx(Path(source), split)
    builder = _tfds_folder(name, data_dir)
    records = builder.as_data_source(split)
    sprites = np.stack([_grey(record["image"]) for record in records])
    items = np.array([record["label"] for record in records])
    return Images(sprites, items, tuple(builder.info.features["label"].names))


def _read_idx(folder: Path, split: str) -> Images:
    """The format of MNIST: a header of 4 or 2 big-endian integers, then bytes."""
    prefix = {"train": "train", "test": "t10k"}[split]
    pixels = _bytes(folder / f"{prefix}-images-idx3-ubyte.gz", 16)
    items = _bytes(folder / f"{prefix}-labels-idx1-ubyte.gz", 8)
    side = round((len(pixels) / len(items)) ** 0.5)
    return Images(pixels.reshape(len(items), side, side), items.astype(int), _FASHION)


def _bytes(path: Path, header: int) -> UInt8[np.ndarray, " values"]:
    try:
        return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)
    except OSError as error:
        raise FileNotFoundError(f"{path} cannot be read ({error}): pass its folder") from error


def _tfds_folder(name: str, data_dir: Any) -> Any:
    """The prepared TFDS set whose images move."""
    folder = home(data_dir)
    found = sorted((folder / name.removeprefix("moving_")).rglob("features.json"))
    if not found:
        help_text = "apt-get install dataset-fashion-mnist, or " if "fashion" in name else ""
        raise FileNotFoundError(
            f"{name} needs the images of {name.removeprefix('moving_')!r}, and {folder} holds no "
            f"such TFDS set: {help_text}prepare it as array_record in another --data.data-dir"
        )
    return opened(found[-1].parent)


def _grey(image: np.ndarray) -> UInt8[np.ndarray, "side side"]:
    side = max(image.shape[:2])
    down, right = ((side - size) // 2 for size in image.shape[:2])
    grey = np.zeros((side, side), np.uint8)
    inside = grey[down : down + image.shape[0], right : right + image.shape[1]]
    inside[:] = image.mean(-1)
    return grey


def _label(label: str) -> str:
    labels = ("direction", "item", "both")
    if label not in labels:
        raise ValueError(f"unknown label {label!r}: choose one of {', '.join(labels)}")
    return label
