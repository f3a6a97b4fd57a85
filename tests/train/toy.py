"""A task so small that a run takes a second: the tests train it, and processes of their own do too.

As a program: `python toy.py WORKDIR` trains it as one of the programs of the experiments would, and
with `--die-at N` gets a signal on the way to step N; `python toy.py losses` prints the losses of 50
steps and the counts of an evaluation, under pmap and under jit.
"""

import argparse
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from flax import nnx

import ht_jax as ht
from ht_jax.models import VideoClassifier
from ht_jax.train import (
    Counts,
    DistributedConfig,
    OptimizerConfig,
    Task,
    TrainConfig,
    command,
    initialize,
    train,
)
from ht_jax.train.loop import make_learner

CLASSES, CLIP, SIZES = 3, (2, 4, 4, 1), {"train": 40, "validation": 21, "test": 19}


def make_model(dropout: float, seed: int) -> VideoClassifier:
    """A joint HT-LSTM, 132 numbers in its cores, over uint8 frames."""
    rngs = nnx.Rngs(seed)
    fmt = ht.HT((6, 4), (2, 4), rank=2)
    cell = ht.nn.LSTMCell(16, 8, joint=fmt, recurrent_dropout=dropout, rngs=rngs)
    rnn = ht.nn.RNN(cell, scale=1 / 128)
    return VideoClassifier(rnn, 8, CLASSES, dropout=dropout, rngs=rngs)


def make_config(workdir: Path | str = "unused", **changes) -> TrainConfig:
    fields = {"steps": 20, "batch_size": 8, "eval_every": 6, "checkpoint_every": 5, "log_every": 5}
    optimizer = OptimizerConfig(learning_rate=3e-2, warmup_steps=4)
    return TrainConfig(workdir=Path(workdir), **{"optimizer": optimizer, **fields, **changes})


def make_task(config: TrainConfig, dropout: float = 0.0, die_at: int = 0, how=None) -> Task:
    model = make_model(dropout, config.seed)

    def train_batches(start_step: int) -> Iterator[dict[str, np.ndarray]]:
        step = start_step
        while True:
            step += 1
            if step == die_at:
                how()
            yield _share(_draw(np.random.default_rng([config.seed, step]), config.batch_size))

    def eval_batches(split: str) -> Iterator[dict[str, np.ndarray]]:
        whole = _draw(np.random.default_rng(sum(map(ord, split))), SIZES[split])
        for start in range(0, SIZES[split], config.batch_size):
            part = {name: x[start : start + config.batch_size] for name, x in whole.items()}
            yield _share(_pad(part, config))

    def train_ids(step: int) -> list[int]:
        return [1000 * step + position for position in range(config.batch_size)]

    counts, names = (
        Counts(params=191, matrix_params=132, dense_matrix_params=24 * 32),
        "left right up",
    )
    return Task(model, train_batches, eval_batches, tuple(names.split()), CLIP, counts, train_ids)


def losses(config: TrainConfig) -> list[float]:
    learner = make_learner(config, make_task(config))
    state, batches, found = learner.state, learner.task.train_batches(0), []
    for _ in range(config.steps):
        state, metrics = learner.train_step(state, learner.parallel.shard(next(batches)))
        found.append(float(metrics["loss"]))
    return found


def confusion(config: TrainConfig) -> list[list[int]]:
    learner = make_learner(config, make_task(config))
    return learner.evaluate(learner.state, "test").confusion.tolist()


def init_state(config: TrainConfig, task: Task):
    """The state before the first step."""
    return make_learner(config, task).state


def send(*names: str) -> None:
    """Sends signals to this process, each of which it has the time to hear."""
    for name in names:
        os.kill(os.getpid(), signal.Signals[name])
        time.sleep(0.1)


def _share(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: x[jax.process_index() :: jax.process_count()] for name, x in batch.items()}


def _draw(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    label = rng.integers(0, CLASSES, count, dtype=np.int32)
    frames = rng.integers(0, 100, (count, *CLIP), dtype=np.uint8)
    frames[np.arange(count), :, label] += 90  # the class is a bright row
    return {"frames": frames, "label": label}


def _pad(batch: dict[str, np.ndarray], config: TrainConfig) -> dict[str, np.ndarray]:
    count = len(batch["label"])
    index = np.minimum(np.arange(config.batch_size), count - 1)
    mask = np.arange(config.batch_size) < count
    return {**{name: x[index] for name, x in batch.items()}, "mask": mask}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("workdir")
    parser.add_argument("--die-at", type=int, default=0)
    parser.add_argument("--signals", nargs="+", default=["SIGKILL"])
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--parallel", default="pmap")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--process", type=int)
    parser.add_argument("--port", type=int, help="process 0 of two listens there")
    return parser.parse_args()


def run(chosen: argparse.Namespace) -> None:
    if chosen.port:
        initialize(DistributedConfig(False, f"127.0.0.1:{chosen.port}", 2, chosen.process))
    if chosen.workdir == "losses":
        runs = {kind: make_config(parallel=kind, steps=50) for kind in ("pmap", "jit")}
        found = {kind: [losses(config), confusion(config)] for kind, config in runs.items()}
        print(json.dumps(found))
        return
    config = make_config(chosen.workdir, parallel=chosen.parallel, steps=chosen.steps)
    how = functools.partial(send, *chosen.signals)
    train(config, make_task(config, chosen.dropout, die_at=chosen.die_at, how=how))


if __name__ == "__main__":
    sys.exit(command.run(lambda: run(options())))
