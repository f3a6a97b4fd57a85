"""Tolerances under test: `python -m experiments.research.tolerances --tensors 5000`.

Random tensors of 1 to 6 modes, of singular values that are repeated, graded or clustered, with
zero slices and modes of size 1, at every scale of the dtype, are compressed and truncated to
tolerances that it resolves. NumPy measures the errors in extended precision, at scale 1.
"""

import dataclasses
import functools
import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ht_jax import DimensionTree
from ht_jax.files import check_file, write_json
from ht_jax.tensor import HTTensor, truncate
from ht_jax.train import command
from ht_jax.train.report import versions

SHAPES = [
    *((1,), (9,), (1, 1), (30, 40), (12, 12), (6, 5, 4), (8, 1, 7), (10, 2, 2), (5, 5, 5)),
    *((3, 4, 2, 5), (6, 6, 6, 6), (1, 3, 1, 2), (3, 2, 3, 2, 3), (2, 2, 2, 2, 2, 2)),
]
KINDS = ["noise", "repeated", "graded", "clustered", "permutation", "zero slices", "low rank"]
DIGITS = {"float64": 13, "float32": 5}  # tolerances from 1e-1 to these
DECADES = {"float64": 300, "float32": 37}


@dataclasses.dataclass(frozen=True)
class Options:
    """How many tensors, and where the result goes."""

    tensors: int = 5000
    """Tensors, each in one of the dtypes."""
    tolerances: int = 3
    """Tolerances that each is tried with, drawn at random."""
    seed: int = 0
    """Seed of the first one; the others follow."""
    output: Path = Path("experiments/results/tolerances.json")
    """The result."""
    debug: bool = False
    """Show the traceback of an error."""


@dataclasses.dataclass(frozen=True)
class Draw:
    """A tensor of order 1, and the power of ten that it is multiplied by."""

    kind: str
    dtype: str
    scale: int
    array: np.ndarray
    tree: DimensionTree
    digits: np.ndarray  # every tolerance that is tried, in random order

    @property
    def scaled(self) -> np.ndarray:
        """What is decomposed."""
        return (self.array * 10.0**self.scale).astype(self.dtype)


