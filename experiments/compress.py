"""Compresses a trained run: `python experiments/compress.py --run WORKDIR [--finetune N] ...`.

Dense checkpoint in; for every budget a model, its accuracy, and its files, read back and compared.
The same command with `--latency` times the steps of the models; the logic is in
`ht_jax.compression`, tables and the picture are made by report.py.
"""

import contextlib
import dataclasses
import itertools
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import artefacts
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console

from ht_jax import export, nn
from ht_jax.compression import Report, frontier
from ht_jax.compression.whiten import Whitener
from ht_jax.files import check_file, check_folder, write_json
from ht_jax.summary import align, walk
from ht_jax.train import Counts, OptimizerConfig, Task, TrainConfig, UserError, command, load_run
from ht_jax.train.evaluation import evaluate
from ht_jax.train.finetune import finetune
from ht_jax.train.report import read_summary, versions
from ht_jax.train.step import make_eval_step, split_model

RESULTS = Path(__file__).parent / "results"
Method = Literal["aware", "plain", "uniform", "joint", "input"]


@dataclasses.dataclass(frozen=True)
class Config:
    """One compression of a run to several budgets."""

    run: Path = Path("runs/lstm")
    """Workdir of the trained run."""
    method: Method = "aware"
    """How: with calibration data, without any ("plain"), with one rank for all, both matrices as
    one, or the input-to-hidden matrix alone."""
    formats: tuple[str, ...] = ("ht", "low_rank")
    """Formats that a matrix may take."""
    budgets: tuple[int, ...] = (592_000, 178_000, 59_000)
    """Numbers in the whole model; for the method "input" in its matrix alone."""
    calibration: int = 8
    """Batches of training clips that calibrate."""
    refine: int = 0
    """Steps of refinement on them."""
    finetune: int = 0
    """Training steps with the dense model as the teacher, for each budget."""
    learning_rate: float = 1e-3
    """Of the fine-tuning."""
    stretches: int = 1
    """Parts of the fine-tuning, between which ranks move to where singular values press."""
    riemannian: bool = False
    """Fine-tune HT matrices on the manifold of their ranks."""
    verify: int = 100
    """Test clips for which the files' logits are compared with the model's; 0 writes no files."""
    workdir: Path = Path("runs/compressed")
    """Folder for the compressed models and their fine-tuning."""
    output: Path | None = None
    """File of results; by default results/compress_METHOD.json."""
    latency: bool = False
    """Time a step of the models that this command has written, and do nothing else."""
    debug: bool = False
    """Show the traceback of an error."""


def run(config: Config) -> None:
    """Compresses, measures and writes, or times."""
    if config.latency:
        _time(config)
    else:
        _check(config)
        _compress(config)


def _check(config: Config) -> None:
    least = {"calibration": 1, "stretches": 1, "refine": 0, "finetune": 0, "verify": 0}
    for name, low in least.items():
        command.at_least(low, **{name: getattr(config, name)})
    if not (config.budgets and config.formats):
        raise UserError("--budgets and --formats take one or more each")
    command.at_least(1, budgets=min(config.budgets))
    if config.finetune and config.stretches > config.finetune:
        raise UserError(
            f"--stretches is {config.stretches}: pass --finetune, {config.finetune}, or less"
        )
    if not config.finetune and (config.riemannian or config.stretches > 1):
        raise UserError("--riemannian and --stretches are of the fine-tuning: pass --finetune too")
    if not 0 < config.learning_rate < math.inf:
        raise UserError(f"--learning-rate is {config.learning_rate}: pass a positive number")
    check_file(_output(config))
    check_folder(config.workdir)


