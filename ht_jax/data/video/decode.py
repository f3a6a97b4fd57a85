"""Decoding of one video file to a few frames of one size, with PyAV.

The frames kept lie in the middles of equal parts of the clip; what cannot be used raises `BadClip`.
"""

import os
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ht_jax.data.optional import require


class BadClip(ValueError):
    """A video file that cannot be read, or holds too few frames; the message says which."""


def read_clip(
    path: str | os.PathLike[str], num_frames: int, height: int, width: int
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Decodes a clip.

    Args:
        path: the video file.
        num_frames: frames to keep, in order.
        height: of a frame; the picture is stretched to it.
        width: of a frame.

    Returns:
        The frames as RGB.

    Raises:
        BadClip: the file cannot be decoded, or has fewer frames.
        ImportError: PyAV is missing.
    """
    av = require("av", extra="video")
    try:
        count = _count_packets(av, path)
        chosen, decoded = _decode(av, path, _middles(count, num_frames))
        if decoded != count and decoded >= num_frames:  # a header may say more than there is
            chosen, decoded = _decode(av, path, _middles(decoded, num_frames))
        frames = [_to_rgb(frame, height, width) for frame in chosen]
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise BadClip(f"cannot be decoded ({' '.join(str(error).split())})") from error
    if decoded < num_frames:
        raise BadClip(f"has {decoded} frames, but {num_frames} are needed")
    return np.stack(frames)


def evenly(count: int, num_frames: int) -> list[int]:
    """Indices of the middles of `num_frames` equal parts of `count` frames.

    Example:
        >>> evenly(250, 6)
        [20, 62, 104, 145, 187, 229]
        >>> evenly(6, 6)
        [0, 1, 2, 3, 4, 5]
    """
    return [(2 * part + 1) * count // (2 * num_frames) for part in range(num_frames)]


def _middles(count: int, num_frames: int) -> set[int]:
    return set(evenly(count, num_frames)) if count >= num_frames else set()


def _count_packets(av: ModuleType, path: str | os.PathLike[str]) -> int:
    # Containers lie about their number of frames: .mpg reports 0.
    with av.open(os.fspath(path)) as container:
        stream = _video(container)
        return sum(packet.size > 0 for packet in container.demux(stream))


def _decode(
    av: ModuleType, path: str | os.PathLike[str], wanted: set[int]
) -> tuple[list[Any], int]:
    """The wanted frames, and how many there were."""
    decoded, chosen = 0, []
    with av.open(os.fspath(path)) as container:
        stream = _video(container)
        stream.codec_context.thread_count = 1  # clips are decoded in parallel, not frames
        for frame in container.decode(stream):
            if decoded in wanted:
                chosen.append(frame)
            decoded += 1
    return chosen, decoded


def _video(container: Any) -> Any:
    if not container.streams.video:
        raise ValueError("it has no video stream")
    return container.streams.video[0]


def _to_rgb(frame: Any, height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    # Swscale widens its bilinear filter when it shrinks a picture, so nothing is aliased.
    small = frame.reformat(width=width, height=height, format="rgb24", interpolation="BILINEAR")
    return small.to_ndarray()
