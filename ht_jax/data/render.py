"""Rendering of a clip in which one item glides straight over a dark, noisy background.

A pixel is max(background + noise, tint * ink): the sprite is enlarged and tinted once a clip, then
laid over every frame, so a clip costs about one pass over its bytes.
"""

import functools
import math

import numpy as np
from jaxtyping import Float32, UInt8

from ht_jax.data.motion import NOISE_OFFSETS, Scene, Trajectory


def render_clip(
    sprite: UInt8[np.ndarray, "side side"], path: Trajectory, scene: Scene, num_frames: int
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Renders a clip; the same arguments give the same bytes.

    Args:
        sprite: ink of the item, 255 at its fullest.
        path: from `trajectory` or `draw_trajectory` with the same scene.
        scene: frame and ranges.
        num_frames: at least 1; all frames lie on the same way, evenly spaced.

    Returns:
        The frames as uint8.

    Example:
        >>> from ht_jax.data.motion import draw_trajectory
        >>> scene = Scene(height=32, width=32, sizes=(16, 20), travels=(4.0, 8.0))
        >>> path = draw_trajectory(np.random.default_rng(0), scene)
        >>> render_clip(np.full((8, 8), 255, np.uint8), path, scene, num_frames=6).shape
        (6, 32, 32, 3)
    """
    shape = (num_frames, scene.height, scene.width * 3)
    size = math.prod(shape)
    noise = _noise(scene.noise, size)[path.noise : path.noise + size]
    frames = noise.reshape(shape) + np.tile(np.array(path.background, np.uint8), scene.width)
    item = _item(sprite, path)
    for frame, (top, left) in zip(frames, path.corners(num_frames)):
        place = frame[top : top + path.size, 3 * left : 3 * (left + path.size)]
        np.maximum(place, item, out=place)
    return frames.reshape(num_frames, scene.height, scene.width, 3)


def _item(sprite: np.ndarray, path: Trajectory) -> UInt8[np.ndarray, "size width3"]:
    down = _bilinear(sprite.shape[0], path.size)
    right = _bilinear(sprite.shape[1], path.size)
    # Weights are multiples of 1/256, so both products are exact in float32, in any order of sums.
    ink = down @ sprite.astype(np.float32) @ right.T
    tint = np.asarray(path.tint, np.float32) / np.float32(255)
    return (ink[:, :, None] * tint).astype(np.uint8).reshape(path.size, -1)


@functools.lru_cache(maxsize=256)
def _bilinear(source: int, target: int) -> Float32[np.ndarray, "target source"]:
    at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(at.astype(int), max(source - 2, 0))
    share = np.rint((at - low) * 256) / 256
    weights = np.zeros((target, source), np.float32)
    rows = np.arange(target)
    weights[rows, np.minimum(low + 1, source - 1)] = share
    weights[rows, low] += (1 - share).astype(np.float32)
    weights.flags.writeable = False
    return weights


@functools.lru_cache(maxsize=8)
def _noise(level: int, size: int) -> UInt8[np.ndarray, " values"]:
    values = np.random.default_rng(0).random(size + NOISE_OFFSETS, dtype=np.float32)
    noise = (values * level).astype(np.uint8)
    noise.flags.writeable = False
    return noise
