"""Where the numbers of a run go: to the metrics file and to whoever watches.

A loss that is no longer a number ends the run, before a checkpoint is made of it.
"""

import dataclasses
import math
from collections.abc import Mapping

from jaxtyping import Array

from ht_jax.train.clock import Clock
from ht_jax.train.errors import UserError
from ht_jax.train.evaluation import Evaluation
from ht_jax.train.metrics import Delayed, MetricsFile, Record
from ht_jax.train.progress import Progress


@dataclasses.dataclass(frozen=True, eq=False)
class Recorder:
    """Writes and shows the metrics of steps and evaluations.

    Args:
        file: The metrics file.
        progress: What is shown.
        clock: The run's clock.
        frames: Frames of one step, over all devices.
        delayed: Training steps whose values are still on the device.
    """

    file: MetricsFile
    progress: Progress
    clock: Clock
    frames: int
    delayed: Delayed = dataclasses.field(default_factory=Delayed)

    def step(self, step: int, metrics: Mapping[str, Array]) -> None:
        """Takes the metrics of a training step, without waiting for them."""
        for record in self.delayed.push(step, metrics):
            self._finished(record)

    def catch_up(self) -> None:
        """Waits until all steps taken so far are written."""
        for record in self.delayed.flush():
            self._finished(record)

    def evaluation(self, step: int, split: str, result: Evaluation) -> None:
        """Takes an evaluation."""
        values = {"loss": result.loss, "accuracy": result.accuracy}
        self._emit({"step": step, "split": split, **values})

    def _finished(self, record: Record) -> None:
        self.clock.tick()  # now, not when the step was dispatched
        self._emit(record)

    def _emit(self, record: Record) -> None:
        if not math.isfinite(record["loss"]):
            raise UserError(
                f"the {record['split']} loss is {record['loss']} at step {record['step']}: start "
                "anew in another --workdir with a lower --optimizer.learning-rate"
            )
        self.file.write(record)
        self.progress.show(record, self._speed() if record["split"] == "train" else None)

    def _speed(self) -> float | None:
        rate = self.clock.rate()
        return None if rate is None else rate * self.frames
