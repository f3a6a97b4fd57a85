"""Every check of a run that can be made before anything is trained or written.

Each raises `UserError` with one line that quotes the offending value and names the remedy.
"""

import dataclasses
import json
import math
import shutil
import typing
from pathlib import Path
from typing import Any

import jax

from ht_jax.files import check_folder, nearest
from ht_jax.train.config import HARMLESS, TrainConfig, flatten, to_dict
from ht_jax.train.errors import UserError

_MARGIN = 64 * 2**20  # bytes for metrics, pictures and the file system's own needs
_AT_LEAST_ONE = (
    "steps",
    "batch_size",
    "accumulate",
    "eval_every",
    "checkpoint_every",
    "log_every",
    "model.hidden",
    "data.num_frames",
)
_AT_LEAST_ZERO = (
    "seed",
    "max_skipped",
    "optimizer.warmup_steps",
    "optimizer.clip_norm",
    "optimizer.fan_in",
    "optimizer.weight_decay",
    "optimizer.decay",
    "optimizer.drop_every",
    "optimizer.classifier_l2",
    "data.fold",
)
_POSITIVE = {
    "model.pixel_scale": 1 / 64,
    "optimizer.learning_rate": 0.001,
    "optimizer.drop_factor": 0.2,
}


def check(config: TrainConfig) -> None:
    """Checks a configuration against itself, the devices and the workdir.

    Args:
        config: The configuration.

    Raises:
        UserError: If training could not start, or would mix two runs in one workdir.
    """
    check_values(config)
    check_devices(config.batch_size, jax.device_count(), config.accumulate)
    check_workdir(config.workdir)
    check_same_run(config)


def check_values(config: TrainConfig) -> None:
    """Checks types, sizes, ranges and choices."""
    _check_types(config)
    _check_choices(config)
    _check_lows(config)
    _check_positive(config)
    model = config.model
    if config.optimizer.schedule == "drops" and not config.optimizer.drop_every:
        raise UserError("optimizer.schedule drops needs --optimizer.drop-every 1 or more")
    for name in ("dropout", "recurrent_dropout"):
        if not 0 <= (share := getattr(model, name)) < 1:
            raise UserError(f"model.{name} is {share}: pass a share from 0 to just below 1")
    if model.joint is not None and (model.input is not None or model.recurrent is not None):
        raise UserError(
            f"model.joint {model.joint} replaces both matrices: drop it, or drop model.input and "
            "model.recurrent"
        )


def check_devices(batch_size: int, devices: int, parts: int = 1) -> None:
    """Checks that the batch divides over the devices, and a device's share over its parts."""
    if batch_size % (devices * parts):
        near = max(batch_size // (devices * parts), 1) * devices * parts
        taken = f" in {parts} parts" if parts > 1 else ""
        raise UserError(
            f"batch_size {batch_size} does not divide over {devices} devices{taken}: pass "
            f"--batch-size {near} or another multiple of {devices * parts}"
        )


def check_workdir(workdir: Path) -> None:
    """Checks that the workdir exists as a folder, or can be made, and can be written to."""
    try:
        check_folder(workdir)
    except OSError as error:
        raise UserError(f"workdir {error}: choose another --workdir") from error


def check_disk(workdir: Path, state_bytes: int, copies: int) -> None:
    """Checks that the disk holds the checkpoints.

    Args:
        workdir: Where the checkpoints go; it need not exist yet.
        state_bytes: The size of one checkpoint.
        copies: How many of them are on the disk at once, beyond those already there.
    """
    need = copies * state_bytes + _MARGIN
    free = shutil.disk_usage(nearest(workdir)).free
    if free < need:
        raise UserError(
            f"workdir {workdir}: {free / 2**20:,.0f} MiB free, but the checkpoints need "
            f"{need / 2**20:,.0f} MiB: free some space or choose another --workdir"
        )


def check_same_run(config: TrainConfig) -> None:
    """Checks that the workdir is new or holds the same run; `HARMLESS` fields may differ.

    Fields that were added after the run was stored count as being at their defaults.
    """
    stored = _stored(config.workdir / "config.json")
    if stored is None:
        return
    if config.resume == "never":
        raise UserError(
            f"workdir {config.workdir} holds a run, and --resume is never: choose another "
            "--workdir, or pass --resume auto"
        )
    ours = dict(flatten(to_dict(config)))
    stored = dict(flatten(to_dict(TrainConfig()))) | stored
    for name in sorted((ours.keys() | stored.keys()) - HARMLESS):
        mine, theirs = ours.get(name), stored.get(name)
        if mine != theirs:
            raise UserError(
                f"workdir {config.workdir} holds a run with {name}={theirs!r}, not {mine!r}: "
                f"choose another --workdir, or pass {_flag(name)} {theirs}"
            )


def _check_lows(config: TrainConfig) -> None:
    fields = dict(flatten(to_dict(config)))
    for names, low in ((_AT_LEAST_ONE, 1), (_AT_LEAST_ZERO, 0)):
        for name in names:
            if fields[name] is not None and not low <= fields[name] < math.inf:
                raise UserError(f"{name} is {fields[name]}: pass {_flag(name)} {low} or more")


def _check_positive(config: TrainConfig) -> None:
    fields = dict(flatten(to_dict(config)))
    for name, usual in _POSITIVE.items():
        if not 0 < fields[name] < math.inf:
            raise UserError(
                f"{name} is {fields[name]}: pass a positive number, {usual} for example"
            )


def _stored(path: Path) -> dict[str, object] | None:
    if not path.exists():
        return None
    try:
        return dict(flatten(json.loads(path.read_text())))
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"{path} is not a configuration ({error}): choose another --workdir"
        ) from error


def _check_types(room: Any, prefix: str = "") -> None:
    for name, hint in typing.get_type_hints(type(room)).items():
        value = getattr(room, name)
        if dataclasses.is_dataclass(value):
            _check_types(value, f"{prefix}{name}.")
        elif not _fits(value, hint):
            raise UserError(f"{prefix}{name} is {value!r}: pass a value of {hint}")


def _fits(value: Any, hint: Any) -> bool:
    if typing.get_origin(hint) is typing.Literal:
        return isinstance(value, str)  # the choices are checked by themselves
    kinds = typing.get_args(hint) or (hint,)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, (*kinds, int) if float in kinds else kinds)


def _check_choices(config: TrainConfig) -> None:
    for room, prefix in ((config, ""), (config.model, "model."), (config.optimizer, "optimizer.")):
        for name, hint in typing.get_type_hints(type(room)).items():
            choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
            value = getattr(room, name)
            if choices and value not in choices:
                raise UserError(f"{prefix}{name} is {value!r}: choose one of {', '.join(choices)}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
