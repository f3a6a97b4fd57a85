"""Trains for a long time and watches memory and compilation: `python -m experiments.research.soak`.

After a warm-up nothing may grow and nothing may compile again. With many threads glibc keeps free
memory in one arena a thread; MALLOC_ARENA_MAX=1 shows what the program itself holds.
"""

import dataclasses
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from ht_jax.files import check_file, write_json
from ht_jax.train import DataConfig, ModelConfig, TrainConfig, command, train
from ht_jax.train.report import versions
from ht_jax.train.task import Task, build_task

FORMAT = "HT(in_modes=(9, 10, 10, 9, 8), out_modes=(2, 2, 2, 2, 1), leaf_rank=2, rank=2)"
COMPILED = "/jax/core/compile/backend_compile_duration"


@dataclasses.dataclass(frozen=True)
class Options:
    """How long, and where the result goes."""

    steps: int = 10_000
    """Steps of the run."""
    every: int = 500
    """Steps between samples; the first is the reference."""
    output: Path = Path("experiments/results/soak.json")
    """The result."""
    debug: bool = False
    """Show the traceback of an error."""


class Watch:
    """Samples resident memory and counts compilations while a task is trained."""

    def __init__(self, every: int):
        self.every, self.compiled, self.samples = every, 0, []
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **_: Any) -> None:
        self.compiled += event == COMPILED

    def over(self, task: Task) -> Task:
        """The same task, watched."""

        def train_batches(start: int) -> Iterator[Any]:
            for step, batch in enumerate(task.train_batches(start), start):
                if step and (step - 1) % self.every == 0 and step > self.every:
                    self._sample(step)
                yield batch

        return dataclasses.replace(task, train_batches=train_batches)

    def _sample(self, step: int) -> None:
        sample = {"step": step, "resident_mib": resident(), "compilations": self.compiled}
        self.samples.append(sample)
        print(sample, flush=True)


def resident() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run(options: Options) -> None:
    """Trains, watches and writes the result.

    Raises:
        UserError: fewer steps than two samples take.
    """
    command.at_least(1, every=options.every)
    command.at_least(2 * options.every, steps=options.steps)
    check_file(options.output)
    watch = Watch(options.every)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            model=ModelConfig(hidden=16, joint=FORMAT),
            data=DataConfig(num_frames=2),
            workdir=Path(folder) / "run",
            steps=options.steps + 2,  # a sample is taken between two steps
            batch_size=4,
            eval_every=options.every,
            quiet=True,
        )
        train(config, watch.over(build_task(config)))
    first, last = watch.samples[0], watch.samples[-1]
    found = {
        "growth_percent": 100 * (last["resident_mib"] / first["resident_mib"] - 1),
        "recompilations": last["compilations"] - first["compilations"],
        "samples": watch.samples,
    }
    about = {"command": command.line(), "versions": versions()}
    about |= {"MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX")}
    settings = {**dataclasses.asdict(options), "output": str(options.output)}
    write_json(options.output, {**about, "options": settings, **found})


def main(args: Sequence[str]) -> int:
    """Soaks as the command line says; returns the exit status."""
    return command.run(
        lambda: run(command.require_tyro().cli(Options, args=args)), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
