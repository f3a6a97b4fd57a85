"""The input pipeline against the fastest model: both take the same number of clips, in turn.

Input never limits training where its ratio is above 1: it makes batches faster than the model's
training steps use them up.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ht_jax.data import ClipData, load, train_batches
from ht_jax.data.video import LAYOUTS
from ht_jax.data.video.builder import Contents, write
from ht_jax.data.video.protocols import Clip
from suites import layer, shapes
from suites.timing import Call, Row, System, compare

STEPS = 20  # batches of a call, so that the two held ready weigh little
FRAMES, STORED = 6, 128


def run(batch: int, repeats: int) -> list[Row]:
    """Rows of the suite: the model, then the pipelines.

    Args:
        batch: clips of 6 frames.
        repeats: rounds.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(systems(batch, Path(folder)), repeats)
    for row in rows:
        row["frames_per_second"] = STEPS * batch * FRAMES / row["ms"] * 1e3
    return rows


def systems(batch: int, folder: Path) -> list[System]:
    """The fastest model's training steps, then the pipelines, their data in a folder."""
    one = layer.system("FDHT-LSTM, training", layer.rnn({"joint": shapes.FDHT}), batch)
    digits, stored = load("moving_digits", folder), _stored(folder)
    return [
        System(one.name, one.params, lambda: _steps(one.make())),
        System("clips rendered (Moving Digits)", 0, lambda: _batches(digits, batch)),
        System("clips stored (as UCF11 is)", 0, lambda: _batches(stored, batch)),
    ]


def _steps(step: Call) -> Call:
    return lambda: [step() for _ in range(STEPS)]


def _batches(data: ClipData, batch: int) -> Call:
    batches = train_batches(data, batch_size=batch, seed=0, prefetch=2)
    return lambda: [next(batches) for _ in range(STEPS)]


def _stored(folder: Path) -> ClipData:
    """Noise in the form of a prepared video set."""
    shape = (FRAMES, 120, 160, 3)
    clips = [Clip(f"{n:03d}", n % 11, f"{n // 4}") for n in range(STORED)]

    def arrays() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        return (rng.integers(0, 256, shape, np.uint8) for _ in clips)

    ucf11 = LAYOUTS["ucf11"]
    names = ucf11.classes or ()
    contents = Contents(ucf11, "6x120x160", names, clips, (), "", arrays, shape, np.uint8)
    write(contents, folder, folder)
    return load("ucf11", folder)
