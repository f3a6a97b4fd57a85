"""The streaming program: a video and a folder of images, and what it says of bad input."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

PROGRAM = Path(__file__).parents[2] / "experiments" / "stream.py"


@pytest.fixture(scope="module")
def clip():
    """An image gliding to the right for 6 frames of 160 x 120."""
    frames = np.zeros((6, 120, 160, 3), np.uint8)
    for t in range(6):
        frames[t, 30:90, 10 + 8 * t : 70 + 8 * t] = 180
    return frames


def _run(*args):
    done = subprocess.run([sys.executable, PROGRAM, *args], capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_a_folder_of_images(clip, tmp_path):
    for n, frame in enumerate(clip):
        Image.fromarray(frame).save(tmp_path / f"{n}.png")
    status, lines, errors = _run(tmp_path)
    assert (status, errors) == (0, "")
    assert len(lines) == 6
    assert lines[-1].startswith("frame 6: right ")


@pytest.mark.slow
def test_a_video_file(clip, tmp_path):
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.bit_rate = 160, 120, 4_000_000
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    status, lines, errors = _run(tmp_path / "clip.mp4")
    assert (status, errors) == (0, "")
    assert len(lines) == 6
    assert "right" in lines[-1]


@pytest.mark.slow
def test_bad_input_is_one_line(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 20)
    (tmp_path / "empty").mkdir()
    for args, reason in (
        ((tmp_path / "none.mp4",), "there is no such file or folder"),
        ((tmp_path / "broken.mp4",), "is not a video that can be read"),
        ((tmp_path / "empty",), "holds no image"),
        ((tmp_path / "empty", "--model", "vgg"), "no checkpoint is named 'vgg'"),
    ):
        status, lines, errors = _run(*args)
        assert (status, lines) == (2, [])
        assert errors.startswith("error: ")
        assert reason in errors
        assert len(errors.splitlines()) == 1
