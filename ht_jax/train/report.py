"""The result of a run: summary.json, with everything that makes the numbers again.

That is the configuration, the seed, the versions, the devices and the command; the file marks the
run as finished.
"""

import dataclasses
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

import ht_jax
from ht_jax.files import write_json
from ht_jax.train.clock import Clock
from ht_jax.train.command import line
from ht_jax.train.config import TrainConfig, to_dict
from ht_jax.train.errors import UserError
from ht_jax.train.task import Task

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint", "grain")


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a finished run reports.

    Args:
        test_accuracy: Share of test examples whose class was found; measured once, at the
            end; None if the run was told not to.
        test_loss: Mean cross-entropy on the test split, or None.
        validation_accuracy: The same on the validation split, with the final parameters.
        params: Numbers in the whole model.
        matrix_params: Numbers in the recurrent weight matrices, as stored.
        dense_matrix_params: Numbers in the same matrices when dense.
        compression_ratio: dense_matrix_params / matrix_params.
        seconds: Training time without compilation, evaluation and checkpoints.
        compile_seconds: First steps, compilation included.
        frames_per_second: Frames trained on a second, over all devices; None if nothing was timed.
        steps: Optimizer steps.
        seed: The seed.
        device_kind: What the devices are.
        device_count: How many there were.
        versions: Of Python and the packages.
        command: What was typed.
        config: The whole configuration.
    """

    test_accuracy: float | None
    test_loss: float | None
    validation_accuracy: float
    params: int
    matrix_params: int
    dense_matrix_params: int
    compression_ratio: float
    seconds: float
    compile_seconds: float
    frames_per_second: float | None
    steps: int
    seed: int
    device_kind: str
    device_count: int
    versions: dict[str, str]
    command: str
    config: dict[str, Any]


def summarize(config: TrainConfig, task: Task, clock: Clock, accuracies: dict[str, Any]) -> Summary:
    """Gathers the summary of a finished run.

    Args:
        config: The configuration.
        task: What was learned.
        clock: The run's clock.
        accuracies: test_accuracy, test_loss and validation_accuracy.

    Returns:
        The summary.
    """
    rate, frames = clock.rate(), config.batch_size * task.clip_shape[0]
    return Summary(
        **accuracies,
        **dataclasses.asdict(task.counts),
        compression_ratio=task.counts.compression_ratio,
        seconds=clock.seconds,
        compile_seconds=clock.compile_seconds,
        frames_per_second=rate and rate * frames,
        steps=config.steps,
        seed=config.seed,
        device_kind=jax.devices()[0].device_kind,
        device_count=jax.device_count(),
        versions=versions(),
        command=line(),
        config=to_dict(config),
    )


def write_summary(path: Path, summary: Summary) -> None:
    """Writes the summary, which marks the run as finished."""
    write_json(path, dataclasses.asdict(summary))


def read_summary(path: Path) -> Summary | None:
    """Reads the summary of a finished run; None if the run is not finished.

    Raises:
        UserError: If the file is not a summary.
    """
    if not path.exists():
        return None
    try:
        return Summary(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not a summary ({error}): remove it to evaluate anew") from error


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version(), "ht_jax": ht_jax.__version__}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
