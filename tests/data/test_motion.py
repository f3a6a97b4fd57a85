import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from ht_jax.data.motion import DIRECTIONS, DRAW_SIZE, Scene, draw_trajectory, trajectory

SCENES = [Scene(), Scene(sizes=(56, 96)), Scene(30, 40, (14, 18), (4.0, 10.0), noise=0)]
# A draw is a float32 below 1.
uniforms = st.floats(0, 1, exclude_max=True, width=32)
draws = st.lists(uniforms, min_size=DRAW_SIZE, max_size=DRAW_SIZE).map(np.float32)
directions = st.integers(0, len(DIRECTIONS) - 1)


def paths(num, scene=SCENES[0], seed=0):
    rng = np.random.default_rng(seed)
    return [draw_trajectory(rng, scene) for _ in range(num)]


@settings(deadline=None)
@given(st.sampled_from(SCENES), directions, draws, st.integers(1, 9))
def test_item_never_leaves_the_frame(scene, direction, draw, num_frames):
    path = trajectory(scene, direction, draw)
    corners = path.corners(num_frames)
    assert corners.shape == (num_frames, 2)
    assert corners.min() >= 0
    assert np.all(corners + path.size <= (scene.height, scene.width))


@settings(deadline=None)
@given(st.sampled_from(SCENES), directions, draws)
def test_size_and_travel_are_within_their_ranges(scene, direction, draw):
    path = trajectory(scene, direction, draw)
    assert scene.sizes[0] <= path.size <= scene.sizes[1]
    length = np.hypot(*path.travel)
    assert scene.travels[0] - 1e-9 <= length <= scene.travels[1] + 1e-9


@settings(deadline=None)
@given(st.sampled_from(SCENES), directions, draws)
def test_travel_points_in_the_direction(scene, direction, draw):
    down, right = trajectory(scene, direction, draw).travel
    angle = np.arctan2(-down, right) % (2 * np.pi)
    assert angle == pytest.approx(2 * np.pi * direction / len(DIRECTIONS))


def test_middle_of_the_way_is_the_same_for_all_directions():
    draw = np.random.default_rng(0).random(DRAW_SIZE, dtype=np.float32)
    all_ways = [trajectory(SCENES[0], direction, draw) for direction in range(len(DIRECTIONS))]
    middles = [np.add(path.start, np.multiply(0.5, path.travel)) for path in all_ways]
    np.testing.assert_allclose(middles, middles[:1] * len(DIRECTIONS), rtol=1e-12)


def test_finer_sampling_keeps_the_way():
    path = paths(1)[0]
    np.testing.assert_array_equal(path.corners(6), path.corners(11)[::2])


def direction_score(features, labels):
    half = len(labels) // 2
    model = LogisticRegression(max_iter=500).fit(features[:half], labels[:half])
    return model.score(features[half:], labels[half:])


@pytest.mark.parametrize(
    ("frames", "low", "high"), [([0], 0, 0.27), ([5], 0, 0.27), ([0, 5], 0.9, 1)]
)
def test_direction_shows_in_two_frames_and_hardly_in_one(frames, low, high):
    drawn = paths(4000)
    features = np.array([path.corners(6)[frames].ravel() for path in drawn]) / 20
    labels = np.array([path.direction for path in drawn])
    assert low <= direction_score(features, labels) <= high


def test_same_generator_state_draws_the_same_trajectory():
    assert paths(3, seed=5) == paths(3, seed=5)
    assert paths(3, seed=5) != paths(3, seed=6)


def test_given_direction_is_kept():
    assert draw_trajectory(np.random.default_rng(0), direction=3).direction == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": (56, 115)}, r"115 pixels has 5 pixels of room in a frame of 120 x 160"),
        ({"sizes": (72, 56)}, r"sizes \(72, 56\)"),
        ({"travels": (0.0, 4.0)}, r"travels \(0\.0, 4\.0\)"),
        ({"noise": 200}, r"noise 200"),
    ],
)
def test_impossible_scenes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Scene(**options)
