"""Random recurrent layers of PyTorch, run on packed sequences, against those of `from_torch`.

Compared are the outputs, the last carries, and the gradients for the parameters, the inputs and
the initial carry, of a loss that weighs every output at random. PyTorch computes in float64.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from flax import nnx

import ht_jax as ht
from experiments.research.outcome import Outcome

TOLERANCE = 1e-5
PROGRAMS = 36  # cases that draw the same program share its compilation
LENGTHS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "list")
PADDINGS = (np.nan, np.inf, -np.inf, 1e30, 0.0)
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Program:
    """What is static in a case."""

    kind: str
    layers: int
    directions: int
    batch_first: bool
    dtype: str
    lengths: str
    batch: int
    time: int
    features: int
    hidden: int

    @classmethod
    def numbered(cls, number: int) -> Program:
        """Every cell, depth and direction, and the rest drawn at random."""
        draw = np.random.default_rng(number)
        number, kind = divmod(number, 3)
        number, depth = divmod(number, 3)
        return cls(
            kind=("LSTM", "GRU", "RNN")[kind],
            layers=depth + 1,
            directions=number % 2 + 1,
            batch_first=bool(draw.integers(2)),
            dtype=str(draw.choice(["float32", "float32", "float64"])),
            lengths=str(draw.choice(LENGTHS)),
            batch=int(draw.integers(1, 5)),
            time=int(draw.integers(1, 9)),
            features=int(draw.integers(1, 7)),
            hidden=int(draw.integers(1, 7)),
        )

    def module(self, bias: bool) -> Any:
        """The layer of PyTorch."""
        options = {"bias": bias, "batch_first": self.batch_first, "bidirectional": False}
        options |= {"bidirectional": self.directions == 2, "dtype": getattr(torch, self.dtype)}
        return getattr(torch.nn, self.kind)(self.features, self.hidden, self.layers, **options)

    @property
    def states(self) -> tuple[int, int, int, int]:
        """The shape of all states: those of an LSTM are (h, c)."""
        count = 2 if self.kind == "LSTM" else 1
        return count, self.layers * self.directions, self.batch, self.hidden


@dataclasses.dataclass(frozen=True)
class Case:
    """What is drawn for a program; inputs are batch-major."""

    bias: bool
    padding: float
    lengths: np.ndarray
    inputs: np.ndarray
    start: np.ndarray
    loss_outputs: np.ndarray
    loss_states: np.ndarray

    @classmethod
    def drawn(cls, program: Program, draw: np.random.Generator) -> Case:
        """Lengths of 0, of all frames and beyond are as likely as one in between."""
        lengths = _lengths(program, draw)
        padding = float(draw.choice(PADDINGS))
        inputs = draw.normal(size=(program.batch, program.time, program.features))
        inputs[~_valid(program, lengths)] = padding
        outputs = (program.batch, program.time, program.directions * program.hidden)
        start = draw.normal(size=program.states) * draw.integers(2)
        weights = draw.normal(size=outputs), draw.normal(size=program.states)
        arrays = (a.astype(program.dtype) for a in (inputs, start, *weights))
        return cls(bool(draw.integers(2)), padding, lengths, *arrays)


def _lengths(program: Program, draw: np.random.Generator) -> np.ndarray:
    dtype = np.dtype("int32" if program.lengths == "list" else program.lengths)
    info = np.iinfo(dtype)
    edges = [0, program.time, program.time + 1, info.max, max(info.min, -2)]
    between = draw.integers(program.time + 1, size=3 * len(edges))
    return draw.choice(np.array([*edges, *between.tolist()], dtype), size=program.batch)


def _valid(program: Program, lengths: np.ndarray) -> np.ndarray:
    return np.arange(program.time) < np.array([[int(n)] for n in lengths], object)


def run_case(seed: int) -> Outcome:
    """Draws a layer, converts it and compares it."""
    draw = np.random.default_rng(seed)
    torch.manual_seed(seed)
    program = Program.numbered(int(draw.integers(PROGRAMS)))
    case = Case.drawn(program, draw)
    about = f"{program}, bias={case.bias}, padding={case.padding}, lengths={case.lengths.tolist()}"

    module = program.module(case.bias)
    wanted = _of_torch(module, program, case)
    with jax.enable_x64(True):  # so that lengths of 64 bits are traced as such
        found = _of_ours(ht.convert.from_torch(module.state_dict()), program, case)
    name, difference = max(
        ((n, _difference(found[n], wanted[n])) for n in wanted), key=lambda pair: pair[1]
    )
    exact = difference <= TOLERANCE
    return Outcome(
        "exact" if exact else "different", difference, about if exact else f"{name}: {about}"
    )


def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Relative to the largest entry, or to 1 where that is smaller."""
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    if not np.all(np.isfinite(found)):
        return float("inf")
    return float(np.max(np.abs(found - wanted)) / max(1.0, np.max(np.abs(wanted))))


