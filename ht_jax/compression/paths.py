"""Paths: for one matrix, what each number of numbers could buy in error, format by format.

The singular values of all nodes, found once, give the error of any ranks: the sum of the squares
dropped. A path leaves out one value at a time, that which costs most for its error.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ht_jax.compression.sites import Site, as_dense
from ht_jax.compression.whiten import Whitener
from ht_jax.formats import HT, Dense, Format, LowRank, Weight
from ht_jax.tensor import HTTensor, ToleranceWarning, singular_values, truncate
from ht_jax.tree import DimensionTree

RESOLUTION = 3e-2  # relative error at which the one decomposition of a matrix stops
LEAF, INNER = 48, 256  # and the ranks at which it does, for budgets: a tolerance has no bound


@dataclasses.dataclass(frozen=True)
class Choice:
    """One way to hold a matrix.

    Attributes:
        format: with gates.
        error: squared, whitened: what it is expected to cost.
        make: makes the whitened weight; None if the matrix stays as it is held now.
        others: formats of further layers that hold parts of it.
    """

    format: Format
    error: float
    make: Callable[[], Weight | None] = dataclasses.field(compare=False, repr=False)
    others: tuple[Format, ...] = ()

    @property
    def params(self) -> int:
        """Parameters in all."""
        return sum(fmt.num_params for fmt in (self.format, *self.others))

    def seconds(self, dtype: Any) -> float:
        """Modelled time of one row."""
        formats = self.format, *self.others
        return sum(fmt.plan(1, dtype=dtype, mode="infer").seconds for fmt in formats)


Whitened = Float[Array, "*modes out"]
Path = Callable[[Site, Whitened, float | None], Iterator[Choice]]


def kept(site: Site) -> Choice:
    """The matrix as it is held now: no error."""
    first, *others = site.held.values()
    return Choice(first, 0.0, lambda: None, tuple(others))


def dense(site: Site, x: Whitened, tol: float | None) -> Iterator[Choice]:
    """The matrix itself, where a format holds it that may be larger."""
    del tol
    weight = as_dense(x.reshape(-1, x.shape[-1]), site.gates)
    fmt = as_dense(site.kernel, site.gates).format
    if any(type(held) is not Dense for held in site.held.values()):
        yield Choice(fmt, 0.0, lambda: Weight(weight.cores, fmt))


def low_rank(site: Site, x: Whitened, tol: float | None) -> Iterator[Choice]:
    """Truncated singular value decompositions, of falling rank, from the Gram matrix."""
    del tol
    rows, columns = site.kernel.shape
    padded = x.reshape(-1, columns)
    squares, right = np.linalg.eigh(np.asarray(padded.T @ padded, np.float64))
    right = right[:, ::-1].copy()
    tails = np.append(np.cumsum(np.maximum(squares, 0))[::-1], 0)

    def make(fmt: LowRank) -> Weight:
        v = jnp.asarray(right[:, : fmt.rank], x.dtype)
        return Weight({"u": padded @ v, "v": v.T}, fmt)

    shape = LowRank(rows, columns // site.gates, 1).with_gates(site.gates)
    most = rows * columns // (rows + columns)
    for rank in range(min(most, *padded.shape), 0, -1):
        fmt = dataclasses.replace(shape, rank=rank)
        yield Choice(fmt, float(tails[rank]), functools.partial(make, fmt))


def ht(site: Site, x: Whitened, tol: float | None) -> Iterator[Choice]:
    """Hierarchical Tucker over (output, input modes), the output on one side of the root."""
    fmt = output_first(site)
    tensor, values = _decomposed(site, x, tol)
    missed = max(float(jnp.vdot(x, x)) - values["leaf_0"].sum(), 0.0)
    for ranks, error in falling_ranks(fmt, values):
        chosen = fmt.with_ranks(ranks)
        yield Choice(chosen, error + missed, functools.partial(_truncated, tensor, chosen))


def _decomposed(
    site: Site, x: Whitened, tol: float | None
) -> tuple[HTTensor, dict[str, Float[np.ndarray, " r"]]]:
    """The hierarchical SVD of a whitened matrix and the squared singular values of its nodes."""
    tree, x = output_first(site).dimension_tree, jnp.moveaxis(x, -1, 0)
    if tol is None:
        x, frames = _reduced(x)
        bounds = dict.fromkeys(tree.nodes[:-1], INNER)
        with warnings.catch_warnings():  # the bounds are meant to win
            warnings.simplefilter("ignore", ToleranceWarning)
            tensor = HTTensor.from_dense(x, tol=RESOLUTION, ranks=bounds, tree=tree)
        leaves = {leaf: frame @ tensor.cores[leaf] for leaf, frame in zip(tree.leaves, frames)}
        tensor = HTTensor({**tensor.cores, **leaves}, tree)
    else:
        tensor = HTTensor.from_dense(x, tol=tol, tree=tree)
    values = singular_values(tensor)
    return tensor, {n: np.asarray(s, np.float64) ** 2 for n, s in values.items()}


def _reduced(x: Float[Array, "*modes"]) -> tuple[Array, list[Array]]:
    """The tensor in the leading singular vectors of each mode, by Gram matrices, and these.

    A tensor so small that its hierarchical SVD takes no time: that of all values in the whole
    one would take minutes for a matrix of 57,600 x 1,024.
    """
    frames = []
    for axis, bound in enumerate([INNER] + [LEAF] * (x.ndim - 1)):
        before, after = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
        flat = x.reshape(before, x.shape[axis], after)
        _, vectors = np.linalg.eigh(np.asarray(jnp.einsum("bic,bjc->ij", flat, flat), np.float64))
        frames.append(jnp.asarray(vectors[:, ::-1][:, :bound], x.dtype))
        shape = (*x.shape[:axis], frames[-1].shape[1], *x.shape[axis + 1 :])
        x = jnp.einsum("bic,ij->bjc", flat, frames[-1]).reshape(shape)
    return x, frames


def is_bounded(fmt: HT) -> bool:
    """Whether a format of a budget's path has a rank at its bound."""
    inputs = fmt.dimension_tree.leaves[1:]
    return any(r == (LEAF if node in inputs else INNER) for node, r in fmt.ranks.items())