def _compress(config: Config) -> None:
    console = Console(stderr=True)
    trained, task = load_run(config.run)
    with console.status("analysing the model"), _told():
        found = _frontier(config, task)
    whiteners = {site.name.removesuffix("/kernel"): w for site, w in found.whiteners.items()}
    known = {
        "command": command.line(),
        "versions": versions(),
        "seed": trained.seed,
        "method": config.method,
        "calibration_clips": config.calibration * trained.batch_size,
    }
    rows: list[dict[str, Any]] = []
    for budget in config.budgets:
        with console.status(f"compressing to {budget:,} numbers"), _told():
            model, report = found.within(_whole(config, task, budget), refine=config.refine)
        print(report, flush=True)
        rows.append(_measured(config, trained, task, (model, report), budget, whiteners))
        print(json.dumps({k: v for k, v in rows[-1].items() if k != "matrices"}), flush=True)
        write_json(_output(config), {**known, "rows": rows})
    results = {**known, "rows": rows, "dense": _dense(config, task)}
    write_json(_output(config), results)
    print(_table(results))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """A format or a budget that is refused is an error of the user's."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error


def _time(config: Config) -> None:
    """Adds the milliseconds of a step to the results, of the dense model and of each other."""
    path = _output(config)
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: run the command without --latency first") from error
    except ValueError as error:
        raise UserError(f"{path} is not a file of results ({error}): remove it") from error
    _, task = load_run(config.run)
    frame = np.random.default_rng(0).integers(0, 256, task.clip_shape[1:], np.uint8)
    found["dense"]["ms_a_frame"] = artefacts.step_ms(task.model, frame)
    for row in found["rows"]:
        file = _stem(config, row["budget"]).with_suffix(".safetensors")
        row["ms_a_frame"] = artefacts.step_ms(export.load(file), frame)
        row["numpy_ms_a_frame"] = artefacts.numpy_step_ms(file, frame)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found["latency"] = {"command": command.line(), "cores": cores}
    write_json(path, found)
    print(_table(found))


def _table(found: dict[str, Any]) -> str:
    """The results for readers, the dense model last."""
    header = [
        "budget",
        "numbers",
        "input to hidden",
        "test",
        "fine-tuned",
        "ms",
        "NumPy ms",
        "bytes",
    ]
    rows = [*found["rows"], {"budget": "dense", **found["dense"]}]
    names = ("budget", "params", "input_to_hidden", "test_accuracy", "finetuned_test_accuracy")
    names = (*names, "ms_a_frame", "numpy_ms_a_frame", "file_bytes")
    return align(header, [[_shown(row.get(name)) for name in names] for row in rows], text=1)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else value


def _dense(config: Config, task: Task) -> dict[str, Any]:
    """What the run is: its own summary, or what its newest checkpoint does if it is unfinished."""
    summary = read_summary(config.run / "summary.json")
    if summary is not None:
        names = ("params", "steps", "validation_accuracy", "test_accuracy", "command")
        return {name: getattr(summary, name) for name in names}
    steps = max(int(p.name) for p in (config.run / "checkpoints").iterdir() if p.name.isdigit())
    accuracies = {f"{s}_accuracy": _accuracy(task, task.model, s) for s in ("validation", "test")}
    return {"params": task.counts.params, "steps": steps, **accuracies}


def _frontier(config: Config, task: Task):
    batches = itertools.islice(task.train_batches(0), config.calibration)
    calibration = [(jnp.asarray(batch["frames"]),) for batch in batches]
    scope = config.method if config.method in ("joint", "input") else "all"
    return frontier(
        task.model,
        formats=config.formats,
        scope=scope,
        calibration=None if config.method == "plain" else calibration,
        uniform=config.method == "uniform",
    )


def _whole(config: Config, task: Task, budget: int) -> int:
    """The budget of the whole model."""
    if config.method != "input":
        return budget
    model: Any = task.model
    kernel = model.rnn.cell.input.format.num_params
    return budget + sum(a.size for a in jax.tree.leaves(nnx.state(task.model, nnx.Param))) - kernel


def _measured(
    config: Config,
    trained: TrainConfig,
    task: Task,
    compressed: tuple[Any, Report],
    budget: int,
    whiteners: Mapping[str, Whitener],
) -> dict[str, Any]:
    """The accuracies of a compressed model, fine-tuned too if asked for, and its files."""
    model, report = compressed
    row: dict[str, Any] = {
        "budget": budget,
        "params": report.params_after,
        "input_to_hidden": _input_numbers(model),
        "input_to_hidden_dense": _input_numbers(task.model),
        "output_error": report.output_error,
        "microseconds_a_frame": 1e6 * sum(r.latency_after for r in report.rows),
        "microseconds_a_frame_dense": 1e6 * sum(r.latency_before for r in report.rows),
        "matrices": [{**dataclasses.asdict(r), "format": str(r.format)} for r in report.rows],
    }
    for split in ("validation", "test"):
        row[f"{split}_accuracy"] = _accuracy(task, model, split)
    if config.finetune:
        model, found = _finetuned(config, trained, task, compressed, budget, whiteners)
        row |= found
    stem = _stem(config, budget)
    stem.parent.mkdir(parents=True, exist_ok=True)
    if config.verify:
        row["files"] = artefacts.verified(model, _clips(task, config.verify), stem)
        row["verified_clips"] = config.verify
        row["file_bytes"] = row["files"]["safetensors"]["bytes"]
    return row


def _finetuned(
    config: Config,
    trained: TrainConfig,
    task: Task,
    compressed: tuple[Any, Report],
    budget: int,
    whiteners: Mapping[str, Whitener],
) -> tuple[Any, dict[str, Any]]:
    model, report = compressed
    tuned = dataclasses.replace(
        trained,
        workdir=_stem(config, budget),
        steps=config.finetune,
        eval_every=config.finetune,
        checkpoint_every=config.finetune,
        optimizer=OptimizerConfig(config.learning_rate, warmup_steps=5, fan_in=256),
    )
    numbers = (
        sum(getattr(r, f"params_{when}") for r in report.rows) for when in ("after", "before")
    )
    student = dataclasses.replace(task, model=model, counts=Counts(report.params_after, *numbers))
    options = {"stretches": config.stretches, "riemannian": config.riemannian}
    model, summary = finetune(tuned, student, task.model, **options, whiteners=whiteners)
    return model, {
        "finetuned_steps": config.finetune,
        "finetuned_params": _numbers(model),
        "finetuned_input_to_hidden": _input_numbers(model),
        "finetuned_validation_accuracy": summary.validation_accuracy,
        "finetuned_test_accuracy": summary.test_accuracy,
    }


def _numbers(model: nnx.Module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def _input_numbers(model: nnx.Module) -> int | None:
    """Numbers in the input-to-hidden matrices; None where they are joint with others."""
    cells = [module for _, module in walk(model) if isinstance(module, nn.RecurrentCell)]
    if any(cell.joint is not None for cell in cells):
        return None
    return sum(cell.input.format.num_params for cell in cells if cell.input is not None)


def _clips(task: Task, count: int) -> np.ndarray:
    """The first test clips."""
    parts = [np.asarray(b["frames"])[np.asarray(b["mask"])] for b in task.eval_batches("test")]
    return np.concatenate(parts)[:count]


def _accuracy(task: Task, model: nnx.Module, split: str) -> float:
    apply, params = split_model(model)
    step = jax.jit(make_eval_step(apply))
    return evaluate(step, params, task.eval_batches(split), task.class_names).accuracy


def _stem(config: Config, budget: int) -> Path:
    """What the files of a model are named after."""
    return config.workdir / f"{config.method}_{budget}"


def _output(config: Config) -> Path:
    return config.output or RESULTS / f"compress_{config.method}.json"


def main(args: Sequence[str]) -> int:
    """Runs the program; returns the exit status."""
    return command.run(
        lambda: run(command.require_tyro().cli(Config, args=args)), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
