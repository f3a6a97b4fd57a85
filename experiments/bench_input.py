"""The input pipeline against the fastest model: `python experiments/bench_input.py`.

Both read the same number of clips, in turn, in one process. Input never limits training where its
ratio is above 1: it makes batches faster than the model's training steps use them up.
"""

import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bench
import numpy as np

from ht_jax.data import ClipData, load, train_batches
from ht_jax.data.video import LAYOUTS
from ht_jax.data.video.builder import Contents, write
from ht_jax.data.video.protocols import Clip
from ht_jax.files import write_json
from ht_jax.train import command
from ht_jax.train.report import versions

STEPS = 20  # batches of a call, so that the two held ready weigh little
STORED = 128


def systems(batch: int, folder: Path) -> list[bench.System]:
    """The fastest model's training steps, then the pipelines.

    Args:
        batch: clips of a batch.
        folder: for the data.
    """
    make = bench._layer({"joint": bench.FDHT_FORMAT})
    model = bench.System(
        "FDHT-LSTM, training", bench._num_params(make), lambda: _steps(make, batch)
    )
    digits = load("moving_digits", folder)
    return [
        model,
        bench.System("clips rendered (Moving Digits)", 0, lambda: _batches(digits, batch)),
        bench.System("clips stored (UCF11's form)", 0, lambda: _batches(_stored(folder), batch)),
    ]


def _steps(make: Callable[[], Any], batch: int) -> Callable[[], None]:
    step = bench._step(make, batch)

    def run() -> None:
        for _ in range(STEPS):
            step()

    return run


def _batches(data: ClipData, batch: int) -> Callable[[], None]:
    batches = train_batches(data, batch_size=batch, seed=0, prefetch=2)

    def run() -> None:
        for _ in range(STEPS):
            next(batches)

    return run


def _stored(folder: Path) -> ClipData:
    """Noise in the form of a prepared video set."""
    shape = (bench.FRAMES, 120, 160, 3)
    clips = [Clip(f"{n:03d}", n % 11, f"{n // 4}") for n in range(STORED)]

    def arrays() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        return (rng.integers(0, 256, shape, np.uint8) for _ in clips)

    names = LAYOUTS["ucf11"].classes or ()
    write(
        Contents(LAYOUTS["ucf11"], "6x120x160", names, clips, (), "", arrays, shape, np.uint8),
        folder,
        folder,
    )
    return load("ucf11", folder)


def bench_input(
    batch: int = 16,
    repeats: int = 5,
    json_file: Path | None = None,
    debug: bool = False,
) -> None:
    """Measures how much faster the input pipeline is than the fastest model.

    Args:
        batch: Clips of a batch, of 6 frames of 160 x 120 each.
        repeats: Rounds in which everything runs once.
        json_file: Where to write the rows, with the command and the versions.
        debug: Show the traceback of an error.
    """
    del debug  # read before the command line is parsed
    with tempfile.TemporaryDirectory() as folder:
        rows = bench.measure(systems(batch, Path(folder)), repeats)
    for row in rows:
        row["frames_per_second"] = STEPS * batch * bench.FRAMES / row["ms"] * 1e3
        low, high = row["times_faster_range"]
        print(
            f"{row['system']}: {row['frames_per_second']:,.0f} frames/s, "
            f"{row['times_faster']:.2f} times the model ({low:.2f} to {high:.2f})"
        )
    if json_file is not None:
        about = {"command": shlex.join(["python", *sys.argv]), "versions": versions()}
        write_json(json_file, {**about, "seed": 0, "repeats": repeats, "rows": rows})


def main(args: list[str]) -> int:
    """Measures as the command line says; returns the exit status."""
    tyro = command.require_tyro()
    return command.run(lambda: tyro.cli(bench_input, args=args), debug="--debug" in args)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