def _truncated(tensor: HTTensor, fmt: HT) -> Weight:
    return as_weight(truncate(tensor, ranks=fmt.ranks), fmt)


def output_first(site: Site) -> HT:
    """HT with the whole output in the first leaf and the input's modes in the others."""
    rows, columns = site.kernel.shape
    count, out = len(site.in_shape), columns // site.gates
    inputs = DimensionTree.balanced(count).nested if count > 1 else 0
    fmt = HT(
        (1, *site.in_shape), (out, *[1] * count), rank=1, tree=DimensionTree((0, _after(inputs)))
    )
    return fmt.sized(rows, out).with_gates(site.gates)


def _after(nested):
    """A nested tree with all modes one higher."""
    return nested + 1 if isinstance(nested, int) else tuple(map(_after, nested))


def as_weight(tensor: HTTensor, fmt: HT) -> Weight:
    """A tensor over merged modes (m_k n_k) as the weight of its format."""
    fmt, cores = fmt.with_ranks(tensor.ranks), dict(tensor.cores)
    for k, leaf in enumerate(tensor.tree.leaves):
        shape = fmt.in_modes[k], fmt.out_modes[k]
        cores[leaf] = cores[leaf].reshape(*shape, *cores[leaf].shape[1:])
    return Weight(cores, fmt)


