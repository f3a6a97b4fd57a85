"""Runs a classifier that `ht_jax.export.numpy` wrote, frame by frame, with NumPy alone.

This one file needs nothing else of ht_jax, and no JAX. From the command line:
`python runtime.py model.safetensors frames.npy`. A file is data: nothing in it is executed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 1
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "|i1"}
_GATES = {"lstm": 4, "gru": 3, "simple": 1}
Arrays = dict[str, np.ndarray]
State = list[tuple[np.ndarray, ...]]


class Classifier:
    """A recurrent classifier of frames.

    Args:
        path: a file of `ht_jax.export.numpy`.

    Attributes:
        class_names: names of the classes, or their numbers.
        in_features: numbers in a frame.
        card: what the file says about the model.

    Raises:
        ValueError: a file that is corrupt, foreign or of a newer version; it is named.
        OSError: there is no such file.
    """

    def __init__(self, path: Any):
        try:
            arrays, texts = read_safetensors(path)
            self._build(arrays, texts)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            raise ValueError(f"{path} is not a classifier for this runtime: {reason}") from error
        self.reset()

    def _build(self, arrays: Arrays, texts: dict[str, str]) -> None:
        if "program" not in texts:
            raise ValueError("it holds no program: write it with ht_jax.export.numpy")
        program, about = json.loads(texts["program"]), json.loads(texts["ht_jax"])
        if program["version"] > VERSION:
            raise ValueError(
                f"it is of version {program['version']}, this file reads up to {VERSION}: "
                "copy the runtime of a newer ht_jax"
            )
        numbers = _floats(arrays, about["scales"])
        self.card: dict[str, Any] = json.loads(texts.get("card", "{}"))
        self.in_features: int = int(program["in_features"])
        self._scale = np.float32(program["scale"])
        self._offset = np.float32(program["offset"])
        self._layers = [_Layer(layer, numbers) for layer in program["layers"]]
        self._bias, held = numbers["classifier.bias"], program.get("classifier")
        if held is None:
            kernel = numbers["classifier.kernel"]
            if kernel.shape != (self._layers[-1].hidden, len(self._bias)):
                raise ValueError(f"classifier.kernel has shape {kernel.shape}")
            self._classify = kernel.T.dot
        else:
            self._classify = _Matrix(held, numbers)
        names = self.card.get("class_names") or range(len(self._bias))
        self.class_names: tuple[str, ...] = tuple(map(str, names))

    def reset(self) -> None:
        """Forgets the frames seen so far."""
        self._state: State = [layer.start() for layer in self._layers]

    def step(self, frame: np.ndarray) -> np.ndarray:
        """The logits (classes,) after one more frame.

        Args:
            frame: in_features numbers in any shape; integers are read as the model was taught.
        """
        if frame.size != self.in_features:
            raise ValueError(f"a frame has {self.in_features} numbers, not {frame.size}")
        x = np.asarray(frame, np.float32).reshape(-1)
        if np.issubdtype(frame.dtype, np.integer):
            x = x * self._scale
            x += self._offset
        for n, layer in enumerate(self._layers):
            self._state[n] = layer.step(self._state[n], x)
            x = self._state[n][-1]
        return self._classify(x) + self._bias

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """The logits (classes,) of a whole clip (time, ...)."""
        self.reset()
        logits = [self.step(frame) for frame in frames]
        if not logits:
            raise ValueError("a clip needs at least one frame")
        return logits[-1]


class _Layer:
    """One recurrent layer; its state is a tuple of vectors, the hidden state last."""

    def __init__(self, layer: dict[str, Any], arrays: Arrays):
        self.cell, self.hidden = layer["cell"], int(layer["hidden"])
        if self.cell not in _GATES:
            raise ValueError(f"{self.cell!r} is not a cell: known are {', '.join(_GATES)}")
        self.input = _Matrix(layer["input"], arrays)
        self.recurrent = _Matrix(layer["recurrent"], arrays)
        self.bias = arrays[layer["bias"]]
        if self.bias.shape != (_GATES[self.cell] * self.hidden,):
            raise ValueError(f"{layer['bias']} has shape {self.bias.shape}")
        name = layer.get("candidate_bias")
        self.candidate_bias = arrays[name] if name else np.zeros(self.hidden, np.float32)
        self.norms = {part: arrays[name] for part, name in layer.get("norms", {}).items()}

    def start(self) -> tuple[np.ndarray, ...]:
        """The state before the first frame."""
        zeros = np.zeros(self.hidden, np.float32)
        return (zeros, zeros) if self.cell == "lstm" else (zeros,)

    def step(self, state: tuple[np.ndarray, ...], x: np.ndarray) -> tuple[np.ndarray, ...]:
        """The state after one more input."""
        z = self._normed("input", self.input(x)) + self.bias
        u = self._normed("recurrent", self.recurrent(state[-1]))
        if self.cell == "lstm":
            i, f, g, o = np.split(z + u, 4)
            c = sigmoid(f) * state[0] + sigmoid(i) * np.tanh(g)
            return c, sigmoid(o) * np.tanh(c)
        if self.cell == "gru":
            (z_r, z_s, z_n), (u_r, u_s, u_n) = np.split(z, 3), np.split(u, 3)
            r, s = sigmoid(z_r + u_r), sigmoid(z_s + u_s)
            n = np.tanh(z_n + r * (u_n + self.candidate_bias))
            return ((1 - s) * n + s * state[0],)
        return (np.tanh(z + u),)

    def _normed(self, part: str, y: np.ndarray) -> np.ndarray:
        if part not in self.norms:
            return y
        y = y - y.mean()
        return y / np.sqrt((y * y).mean() + np.float32(1e-6)) * self.norms[part]


class _Matrix:
    """A matrix held as the cores of a tensor network; called with a vector, it multiplies it.

    The contractions that do not involve the vector are done once, here.
    """

    def __init__(self, spec: dict[str, Any], arrays: Arrays):
        cores = {
            n: (_cut(arrays[key], at, spec["cut"]), at) for n, (key, at) in spec["cores"].items()
        }
        sizes = {i: n for core, at in cores.values() for i, n in zip(at, core.shape)}
        for core, at in cores.values():
            if core.shape != tuple(sizes[i] for i in at):
                raise ValueError(f"a core of shape {core.shape} does not fit {at}")
        self._shape = [sizes[i] for i in spec["inputs"]]
        self._pad, self._crop = tuple(spec["pad"]), tuple(spec["crop"])
        self._steps: list[Callable[[np.ndarray], np.ndarray]] = []
        at = list(spec["inputs"])
        at_x, x = at, "@x"
        for left, right, out, kept in spec["steps"]:
            if x in (left, right):
                (core, core_at) = cores.pop(right if x == left else left)
                self._steps.append(_product(at_x, core, core_at, kept))
                at_x, x = list(kept), out
            else:
                (a, a_at), (b, b_at) = cores.pop(left), cores.pop(right)
                cores[out] = (_product(a_at, b, b_at, kept)(a), kept)
        if cores or set(at_x) != set(spec["outputs"]):
            raise ValueError("the steps of a matrix do not leave its outputs")
        self._order = [at_x.index(i) for i in spec["outputs"]]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The product `x @ matrix` (out_features,)."""
        if any(self._pad):
            x = np.pad(x, self._pad)
        x = x.reshape(self._shape)
        for step in self._steps:
            x = step(x)
        gates, kept = self._crop
        return x.transpose(self._order).reshape(gates, -1)[:, :kept].reshape(-1)