def draw(seed: int) -> Draw:
    """One of all tensors."""
    rng = np.random.default_rng(seed)
    shape, kind = SHAPES[rng.integers(len(SHAPES))], KINDS[seed % len(KINDS)]
    array = _array(rng, kind, rng.permutation(shape))
    dtype = ("float64", "float32")[(seed // len(KINDS)) % 2]
    scale = int(rng.integers(2) * rng.integers(-DECADES[dtype], DECADES[dtype] + 1))
    array = array / max(np.abs(array).max(), 1e-300)
    tree = DimensionTree(_nested(rng, rng.permutation(len(shape))))
    digits = 1 + rng.permutation(DIGITS[dtype])
    return Draw(kind, dtype, scale, array, tree, digits)


def _nested(rng: np.random.Generator, modes: np.ndarray) -> Any:
    if len(modes) == 1:
        return int(modes[0])
    cut = rng.integers(1, len(modes))
    return _nested(rng, modes[:cut]), _nested(rng, modes[cut:])


def _array(rng: np.random.Generator, kind: str, shape: np.ndarray) -> np.ndarray:
    size = math.prod(shape)
    if kind == "permutation":
        rows = math.prod(shape[: (len(shape) + 1) // 2])
        return np.eye(rows, size // rows)[rng.permutation(rows)].reshape(shape)
    if kind in ("repeated", "graded", "clustered"):
        return _with_values(rng, kind, shape)
    x = rng.standard_normal(shape)
    if kind == "zero slices":
        x[: rng.integers(shape[0] + 1)] = 0
    if kind == "low rank":
        x = sum(_outer([rng.standard_normal(n) for n in shape]) for _ in range(2))
    return np.asarray(x)


def _with_values(rng: np.random.Generator, kind: str, shape: np.ndarray) -> np.ndarray:
    """A sum of orthogonal rank-one terms: the same singular values at every node."""
    rank = min([n for n in shape if n > 1], default=1)
    values = {
        "repeated": np.ones(rank),
        "graded": 10.0 ** -(14 * np.arange(rank) / rank),
        "clustered": 1 + 1e-14 * rng.standard_normal(rank) - 0.5 * (np.arange(rank) > rank / 2),
    }[kind]
    frames = [np.linalg.qr(rng.standard_normal((n, n)))[0] for n in shape]
    terms = ([frame[:, k % len(frame)] for frame in frames] for k in range(rank))
    return np.asarray(sum(value * _outer(term) for value, term in zip(values, terms)))


def _outer(vectors: Sequence[np.ndarray]) -> np.ndarray:
    return functools.reduce(np.multiply.outer, vectors)


def dense(t: HTTensor, scale: int) -> np.ndarray:
    """The tensor divided by a power of ten, in float64, by NumPy alone."""
    cores = {node: np.asarray(core, np.longdouble) for node, core in t.cores.items()}
    cores[t.tree.root] = cores[t.tree.root] / np.longdouble(10.0) ** scale

    def frame(node: str) -> np.ndarray:  # (modes below, rank)
        if t.tree.is_leaf(node):
            return cores[node]
        left, right = map(frame, t.tree.children(node))
        core = cores[node] if node != t.tree.root else cores[node][None]
        joined = np.einsum("plr,al->par", core, left)
        return np.einsum("par,br->abp", joined, right).reshape(-1, len(core))

    order = t.tree.modes(t.tree.root)
    full = frame(t.tree.root).reshape([t.shape[k] for k in order])
    return full.transpose(np.argsort(order))


def checks(case: Draw, count: int) -> Iterator[dict[str, Any]]:
    """Decompositions of a tensor, each with its error as a share of the tolerance."""
    x: Any = case.scaled
    whole = HTTensor.from_dense(x, tree=case.tree)
    calls = {
        "from_dense": functools.partial(HTTensor.from_dense, x, tree=case.tree),
        "truncate": functools.partial(truncate, whole),
    }
    exact = np.asarray(x, np.longdouble) / np.longdouble(10.0) ** case.scale
    references = {"from_dense": exact, "truncate": dense(whole, case.scale)}
    for (name, call), digits in itertools.product(calls.items(), case.digits[:count]):
        tol, size = 10.0 ** -float(digits), _norm(references[name])
        found = call(tol=tol)
        error = _norm(dense(found, case.scale) - references[name])
        finite = all(bool(np.isfinite(core).all()) for core in found.cores.values())
        yield {
            "call": name,
            "tol": tol,
            "share": error / (tol * size) if size else error,
            "broken": not error <= tol * size,
            "not_finite": not finite,
        }


def _norm(x: np.ndarray) -> float:
    return float(np.linalg.norm(x.astype(float)))


def run(options: Options) -> None:
    """Decomposes all tensors and writes the counts."""
    command.at_least(1, tensors=options.tensors, tolerances=options.tolerances)
    check_file(options.output)
    jax.config.update("jax_enable_x64", True)
    found = {"decompositions": 0, "broken": 0, "not_finite": 0, "largest_share": 0.0}
    for seed in range(options.seed, options.seed + options.tensors):
        case = draw(seed)
        for check in checks(case, options.tolerances):
            found["decompositions"] += 1
            found["broken"] += check["broken"]
            found["not_finite"] += check["not_finite"]
            found["largest_share"] = max(found["largest_share"], check["share"])
            if check["broken"] or check["not_finite"]:
                print(seed, case.kind, case.dtype, case.scale, case.array.shape, check, flush=True)
    about = {"command": command.line(), "versions": versions()}
    write_json(options.output, {**about, "seed": options.seed, "tensors": options.tensors, **found})


def main(args: Sequence[str]) -> int:
    """Runs as the command line says; returns the exit status."""
    return command.run(
        lambda: run(command.require_tyro().cli(Options, args=args)), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
