"""Times the systems against each other: `python experiments/bench.py --suite layer`.

All systems of a suite run in one process, in turn, round after round, so that a slow phase of the
machine meets them alike; what is reported is the ratio to the first, round by round.
"""

import dataclasses
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import ht_jax as ht
from ht_jax.files import write_json
from ht_jax.train import command
from ht_jax.train.report import versions

PIXELS, HIDDEN, FRAMES = 57_600, 256, 6
HT_FORMAT = ht.HT((8, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5)
FDHT_FORMAT = ht.HT((9, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5)


@dataclasses.dataclass(frozen=True)
class System:
    """Something to time.

    Args:
        name: What it is.
        params: Numbers in its weights.
        make: Builds it and returns a call that runs it once and waits for the end.
    """

    name: str
    params: int
    make: Callable[[], Callable[[], Any]]


def projection(batch: int) -> list[System]:
    """The input-to-hidden product of all frames, forward and backward, float32."""
    rows = batch * FRAMES
    formats = {
        "dense": ht.Dense(PIXELS, 4 * HIDDEN),
        "HT": HT_FORMAT.with_gates(4),
        "FDHT, x part": FDHT_FORMAT.with_gates(4),
    }
    return [
        System(f"{name}, {mode}", fmt.num_params, lambda f=fmt, m=mode: _projection(f, rows, m))
        for mode in ("forward", "forward + backward")
        for name, fmt in formats.items()
    ]


def _projection(fmt: ht.Format, rows: int, mode: str) -> Callable[[], Any]:
    weight = fmt.init(jax.random.key(0)).restrict(0, PIXELS)
    x = jax.random.normal(jax.random.key(1), (rows, PIXELS), jnp.float32)
    if mode == "forward":
        run = jax.jit(ht.apply)
    else:
        run = jax.jit(jax.grad(lambda w, x: jnp.sum(jnp.square(ht.apply(w, x)))))
    return lambda: jax.block_until_ready(run(weight, x))


def layer(batch: int) -> list[System]:
    """One training step (loss, gradients, SGD update) of an LSTM over uint8 clips, float32."""
    cells = {"dense, frames projected first": {}, "HT-LSTM": {"input": HT_FORMAT}}
    cells["FDHT-LSTM"] = {"joint": FDHT_FORMAT}
    return [
        System("flax nnx.RNN, dense", _num_params(_flax_layer), lambda: _step(_flax_layer, batch)),
        *(
            System(name, _num_params(make := _layer(formats)), lambda m=make: _step(m, batch))
            for name, formats in cells.items()
        ),
    ]


def _flax_layer() -> nnx.Module:
    cell = nnx.OptimizedLSTMCell(PIXELS, HIDDEN, rngs=nnx.Rngs(0))
    return nnx.RNN(cell, rngs=False)


def _layer(formats: dict[str, ht.Format]) -> Callable[[], nnx.Module]:
    def make() -> nnx.Module:
        cell = ht.nn.LSTMCell(PIXELS, HIDDEN, **formats, rngs=nnx.Rngs(0))
        return ht.nn.RNN(cell, scale=1 / 64)

    return make


def _num_params(make: Callable[[], nnx.Module]) -> int:
    state = nnx.state(nnx.eval_shape(make), nnx.Param)
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state))


def _step(make: Callable[[], nnx.Module], batch: int) -> Callable[[], Any]:
    graph, params = nnx.split(make())
    frames = np.random.default_rng(0).integers(0, 256, (batch, FRAMES, PIXELS), np.uint8)
    frames = jnp.asarray(frames)

    def loss(params: Any, frames: jax.Array) -> jax.Array:
        module = nnx.merge(graph, params)
        if isinstance(module, ht.nn.RNN):
            outputs = module(frames)
        else:
            start = (jnp.zeros((batch, HIDDEN)),) * 2
            outputs = module(frames.astype(jnp.float32) / 64, initial_carry=start)
        return jnp.mean(jnp.square(outputs[:, -1]))

    @jax.jit
    def step(params: Any, frames: jax.Array) -> Any:
        gradient = jax.grad(loss)(params, frames)
        return jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradient)

    return lambda: jax.block_until_ready(step(params, frames))


SUITES = {"projection": projection, "layer": layer}


def measure(systems: Sequence[System], repeats: int) -> list[dict[str, Any]]:
    """Times the systems in turn, `repeats` rounds after a warm-up; ratios are to the first."""
    runs = [system.make() for system in systems]
    seconds = np.array([[_time(run) for run in runs] for _ in range(repeats + 1)][1:])
    ratios = seconds[:, :1] / seconds
    return [
        {
            "system": system.name,
            "params": system.params,
            "ms": float(np.median(seconds[:, n])) * 1e3,
            "times_faster": float(np.median(ratios[:, n])),
            "times_faster_range": [float(ratios[:, n].min()), float(ratios[:, n].max())],
        }
        for n, system in enumerate(systems)
    ]


def _time(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def bench(
    suite: Literal["projection", "layer"] = "layer",
    batch: int = 16,
    repeats: int = 9,
    json_file: Path | None = None,
    debug: bool = False,
) -> None:
    """Times the systems of a suite.

    Args:
        suite: projection (input-to-hidden product alone) or layer (a whole training step).
        batch: Clips of a batch, of 6 frames each.
        repeats: Rounds in which every system runs once.
        json_file: Where to write the rows, with the command and the versions.
        debug: Show the traceback of an error.
    """
    del debug  # read before the command line is parsed
    rows = measure(SUITES[suite](batch), repeats)
    _show(rows, f"{suite}: {batch} clips of {FRAMES} frames, {PIXELS} -> {HIDDEN}")
    if json_file is not None:
        about = {"command": shlex.join(["python", *sys.argv]), "versions": versions()}
        write_json(json_file, {**about, "seed": 0, "repeats": repeats, "rows": rows})


def _show(rows: Sequence[dict[str, Any]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("system", title=title)
    for name in ("params", "ms", "times faster", "from", "to"):
        table.add_column(name, justify="right")
    for row in rows:
        low, high = row["times_faster_range"]
        numbers = (f"{row['params']:,}", f"{row['ms']:.2f}", f"{row['times_faster']:.2f}")
        table.add_row(row["system"], *numbers, f"{low:.2f}", f"{high:.2f}")
    Console().print(table)


if __name__ == "__main__":
    args = sys.argv[1:]
    tyro = command.require_tyro()
    sys.exit(command.run(lambda: tyro.cli(bench, args=args), debug="--debug" in args))
