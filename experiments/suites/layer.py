"""One training step of an LSTM over uint8 clips: loss, gradients, SGD update.

Ours beside Flax, PyTorch and the tensorized layers that can be installed, each in its strongest
form: frames projected before the scan where that is ours to choose, oneDNN's repacking off.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import ht_jax as ht
from suites import shapes, torch_peers
from suites.timing import Call, Row, System, compare

SCALE = 1 / 64


def run(batch: int, repeats: int) -> list[Row]:
    """Rows of the suite.

    Args:
        batch: clips of 6 frames.
        repeats: rounds.
    """
    return compare(list(systems(batch)), repeats, warm=True)  # as in training


def systems(batch: int) -> Iterator[System]:
    """All layers, ours first."""
    yield system("flax nnx.RNN, dense", _flax_layer, batch)
    yield system("dense, frames projected first", rnn({}), batch)
    cells = {f"{name}-LSTM": {"input": fmt} for name, fmt in shapes.FORMATS.items()}
    cells["FDHT-LSTM"] = {"joint": shapes.FDHT}
    for name, formats in cells.items():
        yield system(name, rnn(formats), batch)
    for name in ("HT-LSTM", "FDHT-LSTM"):
        for arithmetic in ("split", "bfloat16"):
            yield system(f"{name}, {arithmetic}", rnn(cells[name], arithmetic=arithmetic), batch)
        for label, arithmetic in (("", "float"), (" bfloat16,", "bfloat16")):
            unrolled = rnn(cells[name], arithmetic=arithmetic, unroll=shapes.FRAMES)
            yield system(f"{name},{label} unrolled", unrolled, batch)
    for width in (16, 1):
        yield system(f"Linear({width}) + LSTM", lambda w=width: _Reduced(w), batch)
    yield from torch_peers.training(batch)


def system(
    name: str, make: Callable[[], nnx.Module], batch: int, pixels: int = shapes.PIXELS
) -> System:
    """A layer as a system that takes one training step."""
    return System(name, _num_params(make), lambda: _step(make, batch, pixels))


def _flax_layer() -> nnx.Module:
    cell = nnx.OptimizedLSTMCell(shapes.PIXELS, shapes.HIDDEN, rngs=nnx.Rngs(0))
    return nnx.RNN(cell, rngs=False)


def rnn(
    formats: dict[str, ht.Format], pixels: int = shapes.PIXELS, **options: Any
) -> Callable[[], nnx.Module]:
    """What makes an LSTM in these formats; `options` are the RNN's."""

    def make() -> nnx.Module:
        cell = ht.nn.LSTMCell(pixels, shapes.HIDDEN, **formats, rngs=nnx.Rngs(0))
        return ht.nn.RNN(cell, scale=SCALE, **options)

    return make


class _Reduced(nnx.Module):
    """A dense projection to a few numbers, then a dense LSTM."""

    def __init__(self, width: int):
        rngs = nnx.Rngs(0)
        self.reduce = ht.nn.TensorDense(ht.Dense(shapes.PIXELS, width), rngs=rngs)
        self.rnn = ht.nn.RNN(ht.nn.LSTMCell(width, shapes.HIDDEN, rngs=rngs))

    def __call__(self, frames: Any) -> Any:
        reading = ht.Reading(SCALE)
        return self.rnn(ht.apply(self.reduce.weight, frames, reading=reading))


def _num_params(make: Callable[[], nnx.Module]) -> int:
    state = nnx.state(nnx.eval_shape(make), nnx.Param)
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state))


def _step(make: Callable[[], nnx.Module], batch: int, pixels: int) -> Call:
    graph, params = nnx.split(make())
    frames = jnp.asarray(shapes.clips(batch, pixels))

    def loss(params: Any, frames: Any) -> Any:
        module: Any = nnx.merge(graph, params)
        outputs: Any
        if isinstance(module, nnx.RNN):
            start = (jnp.zeros((batch, shapes.HIDDEN)),) * 2
            outputs = module(frames.astype(jnp.float32) * SCALE, initial_carry=start)
        else:
            outputs = module(frames)
        return jnp.mean(jnp.square(outputs[:, -1]))

    @jax.jit
    def step(params: Any, frames: Any) -> Any:
        gradient = jax.grad(loss)(params, frames)
        return jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradient)

    return lambda: jax.block_until_ready(step(params, frames))
