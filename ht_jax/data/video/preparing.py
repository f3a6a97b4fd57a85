"""Preparation of a video set: unpack, scan, decode, store.

Every step leaves what it has done in a staging folder, so the same call again carries on.
"""

import functools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ht_jax.data.prepare import opened
from ht_jax.data.video.builder import VERSION, Contents, write
from ht_jax.data.video.cnn import FrozenCNN
from ht_jax.data.video.decode import BadClip, read_clip
from ht_jax.data.video.layouts import Layout, Problem, Scan, scan
from ht_jax.data.video.protocols import Clip
from ht_jax.data.video.reading import dataset_folder
from ht_jax.data.video.stage import stage, staged
from ht_jax.data.video.unpack import unpack

Tell = Callable[[str, int, int | None], None]  # told (what is done, how many, of how many)


class BadData(ValueError):
    """The folder or a clip is not as documented, and nothing was to be skipped.

    Example:
        >>> try:
        ...     raise BadData("biking/v_biking_02_09.mpg cannot be decoded")
        ... except ValueError as error:
        ...     print(error)
        biking/v_biking_02_09.mpg cannot be decoded
    """


@dataclass(frozen=True)
class Size:
    """How clips are stored.

    Attributes:
        num_frames: of a clip, evenly over its length.
        height: of a frame.
        width: of a frame.

    Example:
        >>> Size(num_frames=8).config
        '8x120x160'
    """

    num_frames: int = 6
    height: int = 120
    width: int = 160

    @property
    def config(self) -> str:
        """Name of the TFDS configuration."""
        return f"{self.num_frames}x{self.height}x{self.width}"


@dataclass(frozen=True)
class Report:
    """What a preparation ended with.

    Attributes:
        folder: of the data set.
        clips: stored.
        documented: clips that the set's authors count.
        problems: what was left out, and why.

    Example:
        >>> left_out = ("v_biking_02_09.mpg cannot be decoded",)
        >>> report = Report(Path("data/ucf11"), 1_599, 1_600, left_out)
        >>> report.documented - report.clips == len(report.problems)
        True
    """

    folder: Path
    clips: int
    documented: int
    problems: tuple[str, ...]


def prepare(
    layout: Layout,
    source: Path,
    data_dir: Path | None,
    *,
    size: Size | None = None,
    cnn: FrozenCNN | None = None,
    on_bad_clip: Literal["skip", "fail"] = "fail",
    workers: int | None = None,
    tell: Tell = lambda what, done, total: None,
) -> Report:
    """Prepares a video set, or carries on where an earlier call was stopped.

    Args:
        layout: of the set.
        source: the folder of the official archives, or of what they unpack to.
        data_dir: the folder of TFDS data sets; None is TFDS's own.
        size: how clips are decoded.
        cnn: a network whose features of the frames are stored in their place.
        on_bad_clip: "fail" ends at the first thing that is not as documented; "skip" leaves it out
            and reports it.
        workers: threads that decode; as many as there are cores unless given.
        tell: told of the progress.

    Returns:
        The report.

    Raises:
        BadData: something is not as documented, and is not to be skipped.
        FileNotFoundError: the folder holds neither clips nor archives of the set.
        OSError: an archive is damaged, or a folder cannot be written.

    Example:
        >>> from ht_jax.data.video.layouts import LAYOUTS
        >>> report = prepare(LAYOUTS["ucf11"], Path("downloads"), None)  # doctest: +SKIP
        >>> prepare(LAYOUTS["ucf11"], Path("nowhere"), Path("data"))
        Traceback (most recent call last):
        FileNotFoundError: nowhere is no folder: pass that of UCF11_updated_mpg.rar
    """
    size = size or Size()
    config = f"{cnn.name}-{size.config}" if cnn else size.config
    home = dataset_folder(data_dir, layout.name)
    done = home / config / VERSION
    if not done.is_dir():
        staging = home / f"unfinished-{config}{f'-{cnn.weights}' if cnn else ''}"
        found = scan(layout, *_unpacked(layout, source, staging / "unpacked", tell))
        _check(found, size, staging, on_bad_clip)
        bad = _decode(found, size, staging / "frames", workers, on_bad_clip, tell)
        write(_contents(layout, config, found, bad, size, cnn, staging, tell), home.parent, staging)
        shutil.rmtree(staging)
    return _report(layout, done, cnn)


