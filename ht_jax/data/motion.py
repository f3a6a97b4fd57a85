"""The straight way of an item through a clip, and the numbers that determine it.

The item's corner in frame t is start + travel * t / (T - 1), rounded to whole pixels; eleven
uniform numbers and a direction determine everything that a clip shows besides its sprite.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int

# Counter-clockwise from the right, each with its unit step (down, right).
DIRECTIONS = (
    "right",
    "up-right",
    "up",
    "up-left",
    "left",
    "down-left",
    "down",
    "down-right",
)
_DIAGONAL = 0.5**0.5
_STEPS = (
    (0.0, 1.0),
    (-_DIAGONAL, _DIAGONAL),
    (-1.0, 0.0),
    (-_DIAGONAL, -_DIAGONAL),
    (0.0, -1.0),
    (_DIAGONAL, -_DIAGONAL),
    (1.0, 0.0),
    (_DIAGONAL, _DIAGONAL),
)

# A draw has structure [size, centre (2), travel, tint (3), background (3), noise].
DRAW_SIZE = 11
NOISE_OFFSETS = 1 << 16
_DARKEST_TINT, _BRIGHTEST_BACKGROUND = 96, 32


@dataclass(frozen=True)
class Scene:
    """The frame and the ranges from which a clip is drawn.

    Attributes:
        height: of a frame, in pixels.
        width: of a frame, in pixels.
        sizes: smallest and largest side of the item's square, in pixels.
        travels: shortest and longest way from the first frame to the last, in pixels; the default
            is 2 to 8 pixels a frame over 6 frames, and more frames sample the same way finer.
        noise: the background noise of a pixel lies in [0, noise).

    Raises:
        ValueError: the largest item could not travel the shortest way inside the frame.

    Example:
        >>> Scene(height=32, width=32, sizes=(16, 20), travels=(4.0, 8.0)).noise
        24
        >>> Scene(height=60)
        Traceback (most recent call last):
        ValueError: an item of 72 pixels has -12 pixels of room in a frame of 60 x 160, ...
    """

    height: int = 120
    width: int = 160
    sizes: tuple[int, int] = (56, 72)
    travels: tuple[float, float] = (10.0, 40.0)
    noise: int = 24

    def __post_init__(self) -> None:
        for name, (low, high) in (("sizes", self.sizes), ("travels", self.travels)):
            if not 0 < low <= high:
                raise ValueError(f"{name} {(low, high)} must be positive, the smaller one first")
        if not 0 <= self.noise <= 128:
            raise ValueError(f"noise {self.noise} must lie in 0 to 128: it is added in uint8")
        room = min(self.height, self.width) - self.sizes[1]
        if room < self.travels[0]:
            raise ValueError(
                f"an item of {self.sizes[1]} pixels has {room} pixels of room in a frame of "
                f"{self.height} x {self.width}, below the shortest travel {self.travels[0]}: "
                "lower sizes or travels"
            )


class Trajectory(NamedTuple):
    """What a clip shows besides its sprite; lengths in pixels, vectors (down, right).

    Attributes:
        size: side of the item's square.
        direction: index into DIRECTIONS.
        start: upper left corner of the item in the first frame.
        travel: from the first frame to the last.
        tint: colour of the item's ink, each channel in [0, 255].
        background: colour below the noise.
        noise: where the clip's noise begins in the scene's noise.

    Example:
        >>> path = draw_trajectory(np.random.default_rng(0), direction=6)
        >>> (first, last) = path.corners(2)
        >>> DIRECTIONS[6], bool(last[0] > first[0]), bool(last[1] == first[1])
        ('down', True, True)
    """

    size: int
    direction: int
    start: tuple[float, float]
    travel: tuple[float, float]
    tint: tuple[float, ...]
    background: tuple[int, ...]
    noise: int

    def corners(self, num_frames: int) -> Int[np.ndarray, "frames 2"]:
        """The item's upper left corner (row, column) in every frame."""
        way = np.linspace(0.0, 1.0, num_frames)[:, None]
        return np.rint(np.asarray(self.start) + way * np.asarray(self.travel)).astype(int)


def trajectory(scene: Scene, direction: int, draw: Float32[np.ndarray, "11"]) -> Trajectory:
    """The trajectory that eleven uniform numbers describe in a scene.

    The middle of the way and its length do not depend on the direction, so the frame in the middle
    says nothing about it and the outer frames say as little as they can.

    Args:
        scene: frame and ranges.
        direction: index into DIRECTIONS.
        draw: numbers in [0, 1).

    Returns:
        A trajectory on which the item never leaves the frame.
    """
    size_at, down_at, right_at, travel_at, *colours, noise_at = (float(u) for u in draw)
    size = scene.sizes[0] + int(size_at * (scene.sizes[1] - scene.sizes[0] + 1))
    rooms = (scene.height - size, scene.width - size)
    shortest, longest = scene.travels
    centre = [shortest / 2 + (room - shortest) * u for room, u in zip(rooms, (down_at, right_at))]
    # As far as the nearest wall allows in any direction, be it the one taken or not.
    reach = 2 * min(min(at, room - at) for at, room in zip(centre, rooms))
    length = shortest + (max(shortest, min(longest, reach)) - shortest) * travel_at
    travel = [length * step for step in _STEPS[direction]]
    return Trajectory(
        size=size,
        direction=direction,
        start=(centre[0] - travel[0] / 2, centre[1] - travel[1] / 2),
        travel=(travel[0], travel[1]),
        tint=tuple(_DARKEST_TINT + (255 - _DARKEST_TINT) * u for u in colours[:3]),
        background=tuple(int(_BRIGHTEST_BACKGROUND * u) for u in colours[3:]),
        noise=int(NOISE_OFFSETS * noise_at),
    )


def draw_trajectory(
    rng: np.random.Generator, scene: Scene | None = None, direction: int | None = None
) -> Trajectory:
    """Draws a trajectory.

    Args:
        rng: source of randomness.
        scene: frame and ranges; the default is the 160 x 120 frame of the papers.
        direction: index into DIRECTIONS; drawn unless given.

    Returns:
        A trajectory on which the item never leaves the frame.

    Example:
        >>> path = draw_trajectory(np.random.default_rng(0), direction=2)
        >>> path.travel[0] <= -10, path.travel[1]
        (True, 0.0)
    """
    if direction is None:
        direction = int(rng.integers(len(DIRECTIONS)))
    return trajectory(scene or Scene(), direction, rng.random(DRAW_SIZE, dtype=np.float32))