def _of_torch(module: Any, program: Program, case: Case) -> Arrays:
    """What PyTorch computes; a sequence of length 0, which it refuses, is as the contract says."""
    module = copy.deepcopy(module).double()
    leaf = lambda a: torch.tensor(a.astype(float), requires_grad=True)  # noqa: E731
    inputs, start = leaf(case.inputs), leaf(case.start)
    lengths = _valid(program, case.lengths).sum(1)
    outputs = torch.zeros(case.loss_outputs.shape, dtype=torch.float64)
    states = start * 1.0
    if some := np.flatnonzero(lengths).tolist():
        y, last = _packed(module, inputs[some], start[:, :, some], lengths[some])
        outputs[some], states = y, start.clone()
        states[:, :, some] = last
    loss = (outputs * leaf(case.loss_outputs)).sum() + (states * leaf(case.loss_states)).sum()
    loss.backward()

    found = {"outputs": outputs, "states": states, "d inputs": inputs.grad, "d start": start.grad}
    for name, parameter in module.named_parameters():
        gradient = parameter.grad
        found[name] = torch.zeros_like(parameter) if gradient is None else gradient
    zero = np.zeros(case.inputs.shape)
    arrays = {n: zero if a is None else a.detach().numpy() for n, a in found.items()}
    return arrays if program.kind == "GRU" else _without(arrays, "bias_hh")


def _without(arrays: Arrays, start: str) -> Arrays:
    return {name: array for name, array in arrays.items() if not name.startswith(start)}


def _packed(module: Any, inputs: Any, start: Any, lengths: np.ndarray) -> tuple[Any, Any]:
    """The outputs, batch-major, and the last states."""
    total = inputs.shape[1]
    inputs = inputs if module.batch_first else inputs.transpose(0, 1)
    options = {"batch_first": module.batch_first}
    pack = torch.nn.utils.rnn.pack_padded_sequence
    packed = pack(inputs, torch.tensor(lengths), enforce_sorted=False, **options)
    outputs, last = module(packed, tuple(start) if len(start) == 2 else start[0])
    unpack = torch.nn.utils.rnn.pad_packed_sequence
    outputs, _ = unpack(outputs, total_length=total, **options)
    outputs = outputs if module.batch_first else outputs.transpose(0, 1)
    return outputs, torch.stack(last) if len(start) == 2 else last[None]


def _of_ours(layer: Any, program: Program, case: Case) -> Arrays:
    graph, params = nnx.split(layer)
    lengths: Any = case.lengths.tolist() if program.lengths == "list" else case.lengths
    arrays = (case.inputs, case.start, case.loss_outputs, case.loss_states)
    (d_params, d_inputs, d_start), (outputs, states) = _compiled(
        graph, program, params, lengths, *arrays
    )
    found = {"outputs": outputs, "states": states, "d inputs": d_inputs, "d start": d_start}
    found |= _named_as_in_torch(nnx.merge(graph, d_params), program)
    return {name: np.asarray(array) for name, array in found.items()}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _compiled(graph, program, params, lengths, inputs, start, loss_outputs, loss_states):
    def loss(params, inputs, start):
        x = inputs if program.batch_first else jnp.swapaxes(inputs, 0, 1)
        carries, y = nnx.merge(graph, params)(
            x,
            initial_carry=_carries(start, program),
            seq_lengths=lengths,
            return_carry=True,
            time_major=not program.batch_first,
        )
        y = y if program.batch_first else jnp.swapaxes(y, 0, 1)
        last = _states(carries, program)
        return jnp.vdot(y, loss_outputs) + jnp.vdot(last, loss_states), (y, last)

    return jax.grad(loss, (0, 1, 2), has_aux=True)(params, inputs, start)


def _carries(states: Any, program: Program) -> Any:
    """The states of PyTorch as carries: an LSTM's is (c, h)."""
    each = [tuple(s[::-1]) if len(s) == 2 else s[0] for s in jnp.swapaxes(states, 0, 1)]
    if program.directions == 2:
        each = list(zip(each[::2], each[1::2]))
    return each if program.layers > 1 else each[0]


def _states(carries: Any, program: Program) -> Any:
    """The inverse of `_carries`."""
    leaves = jnp.stack(jax.tree.leaves(carries))
    count, layers, batch, hidden = program.states
    return jnp.swapaxes(leaves.reshape(layers, count, batch, hidden), 0, 1)[::-1]


def _named_as_in_torch(layer: Any, program: Program) -> Arrays:
    found = {}
    for n, level in enumerate(layer.layers if program.layers > 1 else [layer]):
        pair = [level.forward_rnn, level.backward_rnn] if program.directions == 2 else [level]
        for rnn, tail in zip(pair, ("", "_reverse")):
            cell, suffix = rnn.cell, f"l{n}{tail}"
            found[f"weight_ih_{suffix}"] = cell.input.cores["kernel"][...].T
            found[f"weight_hh_{suffix}"] = cell.recurrent.cores["kernel"][...].T
            found[f"bias_ih_{suffix}"] = bias = cell.bias[...]
            if program.kind == "GRU":  # both biases of the other gates are one here
                shared = bias[: 2 * program.hidden]
                found[f"bias_hh_{suffix}"] = jnp.concatenate([shared, cell.candidate_bias[...]])
    return found
