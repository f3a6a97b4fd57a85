"""A trained run, read back from its workdir: the configuration, the data and the model.

It serves whatever comes after training: evaluation, compression, export.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
from flax import nnx

from ht_jax.train.checkpoint import Checkpoints
from ht_jax.train.config import TrainConfig, from_dict
from ht_jax.train.errors import UserError
from ht_jax.train.evaluation import Evaluation, evaluate
from ht_jax.train.optimizer import make_optimizer
from ht_jax.train.step import Params, init_state, make_eval_step, split_model
from ht_jax.train.task import Task, build_task


def load_run(workdir: Path, task: Task | None = None) -> tuple[TrainConfig, Task]:
    """Reads a run back, with the parameters of its newest checkpoint.

    Args:
        workdir: The run's folder.
        task: What it learned; built from the stored configuration unless given. Its model takes the
            parameters.

    Returns:
        The configuration and the task.

    Raises:
        UserError: If the folder holds no run, or none with a checkpoint.

    Example:
        >>> config, task = load_run(Path("runs/default"))  # doctest: +SKIP
        >>> load_run(Path("nowhere"))
        Traceback (most recent call last):
        ht_jax.train.errors.UserError: nowhere holds no run: config.json is missing; pass ...
    """
    config = read_config(workdir)
    if not (workdir / "checkpoints").is_dir():
        raise UserError(f"{workdir} holds no checkpoint yet: resume its training first")
    task = task or build_task(config)
    set_params(task.model, _restore_params(workdir, config, task))
    return config, task


def read_config(workdir: Path) -> TrainConfig:
    """Reads the configuration of a run.

    Args:
        workdir: The run's folder.

    Returns:
        The configuration.

    Raises:
        UserError: If there is none, or none that can be read.
    """
    path = workdir / "config.json"
    try:
        return from_dict(json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"{workdir} holds no run: {path.name} is missing; pass the workdir of a training run"
        ) from error
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise UserError(f"{path} is not a configuration: {error}") from error


def set_params(model: nnx.Module, params: Params) -> None:
    """Puts parameters into a module.

    Args:
        model: The module; it changes.
        params: The parameters as a pure dict.
    """
    state = nnx.state(model, nnx.Param)
    nnx.replace_by_pure_dict(state, params)
    nnx.update(model, state)


def _restore_params(workdir: Path, config: TrainConfig, task: Task) -> Params:
    _, params = split_model(task.model)
    like = init_state(params, make_optimizer(config.optimizer, config.steps))
    with Checkpoints(workdir, read_only=True) as checkpoints:
        restored = checkpoints.restore(like)
    if restored is None:
        raise UserError(f"{workdir} holds no checkpoint yet: resume its training first")
    return restored[0]["params"]


def evaluate_run(
    workdir: Path, splits: Sequence[str], task: Task | None = None
) -> dict[str, Evaluation]:
    """Evaluates a trained run, on one device whatever it was trained on.

    Args:
        workdir: The run's folder.
        splits: The names of the splits.
        task: As `load_run` takes it.

    Returns:
        An evaluation for every split.

    Raises:
        UserError: If the folder holds no run, or a split no example.

    Example:
        >>> evaluate_run(Path("runs/default"), ["test"])["test"].accuracy  # doctest: +SKIP
        >>> evaluate_run(Path("nowhere"), ["test"])
        Traceback (most recent call last):
        ht_jax.train.errors.UserError: nowhere holds no run: config.json is missing; pass ...
    """
    _, task = load_run(workdir, task)
    apply, params = split_model(task.model)
    eval_step = jax.jit(make_eval_step(apply))
    return {
        split: evaluate(eval_step, params, task.eval_batches(split), task.class_names)
        for split in splits
    }
