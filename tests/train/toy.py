"""A task so small that a run takes a second: the tests train it, and processes of their own do too.

As a program: `python toy.py WORKDIR [--die-at N]` trains it, killing itself on the way to step N;
`python toy.py losses` prints the losses of 20 steps under pmap and under jit.
"""

import argparse
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from flax import nnx

import ht_jax as ht
from ht_jax.models import VideoClassifier
from ht_jax.train import Counts, OptimizerConfig, Task, TrainConfig, train
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
            yield _draw(np.random.default_rng([config.seed, step]), config.batch_size)

    def eval_batches(split: str) -> Iterator[dict[str, np.ndarray]]:
        whole = _draw(np.random.default_rng(sum(map(ord, split))), SIZES[split])
        for start in range(0, SIZES[split], config.batch_size):
            yield _pad({k: x[start : start + config.batch_size] for k, x in whole.items()}, config)

    counts = Counts(params=191, matrix_params=132, dense_matrix_params=24 * 32)
    return Task(model, train_batches, eval_batches, ("left", "right", "up"), CLIP, counts)


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


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("workdir")
    parser.add_argument("--die-at", type=int, default=0)
    options = parser.parse_args()
    if options.workdir == "losses":
        runs = {kind: make_config(parallel=kind) for kind in ("pmap", "jit")}
        found = {kind: [losses(config), confusion(config)] for kind, config in runs.items()}
        print(json.dumps(found))
        return
    config = make_config(options.workdir)
    train(config, make_task(config, dropout=0.2, die_at=options.die_at, how=kill))


if __name__ == "__main__":
    main()
