"""Compresses a trained run: `python experiments/compress.py --run WORKDIR [--finetune N] ...`.

Dense checkpoint in; for every budget a model, its accuracy, its size as a file and its modelled
time a frame. `--picture FILE` draws all result files; the logic is in `ht_jax.compression`.
"""

import dataclasses
import itertools
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from rich.console import Console

from ht_jax import export
from ht_jax.compression import Report, frontier
from ht_jax.files import write_json
from ht_jax.train import (
    Counts,
    OptimizerConfig,
    Task,
    TrainConfig,
    UserError,
    command,
    load_run,
    train,
)
from ht_jax.train.distill import distilled
from ht_jax.train.evaluation import evaluate
from ht_jax.train.report import read_summary, versions
from ht_jax.train.step import make_eval_step, split_model

RESULTS = Path(__file__).parent / "results"
Method = Literal["aware", "plain", "uniform", "joint", "input"]
LABELS = {
    "aware": "data-aware",
    "joint": "data-aware, joint",
    "input": "data-aware, input-to-hidden only",
    "uniform": "data-aware, uniform ranks",
    "plain": "plain",
}


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
    learning_rate: float = 2e-3
    """Of the fine-tuning."""
    workdir: Path = Path("runs/compressed")
    """Folder for the compressed models and their fine-tuning."""
    output: Path | None = None
    """File of results; by default results/compress_METHOD.json."""
    picture: Path | None = None
    """Draw the results there are, and do nothing else."""
    debug: bool = False
    """Show the traceback of an error."""


def run(config: Config) -> None:
    """Compresses, measures and writes, or draws."""
    if config.picture is not None:
        draw(_results(), config.picture)
        return
    console = Console(stderr=True)
    trained, task = load_run(config.run)
    with console.status("analysing the model"):
        found = _frontier(config, task)
    known = {
        "command": shlex.join(["python", *sys.argv]),
        "versions": versions(),
        "seed": trained.seed,
        "method": config.method,
        "calibration_clips": config.calibration * trained.batch_size,
    }
    rows: list[dict[str, Any]] = []
    for budget in config.budgets:
        with console.status(f"compressing to {budget:,} numbers"):
            model, report = found.within(_whole(config, task, budget), refine=config.refine)
        print(report, flush=True)
        rows.append(_measured(config, trained, task, model, report, budget))
        print(json.dumps({k: v for k, v in rows[-1].items() if k != "matrices"}), flush=True)
        write_json(_output(config), {**known, "rows": rows})
    write_json(_output(config), {**known, "rows": rows, "dense": _dense(config, task)})


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
    config: Config, trained: TrainConfig, task: Task, model: Any, report: Report, budget: int
) -> dict[str, Any]:
    """The accuracies of a compressed model, fine-tuned too if asked for, and its file."""
    row: dict[str, Any] = {
        "budget": budget,
        "params": report.params_after,
        "output_error": report.output_error,
        "microseconds_a_frame": 1e6 * sum(r.latency_after for r in report.rows),
        "microseconds_a_frame_dense": 1e6 * sum(r.latency_before for r in report.rows),
        "matrices": [{**dataclasses.asdict(r), "format": str(r.format)} for r in report.rows],
    }
    for split in ("validation", "test"):
        row[f"{split}_accuracy"] = _accuracy(task, model, split)
    name = f"{config.method}_{budget}"
    if config.finetune:
        tuned = dataclasses.replace(
            trained,
            workdir=config.workdir / name,
            steps=config.finetune,
            eval_every=config.finetune,
            checkpoint_every=config.finetune,
            optimizer=OptimizerConfig(config.learning_rate, warmup_steps=5, fan_in=256),
        )
        counts = Counts(
            report.params_after,
            sum(r.params_after for r in report.rows),
            sum(r.params_before for r in report.rows),
        )
        student = dataclasses.replace(task, model=model, counts=counts)
        student = distilled(student, task.model)
        result = train(tuned, student)
        _, student = load_run(tuned.workdir, student)
        model = student.model
        row["finetuned_steps"] = config.finetune
        row["finetuned_validation_accuracy"] = result.validation_accuracy
        row["finetuned_test_accuracy"] = result.test_accuracy
    config.workdir.mkdir(parents=True, exist_ok=True)
    file = config.workdir / f"{name}.safetensors"
    export.save(model, file)
    row["file_bytes"] = file.stat().st_size
    return row


def _accuracy(task: Task, model: nnx.Module, split: str) -> float:
    apply, params = split_model(model)
    step = jax.jit(make_eval_step(apply))
    return evaluate(step, params, task.eval_batches(split), task.class_names).accuracy


def _output(config: Config) -> Path:
    return config.output or RESULTS / f"compress_{config.method}.json"


def _results() -> list[dict[str, Any]]:
    files = sorted(RESULTS.glob("compress_*.json"))
    if not files:
        raise UserError(f"{RESULTS} holds no compress_*.json: compress a run first")
    return [json.loads(file.read_text()) for file in files]


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against numbers, a curve for each method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    dense = next(result["dense"] for result in results if "dense" in result)
    axes.axhline(100 * dense["test_accuracy"], color="#999999", linestyle="--", linewidth=1)
    axes.annotate(
        f"dense, {dense['params']:,} numbers",
        (0.01, 100 * dense["test_accuracy"]),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
    )
    for result in results:
        rows, label = result["rows"], LABELS[result["method"]]
        sizes = [row["params"] for row in rows]
        (line,) = axes.plot(
            sizes, [100 * r["test_accuracy"] for r in rows], marker="o", label=label
        )
        tuned = [r for r in rows if "finetuned_test_accuracy" in r]
        if tuned:
            steps = tuned[0]["finetuned_steps"]
            axes.plot(
                [r["params"] for r in tuned],
                [100 * r["finetuned_test_accuracy"] for r in tuned],
                marker="s",
                linestyle=":",
                color=line.get_color(),
                label=f"{label}, {steps} steps of fine-tuning",
            )
    axes.set(xscale="log", xlabel="numbers in the model", ylabel="test accuracy, %", ylim=(0, 105))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize="small", loc="lower right")
    figure.savefig(path, dpi=160)


def main(args: Sequence[str]) -> int:
    """Runs the program; returns the exit status."""
    tyro = command.require_tyro()
    return command.run(lambda: run(tyro.cli(Config, args=args)), debug="--debug" in args)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
