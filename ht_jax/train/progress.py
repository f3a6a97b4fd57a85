"""What a run shows while it trains: a live bar in a terminal, plain lines elsewhere.

Both show loss, accuracy, frames a second and the time left.
"""

import sys
import time
from types import TracebackType
from typing import Any

from ht_jax.train.metrics import Record


class Progress:
    """Shows nothing; the base of those that do.

    Args:
        steps: The length of the run.
        start: The step it (re)starts from.
    """

    def __init__(self, steps: int, start: int = 0):
        self.steps: int = steps
        self.start: int = start

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def show(self, record: Record, speed: float | None) -> None:
        """Takes the record of a training step or an evaluation, and the frames a second."""

    def note(self, text: str) -> None:
        """Prints a line that stays."""


class PlainProgress(Progress):
    """Prints a line every so many steps.

    Args:
        steps: The length of the run.
        start: The step it (re)starts from.
        every: Steps between lines.
    """

    def __init__(self, steps: int, start: int = 0, every: int = 1):
        super().__init__(steps, start)
        self._every, self._began = every, time.monotonic()

    def show(self, record: Record, speed: float | None) -> None:
        """Prints evaluations, and a training step if it is its turn."""
        step = record["step"]
        if record["split"] == "train" and step % self._every and step != self.steps:
            return
        text = f"{record['split']} {_describe(record, speed)}"
        self.note(f"step {step}/{self.steps}  {text}  {self._left(step)}")

    def note(self, text: str) -> None:
        """Prints a line at once, so that a log can be followed."""
        print(text, flush=True)

    def _left(self, step: int) -> str:
        done = step - self.start
        seconds = (time.monotonic() - self._began) / max(done, 1) * (self.steps - step)
        return f"{seconds:.0f} s left"


class RichProgress(Progress):
    """Draws a bar with loss, accuracy, speed and the time left.

    Args:
        steps: The length of the run.
        start: The step it (re)starts from.
    """

    def __init__(self, steps: int, start: int = 0):
        super().__init__(steps, start)
        self._bar = _bar()
        self._task = self._bar.add_task("", total=steps, completed=start, evaluation="")

    def __enter__(self) -> "RichProgress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, record: Record, speed: float | None) -> None:
        """Moves the bar, or shows the newest validation accuracy behind it."""
        if record["split"] == "train":
            text = _describe(record, speed)
            self._bar.update(self._task, completed=record["step"], description=text)
        else:
            text = f"{record['split']} {record['accuracy']:.1%}"
            self._bar.update(self._task, evaluation=text)

    def note(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False)


def make_progress(
    *, steps: int, start: int, every: int, quiet: bool, speaks: bool = True
) -> Progress:
    """Chooses how to show progress.

    Args:
        steps: The length of the run.
        start: The step it (re)starts from.
        every: Steps between plain lines.
        quiet: Show nothing.
        speaks: Whether this process prints at all.

    Returns:
        A context manager.
    """
    if quiet or not speaks:
        return Progress(steps, start)
    if sys.stdout.isatty():
        return RichProgress(steps, start)
    return PlainProgress(steps, start, every)


def _describe(record: Record, speed: float | None) -> str:
    text = f"loss {record['loss']:.4f} accuracy {record['accuracy']:.1%}"
    return text if speed is None else f"{text} {speed:,.0f} frames/s"


def _bar() -> Any:
    try:
        from rich import progress
    except ImportError as error:
        raise ImportError("the progress bar needs rich: pip install 'ht_jax[train]'") from error
    return progress.Progress(
        progress.MofNCompleteColumn(),
        progress.BarColumn(bar_width=8),
        progress.TextColumn("{task.description}"),
        progress.TextColumn("{task.fields[evaluation]}"),
        progress.TimeRemainingColumn(compact=True),
    )
