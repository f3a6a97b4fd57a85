"""Data sets of labelled clips and the pipeline that feeds them to training.

`load` names a data set, `train_batches` and `eval_batches` read it.
"""

import inspect
import os
from typing import Any

from ht_jax.data.motion import DIRECTIONS as DIRECTIONS
from ht_jax.data.motion import Scene as Scene
from ht_jax.data.motion import Trajectory as Trajectory
from ht_jax.data.motion import draw_trajectory as draw_trajectory
from ht_jax.data.optional import require
from ht_jax.data.pipeline import ClipData as ClipData
from ht_jax.data.pipeline import eval_batches as eval_batches
from ht_jax.data.pipeline import train_batches as train_batches
from ht_jax.data.pipeline import train_ids as train_ids
from ht_jax.data.render import render_clip as render_clip

# name -> the module whose `load(name, data_dir, ...)` and `describe(name, data_dir, ...)` serve it.
_VIDEO = ("ucf11", "ucf50", "ucf101", "hmdb51", "youtube_celebrities")
_MODULES = {
    "moving_digits": "ht_jax.data.moving_digits",
    "moving_fashion_mnist": "ht_jax.data.moving_images",
    "japanese_vowels": "ht_jax.data.sequences",
    "spoken_digits": "ht_jax.data.sequences",
    **dict.fromkeys(_VIDEO, "ht_jax.data.video"),
}
_MOVING = "moving_"  # and the name of any image set of TFDS


def load(name: str, data_dir: str | os.PathLike[str] | None = None, **options: Any) -> ClipData:
    """Loads a data set by name, preparing it on first use.

    Args:
        name: "moving_digits", "moving_fashion_mnist", "moving_" and the name of an image set of
            TFDS, a video set such as "ucf11", "japanese_vowels", or "spoken_digits".
        data_dir: the folder of TFDS data sets; None is TFDS's own, which is the environment
            variable TFDS_DATA_DIR or `~/tensorflow_datasets`.
        **options: what the data set's own `load` takes: for moving images label="direction",
            "item" ("digit") or "both", num_frames=6, and scene=Scene(...); for video sets
            num_frames=6, protocol=, fold=, cnn=.

    Returns:
        The data set.

    Raises:
        ValueError: the name, an option or an option's value is unknown.
        ImportError: the packages of the `train` extra are missing.
        OSError: the data set is not prepared, and the folder cannot be written.

    Example:
        >>> load("films")
        Traceback (most recent call last):
        ValueError: unknown data set 'films': choose one of moving_digits, ...
    """
    return _call(name, "load", data_dir, options)


def describe(
    name: str, data_dir: str | os.PathLike[str] | None = None, **options: Any
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Class names and clip shape of a data set, without preparing it.

    Args:
        name: as for `load`.
        data_dir: as for `load`.
        **options: as for `load`.

    Returns:
        The class names, and (frames, height, width, channels) or (frames, features).

    Raises:
        ValueError: the name, an option or an option's value is unknown.
        ImportError: the packages of the `train` extra are missing.

    Example:
        >>> names, shape = describe("moving_digits", num_frames=4)
        >>> len(names), shape
        (8, (4, 120, 160, 3))
    """
    return _call(name, "describe", data_dir, options)


def _call(name: str, function: str, data_dir: Any, options: dict[str, Any]) -> Any:
    if name not in _MODULES and not name.startswith(_MOVING):
        raise ValueError(f"unknown data set {name!r}: choose one of {', '.join(_MODULES)}")
    module = _MODULES.get(name, "ht_jax.data.moving_images")
    called = getattr(require(module), function)
    known = [
        each for each in inspect.signature(called).parameters if each not in ("name", "data_dir")
    ]
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ValueError(f"{name} has no option {unknown[0]!r}: its options are {', '.join(known)}")
    return called(name, data_dir, **options)
