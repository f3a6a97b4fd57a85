import numpy as np
import pytest
from clips import write_clip

from ht_jax.data.video.decode import BadClip, evenly, read_clip


@pytest.mark.parametrize("suffix", [".mpg", ".avi"])
def test_frames_are_those_in_the_middles_of_equal_parts(tmp_path, suffix):
    path = write_clip(tmp_path / f"clip{suffix}", num_frames=12)
    frames = read_clip(path, 4, 24, 32)
    assert frames.shape == (4, 24, 32, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_allclose(frames.mean((1, 2, 3)), [10, 40, 70, 100], atol=4)


def test_a_clip_of_as_many_frames_gives_all(tmp_path):
    frames = read_clip(write_clip(tmp_path / "clip.avi", num_frames=5), 5, 8, 8)
    np.testing.assert_allclose(frames.mean((1, 2, 3)), range(0, 50, 10), atol=4)


def test_indices_ascend_and_stay_inside():
    for count in (6, 7, 50, 1776):
        indices = evenly(count, 6)
        assert sorted(set(indices)) == indices
        assert indices[-1] < count


def test_short_clip_is_bad(tmp_path):
    path = write_clip(tmp_path / "clip.mpg", num_frames=4)
    with pytest.raises(BadClip, match="has 4 frames, but 6 are needed"):
        read_clip(path, 6, 8, 8)


@pytest.mark.parametrize("content", [b"", b"not a video" * 100])
def test_broken_clip_is_bad(tmp_path, content):
    (tmp_path / "clip.avi").write_bytes(content)
    with pytest.raises(BadClip, match="cannot be decoded"):
        read_clip(tmp_path / "clip.avi", 6, 8, 8)


def test_cut_clip_is_read_as_far_as_it_goes(tmp_path):
    path = write_clip(tmp_path / "clip.mpg", num_frames=40, size=(240, 320), step=5)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = read_clip(path, 4, 8, 8)
    brightness = frames.mean((1, 2, 3))
    assert np.all(np.diff(brightness) > 0)
    assert brightness[-1] < 150
