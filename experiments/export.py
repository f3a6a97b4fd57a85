"""Exports a trained run: `python experiments/export.py WORKDIR MODEL.safetensors`.

The file holds the model, the program of the NumPy runtime and a card; what the card says of the
accuracy is measured with the numbers as they are stored.
"""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from ht_jax import export
from ht_jax.files import check_file
from ht_jax.train import Task, UserError, command, load_run
from ht_jax.train.config import HARMLESS
from ht_jax.train.evaluation import evaluate
from ht_jax.train.step import make_eval_step, split_model


def export_run(
    workdir: Path,
    path: Path,
    /,
    *,
    storage: export.Storage = "float16",
    runtime: bool = False,
    debug: bool = False,
) -> None:
    """Writes the model of a trained run as one file.

    Args:
        workdir: Folder of the run.
        path: File to write.
        storage: How the numbers are stored; None keeps them as they are.
        runtime: Copy the NumPy runtime beside the file.
        debug: Show the traceback of an error.
    """
    del debug  # read before the command line is parsed
    check_file(path)
    _, task = load_run(workdir)
    card = _card(workdir, task)
    _write(task.model, path, storage, card)
    card["test_accuracy"] = round(_accuracy(path, task), 4)
    _write(task.model, path, storage, card)
    if runtime:
        export.copy_runtime(path.parent)
    print(f"{path}: {path.stat().st_size:,} bytes, test accuracy {card['test_accuracy']:.1%}")


def _write(model: Any, path: Path, storage: export.Storage, card: dict[str, Any]) -> None:
    try:
        export.numpy(model, path, storage=storage, card=card)
    except ValueError as error:
        raise UserError(str(error)) from error


def _accuracy(path: Path, task: Task) -> float:
    apply, params = split_model(export.load(path))
    batches = task.eval_batches("test")
    return evaluate(jax.jit(make_eval_step(apply)), params, batches, task.class_names).accuracy


def _card(workdir: Path, task: Task) -> dict[str, Any]:
    try:
        summary = json.loads((workdir / "summary.json").read_text())
    except FileNotFoundError as error:
        raise UserError(f"{workdir} holds no finished run: train it to its end first") from error
    data, versions = summary["config"]["data"], summary["versions"]
    return {
        "command": _shared_command(summary["command"]),
        "data": {name: data[name] for name in ("name", "label") if data[name]},
        "class_names": list(task.class_names),
        "clip_shape": list(task.clip_shape),
        "params": summary["params"],
        "seed": summary["seed"],
        "versions": {name: versions[name] for name in ("python", "ht_jax", "jax", "flax")},
        "license": "Apache-2.0",
    }


def _shared_command(text: str) -> str:
    """The command without the options that change no number, such as the workdir."""
    words, kept = iter(shlex.split(text)), []
    for word in words:
        if word.removeprefix("--").replace("-", "_") in HARMLESS:
            next(words, None)
        else:
            kept.append(word)
    return shlex.join(kept)


def main(args: Sequence[str]) -> int:
    """Exports as the command line says; returns the exit status."""
    return command.run(
        lambda: command.require_tyro().cli(export_run, args=args), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
