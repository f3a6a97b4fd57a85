"""Tiny video files in the layouts of the official archives, written with PyAV."""

from pathlib import Path

import av
import numpy as np

CODECS = {".mpg": "mpeg1video", ".avi": "mpeg4"}


def write_clip(path: Path, num_frames: int = 12, size=(48, 64), step: int = 10) -> Path:
    """Frame k is grey, of brightness step * k."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CODECS[path.suffix], rate=25)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for k in range(num_frames):
            grey = np.full((*size, 3), step * k, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
        container.mux(stream.encode())
    return path


def write_set(folder: Path, paths, **options) -> Path:
    for path in paths:
        write_clip(folder / path, **options)
    return folder
