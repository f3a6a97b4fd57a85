"""Prepares a data set: `python experiments/prepare.py ucf11 SOURCE [--data-dir DIR]`.

SOURCE is the folder of the official archives, or of what they unpack to. The same command again
carries on where it was stopped; what was left out is listed at the end.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ht_jax import data
from ht_jax.data import video
from ht_jax.data.prepare import home
from ht_jax.files import check_folder
from ht_jax.train import UserError, command

Name = Literal["ucf11", "ucf50", "ucf101", "hmdb51", "youtube_celebrities", "moving_fashion_mnist"]


def prepare(
    name: Name,
    source: Path,
    /,
    *,
    data_dir: Path | None = None,
    num_frames: int = 6,
    height: int | None = None,
    width: int | None = None,
    cnn: str | None = None,
    weights: str = "imagenet",
    on_bad_clip: Literal["skip", "fail"] = "fail",
    workers: int | None = None,
    debug: bool = False,
) -> None:
    """Stores a data set once: clips of a video set are decoded, to be read by any protocol.

    Args:
        name: Of the set.
        source: Folder of the official archives, or of what they unpack to; for
            moving_fashion_mnist of the four files of Fashion-MNIST.
        data_dir: Folder of TFDS data sets; TFDS's own unless given.
        num_frames: Frames of a clip, evenly over its length. Where training asks for fewer, it
            draws them anew each time, in order.
        height: Of a frame; 120 unless given, or what the network was trained on.
        width: Of a frame; 160 unless given, or what the network was trained on.
        cnn: Network of keras.applications whose features are stored in place of the frames, such as
            inception_v3.
        weights: Of that network: imagenet, which Keras downloads, or a file without the classifier.
        on_bad_clip: Whether what is not as documented is left out, or ends the work.
        workers: Clips decoded at once; as many as there are cores unless given.
        debug: Show the traceback of an error.
    """
    del debug  # read before the command line is parsed
    command.at_least(1, num_frames=num_frames, height=height, width=width, workers=workers)
    if cnn is None and weights != "imagenet":
        raise UserError(f"--weights {weights} are of a network: pass --cnn too")
    check_folder(home(data_dir))
    if name == "moving_fashion_mnist":
        found = data.load(name, data_dir, source=source)
        print(f"{name}: {len(found.train):,} training images, {len(found.test):,} test clips")
        return
    side = video.side(cnn) if cnn else None
    size = video.Size(num_frames, _given(height, side or 120), _given(width, side or 160))
    layout, options = video.LAYOUTS[name], {"on_bad_clip": on_bad_clip, "workers": workers}
    try:
        with Display() as display:
            network = video.frozen_cnn(cnn, size.height, size.width, weights) if cnn else None
            options |= {"size": size, "cnn": network, "tell": display.tell}
            report = video.prepare(layout, source, data_dir, **options)
    except ValueError as error:
        raise UserError(str(error)) from error
    show(report)


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


class Display:
    """A progress bar for each thing that is being done."""

    def __enter__(self) -> "Display":
        from rich import progress

        columns = progress.TextColumn("{task.description}"), progress.BarColumn()
        counts = progress.MofNCompleteColumn(), progress.TimeRemainingColumn()
        self._progress = progress.Progress(*columns, *counts)
        self._progress.start()
        self._tasks = {}
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def tell(self, what: str, done: int, total: int | None) -> None:
        """Takes how many of a total are done."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)


def show(report: video.Report) -> None:
    """Prints what is stored, and everything that was left out."""
    print(f"{report.folder}: {report.clips:,} clips of {report.documented:,} documented")
    for problem in report.problems:
        print(f"left out: {problem}")
    if report.problems:
        print(f"{len(report.problems)} left out in all")


def main(args: Sequence[str]) -> int:
    """Prepares as the command line says; returns the exit status."""
    return command.run(
        lambda: command.require_tyro().cli(prepare, args=args), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
