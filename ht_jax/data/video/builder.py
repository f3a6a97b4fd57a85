"""The TFDS data set of a video set: one split `clips`, in the order of the clips' names.

The index of the clips lies in its metadata, so that every protocol is a list of indices.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from ht_jax.data import prepare
from ht_jax.data.video.layouts import Layout, Problem
from ht_jax.data.video.protocols import Clip

VERSION = "1.0.0"


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a data set of clips is made of.

    Attributes:
        layout: of the set.
        config: names how the clips are stored, such as "6x120x160".
        classes: names.
        clips: in order.
        problems: what was left out, and why.
        weights: of the network whose features are stored; empty for frames.
        arrays: makes the clips' arrays, in order.
        shape: of an array.
        dtype: of an array.
    """

    layout: Layout
    config: str
    classes: tuple[str, ...]
    clips: Sequence[Clip]
    problems: Sequence[Problem]
    weights: str
    arrays: Callable[[], Iterable[np.ndarray]]
    shape: tuple[int, ...]
    dtype: Any

    def metadata(self) -> dict[str, Any]:
        """What a protocol and a reader of the report need."""
        return {
            "clips": [dataclasses.asdict(clip) for clip in self.clips],
            "problems": [str(problem) for problem in self.problems],
            "weights": self.weights,
        }


class VideoBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """TFDS builder of clips that are at hand as arrays; `write` uses it."""

    VERSION = tfds.core.Version(VERSION)
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012
    code_path = None  # nothing is downloaded, so there are no checksums to look for

    def __init__(self, contents: Contents, data_dir: str):
        self.name = contents.layout.name  # pyright: ignore[reportAttributeAccessIssue]
        self._contents = contents
        config = tfds.core.BuilderConfig(name=contents.config, description="")
        super().__init__(config=config, data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        tensor = tfds.features.Tensor(
            shape=self._contents.shape,
            dtype=np.dtype(self._contents.dtype).type,
            encoding=tfds.features.Encoding.BYTES,  # the default reads five times slower
        )
        label = tfds.features.ClassLabel(names=list(self._contents.classes))
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Clips of {self.name}, decoded to {self._contents.config}.",
            features=tfds.features.FeaturesDict({"frames": tensor, "label": label}),
            homepage=self._contents.layout.homepage,
            metadata=tfds.core.MetadataDict(self._contents.metadata()),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        del dl_manager
        return {"clips": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        pairs = zip(self._contents.clips, self._contents.arrays())
        for key, (clip, array) in enumerate(pairs):
            yield key, {"frames": array, "label": clip.label}


def write(contents: Contents, data_dir: Path, staging: Path) -> Path:
    """Writes the data set, all or nothing.

    Args:
        contents: what it is made of.
        data_dir: the folder of TFDS data sets.
        staging: a folder on the same disk, for what is unfinished.

    Returns:
        The data set's folder.
    """
    make = functools.partial(VideoBuilder, contents)
    builder = make(data_dir=str(data_dir))
    prepare.write(make, builder, str(staging))
    return Path(builder.data_dir)