def _product(
    a_at: list[str], b: np.ndarray, b_at: list[str], kept: list[str]
) -> Callable[[np.ndarray], np.ndarray]:
    """The function a -> `einsum(a, b)` that keeps the indices `kept`; b is laid out once.

    groups stand in both operands and in the result, inner ones in both and are summed.
    """
    alone = [i for i in a_at if i not in b_at and i not in kept]
    b_alone = tuple(n for n, i in enumerate(b_at) if i not in a_at and i not in kept)
    b = b.sum(axis=b_alone) if b_alone else b
    b_at = [i for n, i in enumerate(b_at) if n not in b_alone]
    groups = [i for i in a_at if i in b_at and i in kept]
    inner = [i for i in a_at if i in b_at and i not in kept]
    rows = [i for i in a_at if i not in b_at and i in kept]
    cols = [i for i in b_at if i not in a_at]
    size = dict(zip(b_at, b.shape))
    volume = [math.prod(size[i] for i in part) for part in (groups, inner, cols)]
    b = b.transpose([b_at.index(i) for i in groups + inner + cols]).reshape(volume)
    b = np.ascontiguousarray(b if groups else b[0])
    order = [a_at.index(i) for i in groups + rows + inner + alone]
    back = [(groups + rows + cols).index(i) for i in kept]
    count = len(groups), len(groups + rows)

    def product(a: np.ndarray) -> np.ndarray:
        a = a.transpose(order)
        if alone:
            a = a.sum(axis=tuple(range(len(order) - len(alone), len(order))))
        rows_shape = a.shape[count[0] : count[1]]
        y = a.reshape(*volume[:1] * bool(groups), -1, volume[1]) @ b
        shape = [size[i] for i in groups] + list(rows_shape) + [size[i] for i in cols]
        return y.reshape(shape).transpose(back)

    return product


