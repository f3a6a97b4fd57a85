"""Moving images: what the data sets that let still images glide through a clip have in common.

A record holds an image and the numbers of one clip of it, never frames. Training draws new numbers
each time a record is met; validation and test render the numbers stored with theirs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from ht_jax.data.motion import DIRECTIONS, DRAW_SIZE, Scene, trajectory
from ht_jax.data.optional import require
from ht_jax.data.pipeline import ClipData, Example, Record, Source, Told
from ht_jax.data.render import render_clip


@dataclass(frozen=True)
class ClipMaker:
    """Turns records into examples; its methods are the transforms of a `ClipData`.

    Attributes:
        scene: frame and ranges.
        num_frames: frames of a clip, at least 1.
        label: "direction" (8 classes), "item", or "both" (item * 8 + direction).
    """

    scene: Scene
    num_frames: int
    label: str

    def draw(self, record: Record, rng: np.random.Generator) -> Example:
        """An example of the record's item on a trajectory of its own."""
        direction = int(rng.integers(len(DIRECTIONS)))
        return self._example(record, direction, rng.random(DRAW_SIZE, dtype=np.float32))

    def fixed(self, record: Record) -> Example:
        """The example that the record stores."""
        return self._example(record, int(record["direction"]), record["draw"])

    def _example(self, record: Record, direction: int, draw: np.ndarray) -> Example:
        path = trajectory(self.scene, direction, draw)
        frames = render_clip(record["sprite"], path, self.scene, self.num_frames)
        return {"frames": frames, "label": self._label(int(record["item"]), direction)}

    def _label(self, item: int, direction: int) -> np.int32:
        both = item * len(DIRECTIONS) + direction
        return np.int32({"direction": direction, "item": item, "both": both}[self.label])


def features(side: int, item_names: Sequence[str]) -> Any:
    """The TFDS features of a record with square sprites of the given side."""
    tfds = require("tensorflow_datasets")
    return tfds.features.FeaturesDict(
        {
            "image_id": tfds.features.Scalar(np.int32),
            "sprite": tfds.features.Tensor(shape=(side, side), dtype=np.uint8),
            "item": tfds.features.ClassLabel(names=list(item_names)),
            "direction": tfds.features.ClassLabel(names=list(DIRECTIONS)),
            "draw": tfds.features.Tensor(shape=(DRAW_SIZE,), dtype=np.float32),
        }
    )


def split_images(
    items: Int[np.ndarray, " images"], held_out: dict[str, int], seed: int
) -> dict[str, Int[np.ndarray, " split"]]:
    """Deals the images of every class out to splits that share none.

    Args:
        items: class of every image.
        held_out: split -> number of its images of each class; what is left is "train".
        seed: of the shuffle.

    Returns:
        split -> image ids, in shuffled order.
    """
    # Only Generator.random is used: its stream has stayed the same across NumPy versions.
    order = np.argsort(np.random.default_rng(seed).random(len(items)))
    ranks = _rank_within_class(items[order])
    splits, start = {}, 0
    for name, count in held_out.items():
        splits[name] = order[(start <= ranks) & (ranks < start + count)]
        start += count
    return {"train": order[start <= ranks], **splits}


def records(
    sprites: UInt8[np.ndarray, "images side side"],
    items: Int[np.ndarray, " images"],
    ids: Int[np.ndarray, " split"],
    *,
    clips: int,
    seed: int,
) -> Iterator[tuple[int, Record]]:
    """The records of a split: for every image `clips` clips, in directions that take turns.

    Args:
        sprites: all images.
        items: class of every image.
        ids: the images of the split; n images of a class fill the 8 directions evenly where
            n * clips is a multiple of 8.
        clips: clips of each image.
        seed: of the clips' numbers.

    Yields:
        (key, record).
    """
    draws = np.random.default_rng(seed).random((len(ids) * clips, DRAW_SIZE), dtype=np.float32)
    turns = _rank_within_class(items[ids]) * clips
    for key, draw in enumerate(draws):
        clip, place = divmod(key, len(ids))
        image = int(ids[place])
        yield (
            key,
            {
                "image_id": image,
                "sprite": sprites[image],
                "item": int(items[image]),
                "direction": int(turns[place] + clip) % len(DIRECTIONS),
                "draw": draw,
            },
        )


def describe(
    items: Sequence[str], label: str, num_frames: int, scene: Scene
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Class names and clip shape, known before anything is prepared.

    Args:
        items: names of the items.
        label: "direction", "item" or "both".
        num_frames: frames of a clip.
        scene: frame and ranges.

    Raises:
        ValueError: fewer than 1 frame.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames {num_frames} must be at least 1")
    both = tuple(f"{item} {direction}" for item in items for direction in DIRECTIONS)
    names = {"direction": DIRECTIONS, "item": tuple(items), "both": both}[label]
    return names, (num_frames, scene.height, scene.width, 3)


def clip_data(builder: Any, label: str, num_frames: int, scene: Scene) -> ClipData:
    """The data set of a prepared builder whose records are those of this file.

    Args:
        builder: a prepared TFDS builder.
        label: "direction", "item" or "both".
        num_frames: frames of a clip.
        scene: frame and ranges.

    Returns:
        The data set; sources of up to 20,000 records are held in memory.

    Raises:
        ValueError: fewer than 1 frame.
    """
    items = builder.info.features["item"].names
    class_names, clip_shape = describe(items, label, num_frames, scene)
    maker = ClipMaker(scene, num_frames, label)
    splits = ("train", "validation", "test")
    sources = (Told(builder.as_data_source(split), builder.name) for split in splits)
    train, validation, test = map(_held, sources)
    return ClipData(
        name=builder.name,
        class_names=class_names,
        clip_shape=clip_shape,
        train=train,
        validation=validation,
        test=test,
        train_transform=maker.draw,
        eval_transform=maker.fixed,
    )


def _rank_within_class(items: np.ndarray) -> Int[np.ndarray, " images"]:
    ranks = np.empty(len(items), int)
    for item in np.unique(items):
        ranks[items == item] = np.arange(np.sum(items == item))
    return ranks


def _held(told: Told) -> Source:
    """Small splits in memory, read whole; the others where they are."""
    return [told[n] for n in range(len(told))] if len(told) <= 20_000 else told.source
