"""The time spent training: compilation, evaluation and checkpoints stay outside.

The readings travel in the checkpoint, so they add up over resumed runs.
"""

import dataclasses
import time


@dataclasses.dataclass
class Clock:
    """A stopwatch over training steps.

    Args:
        seconds: Time of the timed steps.
        steps: How many steps were timed.
        compile_seconds: Time of the first step of every start, compilation included.
    """

    seconds: float = 0.0
    steps: int = 0
    compile_seconds: float = 0.0
    _started: float = dataclasses.field(default=0.0, repr=False)
    _ticked: float = dataclasses.field(default=0.0, repr=False)
    _running: int = dataclasses.field(default=0, repr=False)
    _compiled: bool = dataclasses.field(default=False, repr=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Starts or restarts the watch; what ran since the last lap is not counted."""
        self._started, self._running = time.perf_counter(), 0
        self._ticked = self._started

    def tick(self) -> None:
        """Counts one step that the device has finished; the one that compiles is not counted."""
        if self._compiled:
            self._running, self._ticked = self._running + 1, time.perf_counter()

    def compiled(self) -> None:
        """Books the time since the start as compilation and starts anew."""
        self.compile_seconds, self._compiled = self.compile_seconds + self._elapsed(), True
        self.start()

    def lap(self) -> None:
        """Books the steps since the start and their time, and starts anew."""
        self.seconds, self.steps = self.seconds + self._elapsed(), self.steps + self._running
        self.start()

    def rate(self) -> float | None:
        """Steps a second, the running lap included; None before the first timed step."""
        steps, seconds = self.steps + self._running, self.seconds + self._ticked - self._started
        return steps / seconds if steps else None

    def reading(self) -> dict[str, float]:
        """What a checkpoint keeps: the arguments of a clock that carries on."""
        return {
            "seconds": self.seconds,
            "steps": self.steps,
            "compile_seconds": self.compile_seconds,
        }

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started
