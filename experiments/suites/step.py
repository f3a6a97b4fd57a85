"""One step of a stream: a single frame of a single sequence, as a device would read it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import ht_jax as ht
from ht_jax.export import runtime
from ht_jax.pretrained import path_of
from suites import shapes, torch_peers
from suites.timing import Call, Row, System, compare

CELLS: dict[str, dict[str, ht.Format]] = {
    "dense": {},
    **{f"{name}-LSTM": {"input": fmt} for name, fmt in shapes.FORMATS.items()},
    "FDHT-LSTM": {"joint": shapes.FDHT},
}
INT8 = {"frozen": True, "int8": True}


def run(batch: int, repeats: int) -> list[Row]:
    """Rows of the suite.

    Args:
        batch: not used: a stream has one sequence.
        repeats: rounds, of which there are ten times as many: a step is short.
    """
    del batch
    variants = {"": {}, ", frozen": {"frozen": True}, ", frozen, int8": INT8}
    ours = [
        System(f"{name}{variant}", _params(formats), lambda f=formats, o=options: _step(f, **o))
        for name, formats in CELLS.items()
        for variant, options in variants.items()
    ]
    ours.append(System("FDHT classifier, NumPy runtime", 5_160, _numpy_runtime))
    return compare([*ours, *torch_peers.streaming()], 10 * repeats, warm=True)


def _cell(formats: dict[str, ht.Format]) -> ht.nn.LSTMCell:
    return ht.nn.LSTMCell(shapes.PIXELS, shapes.HIDDEN, **formats, rngs=nnx.Rngs(0))


def _params(formats: dict[str, ht.Format]) -> int:
    state = nnx.state(nnx.eval_shape(lambda: _cell(formats)), nnx.Param)
    return sum(leaf.size for leaf in jax.tree.leaves(state))


def _step(formats: dict[str, ht.Format], frozen: bool = False, int8: bool = False) -> Call:
    cell = _cell(formats)
    graph, state = nnx.split(ht.nn.freeze(cell, arithmetic="float") if frozen else cell)
    leaves, structure = jax.tree.flatten(state)
    state, reading = [_rounded(leaf) if int8 else (leaf,) for leaf in leaves], ht.Reading(1 / 64)

    @jax.jit
    def step(state: Any, carry: Any, frame: Any) -> Any:
        leaves = [leaf[0] if len(leaf) < 2 else leaf[0] * leaf[1] for leaf in state]
        cell = nnx.merge(graph, jax.tree.unflatten(structure, leaves))
        return cell.step(carry, cell.project(frame, reading=reading))

    frame = jnp.asarray(shapes.clips(1)[:, 0])
    carry = cell.initialize_carry(frame.shape)
    return lambda: jax.block_until_ready(step(state, carry, frame))


def _rounded(weights: jax.Array) -> tuple[jax.Array, ...]:
    """A matrix in int8 and its scale: what an inference could store."""
    if weights.ndim < 2:
        return (weights,)
    scale = jnp.abs(weights).max() / 127
    return jnp.round(weights / scale).astype(jnp.int8), scale


def _numpy_runtime() -> Call:
    model, frame = runtime.Classifier(path_of("fdht_moving_digits")), shapes.clips(1)[0, 0]
    return lambda: model.step(frame)