def _check(found: Scan, size: Size, staging: Path, on_bad_clip: str) -> None:
    if found.problems and on_bad_clip == "fail":
        raise BadData(_refusal(found.problems))
    staging.mkdir(parents=True, exist_ok=True)
    clip = size.num_frames * size.height * size.width * 3
    need, free = 2 * len(found.clips) * clip, shutil.disk_usage(staging).free  # staged and stored
    if need > free:
        raise OSError(
            f"{staging}: {free / 2**20:,.0f} MiB free, but {len(found.clips)} clips need up to "
            f"{need / 2**20:,.0f} MiB: free some space or choose another --data-dir"
        )


def _contents(
    layout: Layout,
    config: str,
    found: Scan,
    bad: dict[str, str],
    size: Size,
    cnn: FrozenCNN | None,
    staging: Path,
    tell: Tell,
) -> Contents:
    clips = [clip for clip, _ in found.clips if clip.name not in bad]
    folder = staging / ("features" if cnn else "frames")
    if cnn:
        _compute(cnn, clips, staging / "frames", folder, tell)
    return Contents(
        layout=layout,
        config=config,
        classes=found.classes,
        clips=clips,
        problems=(*found.problems, *(Problem(*pair) for pair in sorted(bad.items()))),
        weights=cnn.weights if cnn else "",
        arrays=lambda: _stored(folder, clips, tell),
        shape=(size.num_frames, *((cnn.out_features,) if cnn else (size.height, size.width, 3))),
        dtype=np.float32 if cnn else np.uint8,
    )


def _report(layout: Layout, folder: Path, cnn: FrozenCNN | None) -> Report:
    metadata = dict(opened(folder).info.metadata or {})
    if cnn and metadata["weights"] != cnn.weights:
        raise BadData(
            f"{folder} holds the features of {cnn.name} with the weights {metadata['weights']}, "
            f"not {cnn.weights}: remove it, or choose another --data-dir"
        )
    return Report(folder, len(metadata["clips"]), layout.count, tuple(metadata["problems"]))


def _unpacked(layout: Layout, source: Path, target: Path, tell: Tell) -> list[Path]:
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is no folder: pass that of {layout.archives[0]}")
    archives = [source / name for name in layout.archives if (source / name).is_file()]
    for archive in archives:
        what = f"unpacking {archive.name}"
        unpack(archive, target, functools.partial(_tell_count, tell, what))
    return [source, target] if archives else [source]


def _tell_count(tell: Tell, what: str, done: int) -> None:
    tell(what, done, None)


def _decode(
    found: Scan, size: Size, folder: Path, workers: int | None, on_bad_clip: str, tell: Tell
) -> dict[str, str]:
    paths = {clip.name: path for clip, path in found.clips}

    def decode(name: str) -> np.ndarray:
        return read_clip(paths[name], size.num_frames, size.height, size.width)

    try:
        return stage(
            list(paths),
            decode,
            folder,
            workers=workers or os.cpu_count() or 1,
            keep_going=on_bad_clip == "skip",
            advance=lambda done, total: tell("decoding", done, total),
        )
    except BadClip as error:
        raise BadData(f"{error}: pass --on-bad-clip skip to leave such clips out") from error


def _compute(cnn: FrozenCNN, clips: Sequence[Clip], frames: Path, folder: Path, tell: Tell) -> None:
    def features(name: str) -> np.ndarray:
        return cnn(np.load(staged(frames, name), allow_pickle=False))

    def advance(done: int, total: int) -> None:
        tell(f"features of {cnn.name}", done, total)

    # One thread: the network itself uses all cores.
    names = [clip.name for clip in clips]
    stage(names, features, folder, workers=1, keep_going=False, advance=advance)


def _stored(folder: Path, clips: Sequence[Clip], tell: Tell) -> Iterator[np.ndarray]:
    for done, clip in enumerate(clips, 1):
        tell("storing", done, len(clips))
        yield np.load(staged(folder, clip.name), allow_pickle=False)


def _refusal(problems: tuple[Problem, ...]) -> str:
    first, *others = problems
    more = f" (and {len(others)} more)" if others else ""
    return f"{first}{more}: pass --on-bad-clip skip to go on without"