def falling_ranks(
    fmt: HT, squares: Mapping[str, np.ndarray]
) -> Iterator[tuple[dict[str, int], float]]:
    """Ranks from full to 1, each step one that saves the most numbers for its error.

    Args:
        fmt: the format, of any ranks.
        squares: squared singular values of every node but the root, largest first.

    Yields:
        Ranks and the bound on their squared error; both children of the root count once.
    """
    tree = fmt.dimension_tree
    left, right = tree.children(tree.root)
    tails = {n: np.append(np.cumsum(s[::-1])[::-1], 0) for n, s in squares.items()}

    def error(ranks: Mapping[str, int]) -> float:
        return float(sum(tails[n][r] for n, r in ranks.items() if n != right))

    def step(move: tuple[dict[str, int], int, float]) -> float:
        return (move[2] - spent) / (count - move[1])

    ranks = _possible(fmt, {n: len(s) for n, s in squares.items()})
    while True:  # down to ranks of 1
        count, spent = _numbers(fmt, ranks), error(ranks)
        yield ranks, spent
        lowered = [
            _possible(fmt, {**ranks, **dict.fromkeys(_twins(n, left, right), ranks[n] - 1)})
            for n in ranks
            if ranks[n] > 1 and n != right
        ]
        moves = [(r, _numbers(fmt, r), error(r)) for r in lowered]
        if not moves:
            return
        ranks = min(moves, key=step)[0]


def _twins(node: str, left: str, right: str) -> tuple[str, ...]:
    return (left, right) if node == left else (node,)


def _numbers(fmt: HT, ranks: Mapping[str, int]) -> int:
    tree = fmt.dimension_tree
    total = sum(
        fmt.in_modes[k] * fmt.out_modes[k] * ranks[leaf] for k, leaf in enumerate(tree.leaves)
    )
    for node in tree.inner:
        left, right = tree.children(node)
        total += ranks.get(node, 1) * ranks[left] * ranks[right]
    return total


def _possible(fmt: HT, ranks: dict[str, int]) -> dict[str, int]:
    """The ranks, lowered until none exceeds the product of its neighbours'."""
    tree, before = fmt.dimension_tree, None
    while before != ranks:
        before, ranks = ranks, dict(ranks)
        for node in tree.inner:
            left, right = tree.children(node)
            own = ranks.get(node, 1)
            ranks[left] = min(ranks[left], own * ranks[right])
            ranks[right] = min(ranks[right], own * ranks[left])
            if node != tree.root:
                ranks[node] = min(own, ranks[left] * ranks[right])
    return ranks


PATHS: dict[str, Path] = {"ht": ht, "low_rank": low_rank}


def check_names(formats: Sequence[str]) -> None:
    """Checks names of paths.

    Raises:
        ValueError: there is none, or one of no path.
    """
    if isinstance(formats, str) or not formats or not set(formats) <= set(PATHS):
        raise ValueError(f"formats {formats!r}: give some of {tuple(PATHS)}")


def choices(
    site: Site, whitener: Whitener, formats: Sequence[str], tol: float | None = None
) -> list[Choice]:
    """How a matrix is held now, and all ways that take no more than the dense one.

    Args:
        site: the matrix.
        whitener: its factors.
        formats: names of the paths.
        tol: relative error below which the decompositions need not go; by default a coarse one
            and bounds on the ranks, which suit budgets.
    """
    x = whitener.whitened(site.kernel)
    found = [*dense(site, x, tol)]
    for name in formats:
        found += PATHS[name](site, x, tol)
    return [kept(site), *(c for c in found if c.params <= site.kernel.size)]


def uniform(site: Site, whitener: Whitener, formats: Sequence[str]) -> list[Choice]:
    """HT with one rank at all nodes: 1, 2, 3 and so on; nodes that cannot use it take less."""
    del formats
    x = whitener.whitened(site.kernel)
    tensor, values = _decomposed(site, x, None)
    fmt, found = output_first(site), []
    for rank in range(1, max(map(len, values.values())) + 1):
        ranks = _possible(fmt, {n: min(rank, len(s)) for n, s in values.items()})
        chosen = fmt.with_ranks(ranks)
        found.append(Choice(chosen, 0.0, functools.partial(_truncated, tensor, chosen)))
    return found
