"""Where the numbers of a run go: to the metrics file and to whoever watches.

Steps whose loss or gradient is not finite were skipped; too many of them in a row end the run.
"""

import dataclasses
import math
from collections.abc import Mapping

from jaxtyping import Array

from ht_jax.train.clock import Clock
from ht_jax.train.errors import NotFinite, UserError
from ht_jax.train.evaluation import Evaluation
from ht_jax.train.metrics import Delayed, MetricsFile, Record
from ht_jax.train.progress import Progress

_REMEDY = "start anew in another --workdir with a lower --optimizer.learning-rate"


@dataclasses.dataclass(frozen=True, eq=False)
class Recorder:
    """Writes and shows the metrics of steps and evaluations.

    Args:
        file: The metrics file.
        progress: What is shown.
        clock: The run's clock.
        frames: Frames of one step, over all devices.
        max_skipped: Steps in a row that may be skipped.
        delayed: Training steps whose values are still on the device.
    """

    file: MetricsFile
    progress: Progress
    clock: Clock
    frames: int
    max_skipped: int
    delayed: Delayed = dataclasses.field(default_factory=Delayed)

    def step(self, step: int, metrics: Mapping[str, Array], *, compiles: bool = False) -> None:
        """Takes the metrics of a training step, without waiting for them unless it compiled."""
        for record in self.delayed.push(step, metrics):
            self._finished(record)
        if compiles:
            self.catch_up()
            self.clock.compiled()

    def catch_up(self) -> None:
        """Waits until all steps taken so far are written."""
        for record in self.delayed.flush():
            self._finished(record)

    def evaluation(self, step: int, split: str, result: Evaluation) -> None:
        """Takes an evaluation."""
        if not math.isfinite(result.loss):
            raise UserError(f"the {split} loss is {result.loss} at step {step}: {_REMEDY}")
        self._emit({"step": step, "split": split, "loss": result.loss, "accuracy": result.accuracy})

    def _finished(self, record: Record) -> None:
        self.clock.tick()  # now, not when the step was dispatched
        skipped = int(record.pop("skipped"))
        self._emit({**record, "skipped": skipped} if skipped else record)
        if skipped > self.max_skipped:
            step, loss, norm = record["step"], record["loss"], record["grad_norm"]
            raise NotFinite(
                f"{skipped} steps in a row were skipped, the last is step {step} with loss {loss} "
                f"and gradient norm {norm}: {_REMEDY}; the state and the batches' records are in "
                "the workdir, folder not_finite",
                step,
                skipped,
            )

    def _emit(self, record: Record) -> None:
        self.file.write(record)
        self.progress.show(record, self._speed() if record["split"] == "train" else None)

    def _speed(self) -> float | None:
        rate = self.clock.rate()
        return None if rate is None else rate * self.frames