def _cut(array: np.ndarray, indices: list[str], cut: dict[str, list[int]]) -> np.ndarray:
    return array[tuple(slice(*cut[i]) if i in cut else slice(None) for i in indices)]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """The logistic function, without overflow."""
    return 0.5 * (np.tanh(0.5 * x) + 1)


def read_safetensors(path: Any) -> tuple[Arrays, dict[str, str]]:
    """Arrays and texts of a safetensors file: 8 bytes of length, a JSON header, the data.

    Raises:
        ValueError: the file is not one, or not whole.
    """
    data = Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= len(data) - 8:
        raise ValueError("it is not a whole safetensors file")
    header = json.loads(data[8 : 8 + length])
    texts, body = header.pop("__metadata__", {}), data[8 + length :]
    arrays = {name: _array(name, spec, body) for name, spec in header.items()}
    if max((spec["data_offsets"][1] for spec in header.values()), default=0) != len(body):
        raise ValueError("it does not end where its header says")
    return arrays, texts


def _array(name: str, spec: dict[str, Any], body: bytes) -> np.ndarray:
    (start, stop), shape = spec["data_offsets"], tuple(spec["shape"])
    if spec["dtype"] not in _DTYPES:
        raise ValueError(f"{name} has dtype {spec['dtype']}: known are {', '.join(_DTYPES)}")
    dtype = np.dtype(_DTYPES[spec["dtype"]])
    if not 0 <= start <= stop <= len(body) or math.prod(shape) * dtype.itemsize != stop - start:
        raise ValueError(f"the numbers of {name} are not all there")
    array = np.frombuffer(body[start:stop], dtype).reshape(shape)
    if spec["dtype"] == "BF16":  # the upper half of a float32
        array = (array.astype("<u4") << 16).view("<f4")
    return array


def _floats(arrays: Arrays, scales: dict[str, float]) -> Arrays:
    found = {}
    for name, array in arrays.items():
        found[name] = array.astype(np.float32) * np.float32(scales.get(name, 1))
        if not np.isfinite(found[name]).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    return found


def main(args: list[str]) -> int:
    """Prints the most likely class after every frame of a .npy file (time, ...)."""
    if len(args) != 2:
        print(f"usage: {Path(__file__).name} MODEL.safetensors FRAMES.npy", file=sys.stderr)
        return 2
    try:
        model, frames = Classifier(args[0]), np.load(args[1], allow_pickle=False)
        for line in _lines(model, frames):
            print(line)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _lines(model: Classifier, frames: np.ndarray) -> Iterator[str]:
    for n, frame in enumerate(frames):
        logits = model.step(frame)
        best = int(logits.argmax())
        share = np.exp(logits - logits.max())
        yield f"frame {n}: {model.class_names[best]} ({share[best] / share.sum():.1%})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
