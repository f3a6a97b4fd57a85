"""What a run leaves behind when too many steps were skipped: the folder `not_finite`.

It holds the state (skipped steps have left parameters and optimizer as they were before the first
of them) as a checkpoint, and report.json with the steps and the records that their batches held.
"""

from pathlib import Path
from typing import Any

from ht_jax.files import write_json
from ht_jax.train.checkpoint import Checkpoints
from ht_jax.train.errors import NotFinite
from ht_jax.train.step import TrainState
from ht_jax.train.task import Task

FOLDER = "not_finite"


def save_not_finite(workdir: Path, task: Task, state: TrainState, error: NotFinite) -> None:
    """Saves what is needed to see why loss or gradient were not finite.

    Args:
        workdir: The run's folder.
        task: What was learned.
        state: The state after the last step.
        error: Why the run ends.
    """
    folder = workdir / FOLDER
    steps = range(error.step - error.count + 1, error.step + 1)
    ids = {step: task.train_ids(step) for step in steps} if task.train_ids else None
    report: dict[str, Any] = {"message": str(error), "steps": list(steps), "batch_ids": ids}
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(state, {})
    write_json(folder / "report.json", report)
