"""Classifies a video as it plays: `python experiments/stream.py VIDEO_OR_FOLDER [--model NAME]`.

Every frame goes through one step of the NumPy runtime; the classes that it makes likely are shown
live in a terminal, and as one line a frame elsewhere.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ht_jax.data.optional import require
from ht_jax.export.runtime import Classifier
from ht_jax.pretrained import path_of
from ht_jax.train import UserError, command

_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


def stream(
    source: Path,
    /,
    *,
    model: str = "fdht_moving_digits",
    fps: float = 0.0,
    debug: bool = False,
) -> None:
    """Classifies a video file or a folder of images, frame by frame.

    Args:
        source: Video file, or folder of images, read in the order of their names.
        model: Checkpoint by name, or a file of ht_jax.export.numpy.
        fps: Frames a second at which to play; 0 plays as fast as it goes.
        debug: Show the traceback of an error.
    """
    del debug  # read before the command line is parsed
    if not 0 <= fps < float("inf"):
        raise UserError(f"--fps is {fps}: pass 0 or more")
    classifier = _classifier(model)
    height, width, channels = classifier.card.get("clip_shape", (0, 0, 0, 0))[1:]
    if height * width * channels != classifier.in_features or channels != 3:
        raise UserError(f"{model} does not read coloured frames: its card has no such clip_shape")
    frames = _frames(source, height, width)
    _show(classifier, frames, fps, source.name)


def _classifier(model: str) -> Classifier:
    try:
        return Classifier(model if Path(model).is_file() else path_of(model))
    except ValueError as error:
        raise UserError(str(error)) from error


def _frames(source: Path, height: int, width: int) -> Iterator[np.ndarray]:
    """Frames (height, width, 3) as uint8; what cannot be read is said before the first one."""
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if path.suffix.lower() in _IMAGES)
        if not files:
            raise UserError(f"{source} holds no image ({', '.join(sorted(_IMAGES))})")
        return _images(files, height, width)
    if not source.is_file():
        raise UserError(f"{source}: there is no such file or folder")
    return _video(source, height, width)


def _images(files: list[Path], height: int, width: int) -> Iterator[np.ndarray]:
    image = require("PIL.Image")
    for path in files:
        try:
            with image.open(path) as picture:
                yield np.asarray(picture.convert("RGB").resize((width, height)))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is not an image that can be read: {error}") from error


def _video(path: Path, height: int, width: int) -> Iterator[np.ndarray]:
    av = require("av", extra="video")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(f"{path} holds no video")
            for frame in container.decode(video=0):
                yield frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
    except av.FFmpegError as error:
        raise UserError(f"{path} is not a video that can be read: {error}") from error


def _show(classifier: Classifier, frames: Iterator[np.ndarray], fps: float, title: str) -> None:
    live = _live() if sys.stdout.isatty() else None
    count = 0
    try:
        for count, frame in enumerate(frames, start=1):
            start = time.perf_counter()
            likely = _softmax(classifier.step(frame))
            seconds = time.perf_counter() - start
            if live:
                live.update(_table(classifier, likely, f"{title}, frame {count}", seconds))
            else:
                best = int(likely.argmax())
                name = classifier.class_names[best]
                print(
                    f"frame {count}: {name} {likely[best]:.1%}, {seconds * 1e3:.2f} ms", flush=True
                )
            time.sleep(max(1 / fps - seconds, 0) if fps else 0)
    finally:
        if live:
            live.stop()
    if not count:
        raise UserError(f"{title} holds no frame")


def _softmax(logits: np.ndarray) -> np.ndarray:
    share = np.exp(logits - logits.max())
    return share / share.sum()


def _live():
    live = require("rich.live").Live(refresh_per_second=20)
    live.start()
    return live


def _table(classifier: Classifier, likely: np.ndarray, title: str, seconds: float):
    table = require("rich.table").Table(title=f"{title}: {seconds * 1e3:.2f} ms", show_header=False)
    best = likely.argmax()
    for n, (name, share) in enumerate(zip(classifier.class_names, likely)):
        bar = "█" * round(30 * float(share))
        table.add_row(name, f"{share:.1%}", bar, style="bold" if n == best else None)
    return table


def main(args: Sequence[str]) -> int:
    """Streams as the command line says; returns the exit status."""
    return command.run(
        lambda: command.require_tyro().cli(stream, args=args), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
