"""Kills a training run again and again: `python -m experiments.research.kill --kills 100`.

Each life of the run is a process of its own that gets a SIGKILL at a random moment after its first
step; the next one resumes. At the end the parameters are compared, bit for bit, with those of a run
that nobody disturbed.
"""

import dataclasses
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ht_jax.files import check_file, write_json
from ht_jax.train import (
    DataConfig,
    ModelConfig,
    TrainConfig,
    UserError,
    command,
    load_run,
    train,
)
from ht_jax.train.report import versions
from ht_jax.train.step import split_model
from ht_jax.train.task import build_task

FORMAT = "HT(in_modes=(9, 10, 10, 9, 8), out_modes=(2, 2, 2, 2, 1), leaf_rank=2, rank=2)"
PRELOAD = ["ht_jax.train", "ht_jax.data.moving_digits", "orbax.checkpoint", "grain", "rich.table"]


@dataclasses.dataclass(frozen=True)
class Options:
    """How often, and where the result goes."""

    kills: int = 100
    """Kills after the first step of a life."""
    steps: int = 2000
    """Steps of the run; enough for all the kills."""
    interval: int = 5
    """Steps between checkpoints."""
    longest: float = 1.5
    """Seconds from the first step of a life to its kill, at most."""
    seed: int = 0
    """Of the moments of the kills."""
    output: Path = Path("experiments/results/kill.json")
    """The result."""
    debug: bool = False
    """Show the traceback of an error."""


def configure(options: Options, workdir: Path) -> TrainConfig:
    """A run with clips of 2 frames and a joint HT-LSTM of 16 features, with dropout."""
    return TrainConfig(
        model=ModelConfig(hidden=16, joint=FORMAT, dropout=0.2),
        data=DataConfig(num_frames=2),
        workdir=workdir,
        steps=options.steps,
        batch_size=4,
        checkpoint_every=options.interval,
        eval_every=options.steps,
        quiet=True,
    )


def live(config: TrainConfig, started: Any, reached: Any) -> None:
    """One life: trains, and tells from which step and to which step it came."""
    task = build_task(config)

    def train_batches(start: int) -> Iterator[Any]:
        started.value = start
        for step, batch in enumerate(task.train_batches(start), start + 1):
            reached.value = step
            yield batch

    train(config, dataclasses.replace(task, train_batches=train_batches))


def kill_one(context: Any, config: TrainConfig, delay: float) -> tuple[int, int, bool]:
    """Runs one life; returns its first and last step, and whether it was killed."""
    started, reached = context.Value("i", -1), context.Value("i", -1)
    process = context.Process(target=live, args=(config, started, reached))
    process.start()
    while process.is_alive() and reached.value < started.value + 2:
        time.sleep(0.005)
    process.join(delay)
    killed = process.is_alive()
    process.kill()
    process.join()
    if not killed and process.exitcode:
        raise RuntimeError(f"a life ended by itself with status {process.exitcode}")
    return started.value, reached.value, killed


def kill_all(context: Any, config: TrainConfig, options: Options) -> dict[str, Any]:
    """Kills a run as often as asked, then lets it end; returns what each kill cost."""
    draw, ends, starts, writing = random.Random(options.seed), [], [], 0
    for _ in range(options.kills):
        delay = draw.uniform(0, options.longest)
        start, reached, killed = kill_one(context, config, delay)
        if not killed:
            raise UserError(f"the run ended after {len(starts)} kills: pass more --steps")
        starts, ends = [*starts, start], [*ends, reached]
        writing += any((config.workdir / "checkpoints").glob("*tmp*"))
        print(f"life {len(starts)}: from step {start} to {reached}", flush=True)
    start, _, _ = kill_one(context, config, delay=1e6)
    lost = [end - begin for end, begin in zip(ends, [*starts[1:], start], strict=True)]
    return {"lost_steps": lost, "inside_a_checkpoint_write": writing}


def final_state(workdir: Path) -> list[np.ndarray]:
    """The parameters of a finished run."""
    _, task = load_run(workdir)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(split_model(task.model)[1])]


def same(one: Path, other: Path) -> dict[str, bool]:
    """Whether two finished runs have the same parameters and metrics, bit for bit."""
    pairs = zip(final_state(one), final_state(other), strict=True)
    records = [(each / "metrics.jsonl").read_text() for each in (one, other)]
    return {
        "parameters_bit_identical": all(np.array_equal(a, b) for a, b in pairs),
        "metrics_identical": records[0] == records[1],
    }


def run(options: Options) -> None:
    """Kills, lets the run end, compares, and writes the result."""
    command.at_least(1, kills=options.kills, steps=options.steps, interval=options.interval)
    command.at_least(0, longest=options.longest)
    check_file(options.output)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    with tempfile.TemporaryDirectory() as folder:
        # The calm run compiles for all lives of the other one.
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{folder}/compiled"
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        disturbed = configure(options, Path(folder) / "disturbed")
        calm = dataclasses.replace(disturbed, workdir=Path(folder) / "calm", checkpoint_every=1000)
        kill_one(context, calm, delay=1e6)
        found = kill_all(context, disturbed, options)
        found |= same(disturbed.workdir, calm.workdir)
    lost = found["lost_steps"]
    summary = {"kills": len(lost), "resumed": len(lost), "most_lost_steps": max(lost)}
    settings = {**dataclasses.asdict(options), "output": str(options.output)}
    about = {"command": command.line(), "versions": versions()}
    write_json(options.output, {**about, "options": settings, **summary, **found})


def main(args: Sequence[str]) -> int:
    """Kills as the command line says; returns the exit status."""
    return command.run(
        lambda: run(command.require_tyro().cli(Options, args=args)), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
