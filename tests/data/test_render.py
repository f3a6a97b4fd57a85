import zlib

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from sklearn.datasets import load_digits

from ht_jax.data.motion import DIRECTIONS, Scene, draw_trajectory
from ht_jax.data.render import render_clip

SCENE = Scene()
SPRITE = np.minimum(load_digits().images[3] * 16, 255).astype(np.uint8)


def clip(direction=None, seed=0, num_frames=6, scene=SCENE):
    path = draw_trajectory(np.random.default_rng(seed), scene, direction)
    return render_clip(SPRITE, path, scene, num_frames), path


def centroid(frame):
    # The item's ink is brighter than any background and noise.
    weight = frame.max(-1) * (frame.max(-1) > 80.0)
    rows, columns = np.indices(weight.shape)
    return np.array([(rows * weight).sum(), (columns * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("direction", range(len(DIRECTIONS)))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rendered_item_moves_as_its_direction_says(direction, seed):
    frames, path = clip(direction, seed)
    moved = centroid(frames[-1]) - centroid(frames[0])
    np.testing.assert_allclose(moved, path.travel, atol=1.1)
    assert ("down" in DIRECTIONS[direction]) == (moved[0] > 3)
    assert ("up" in DIRECTIONS[direction]) == (moved[0] < -3)
    assert ("right" in DIRECTIONS[direction]) == (moved[1] > 3)
    assert ("left" in DIRECTIONS[direction]) == (moved[1] < -3)


@pytest.mark.parametrize("num_frames", [1, 6])
def test_frames_are_uint8_of_the_scene(num_frames):
    frames, _ = clip(num_frames=num_frames)
    assert frames.dtype == np.uint8
    assert frames.shape == (num_frames, 120, 160, 3)


def test_bytes_are_those_of_the_first_release():
    assert zlib.crc32(clip(seed=7)[0].tobytes()) == 2068299973


def test_item_is_the_bilinear_enlargement():
    scene = Scene(noise=0)
    frames, path = clip(scene=scene)
    at = np.clip((np.arange(path.size) + 0.5) * 8 / path.size - 0.5, 0, 7)
    ink = map_coordinates(SPRITE.astype(float), np.meshgrid(at, at, indexing="ij"), order=1)
    expected = np.maximum(ink[..., None] * np.array(path.tint) / 255, path.background)
    top, left = path.corners(6)[2]
    item = frames[2, top : top + path.size, left : left + path.size]
    # The weights are rounded to 1/256 and the colours down.
    np.testing.assert_allclose(item, expected, atol=3)


def test_outside_the_item_there_is_background_and_noise():
    frames, path = clip()
    for frame, (top, left) in zip(frames, path.corners(6)):
        outside = np.ones(frame.shape[:2], bool)
        outside[top : top + path.size, left : left + path.size] = False
        noise = frame[outside].astype(int) - path.background
        assert noise.min() == 0
        assert noise.max() == SCENE.noise - 1


def test_noise_is_fresh_in_every_frame():
    frames, _ = clip(scene=Scene(noise=24))
    corners = frames[:, :4, :4].reshape(6, -1)
    assert len(np.unique(corners, axis=0)) == 6
