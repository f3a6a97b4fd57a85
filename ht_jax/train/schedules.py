"""The schedules of a run: measured before the first step, and kept beside its checkpoints.

A resumed run contracts in the same order as before, so its numbers stay the same to the bit even
where another measurement would have come out otherwise.
"""

import json
from collections.abc import Callable
from pathlib import Path

import jax

from ht_jax import schedule as schedules
from ht_jax.files import write_json
from ht_jax.train.config import TrainConfig
from ht_jax.train.errors import UserError
from ht_jax.train.step import split_model
from ht_jax.train.task import Task

FILE = "schedules.json"


def settle(config: TrainConfig, task: Task, say: Callable[[str], None]) -> None:
    """Takes the schedules of a run that is resumed, or measures them if the run wants that.

    Args:
        config: The configuration; its workdir exists.
        task: What is learned.
        say: Is told what was measured.

    Raises:
        UserError: If the stored schedules cannot be read.
    """
    path = config.workdir / FILE
    if path.exists():
        for schedule in _read(path):
            schedules.remember(schedule)
    elif config.tune:
        chosen = [_tuned(problem, say) for problem in problems(config, task)]
        if jax.process_index() == 0:
            write_json(path, [json.loads(schedule.to_json()) for schedule in chosen])


def problems(config: TrainConfig, task: Task) -> list[schedules.Problem]:
    """What the training step will contract on each device, found by tracing the model.

    Args:
        config: The configuration.
        task: What is learned.

    Returns:
        The problems, each once.
    """
    apply, params = split_model(task.model)
    frames = next(iter(task.train_batches(0)))["frames"]
    rows = config.batch_size // (jax.device_count() * config.accumulate)
    share = jax.ShapeDtypeStruct((max(rows, 1), *frames.shape[1:]), frames.dtype)
    with schedules.asked() as asked:
        jax.eval_shape(apply, params, share)
    return list(dict.fromkeys(asked))


def _tuned(problem: schedules.Problem, say: Callable[[str], None]) -> schedules.Schedule:
    say(f"measuring schedules for {problem.network.in_size} -> {problem.network.out_size}")
    return schedules.tuned(problem, lambda: schedules.ranked(problem, schedules.probed()))


def _read(path: Path) -> list[schedules.Schedule]:
    try:
        return [
            schedules.Schedule.from_json(json.dumps(item)) for item in json.loads(path.read_text())
        ]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): delete it, and the run goes on with other schedules"
        ) from error
