"""The search for pivots of a cross approximation: nested sets of indices on the tree.

Going up, a node's candidates are the pairs of its children's pivots, and a dominant submatrix of
`X^(t)[candidates, J_t]` chooses among them (Goreinov et al. 2010); going down, a child's J is
chosen among the pairs of its sibling's pivots and its parent's J. Indices where the last tensor
was worst are outer indices of the next way up, so a sweep looks where something is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ht_jax.tensor.cores import Cores
from ht_jax.tree import DimensionTree

Function = Callable[[np.ndarray], np.ndarray]
Entries = tuple[np.ndarray, np.ndarray]  # indices (n, d), values (n,)


class Search:
    """Pivots I_t (r_t, modes of t) and outer indices J_t (c_t, all modes; those of t unused).

    Values are held in double precision, and every decomposition is of a scaled matrix: the scale
    of the function appears in the root's core alone.
    """

    function: Function
    shape: tuple[int, ...]
    tree: DimensionTree
    tol: float
    max_rank: int
    rng: np.random.Generator
    evaluations: int
    dtype: np.dtype  # of the values
    leaves: list[Entries]  # of the last sweep, through its new outer indices
    worst: np.ndarray  # (n, d), new outer indices of the next sweep, the most wanted first
    inside: dict[str, np.ndarray]
    outside: dict[str, np.ndarray]

    def __init__(
        self,
        function: Function,
        shape: tuple[int, ...],
        tree: DimensionTree,
        tol: float,
        max_rank: int,
        seed: np.ndarray,
    ):
        self.function, self.shape, self.tree = function, shape, tree
        self.tol, self.max_rank = tol, max_rank
        self.rng, self.evaluations = np.random.default_rng(seed), 0
        self.inside, self.outside = {}, {}
        self.dtype, self.leaves = np.dtype(bool), []
        self.worst = np.empty((0, len(shape)), int)

    def values(self, indices: np.ndarray) -> np.ndarray:
        """Asks the black box, counts, and checks."""
        self.evaluations += len(indices)
        values = np.asarray(self.function(indices.copy()))
        if values.shape != (len(indices),):
            raise ValueError(
                f"the function returned {values.shape} for {len(indices)} indices: "
                f"return one value a row, shape ({len(indices)},)"
            )
        if not jnp.issubdtype(values.dtype, jnp.number) and values.dtype != bool:
            raise TypeError(f"the function returned {values.dtype}: return numbers")
        wide = np.dtype(complex if jnp.iscomplexobj(values) else float)
        narrow = jnp.issubdtype(values.dtype, jnp.inexact) and values.itemsize < wide.itemsize
        self.dtype = np.promote_types(self.dtype, values.dtype if narrow else wide)
        values = values.astype(wide)
        if not np.isfinite(values).all():
            at = np.flatnonzero(~np.isfinite(values))[0]
            index = tuple(indices[at].tolist())
            raise ValueError(f"the function is {values[at]} at index {index}, which is not finite")
        return values

    def probes(self, count: int) -> Entries:
        """Random entries; all of them, where there are no more than that."""
        if math.prod(self.shape) <= count:
            indices = np.indices(self.shape).reshape(len(self.shape), -1).T
        else:
            indices = self._random(count)
        return indices, self.values(indices)

    def fibers(self, count: int) -> Entries:
        """Entries along every mode that the last sweep asked for, `count` of them at most."""
        if not self.leaves:
            return np.empty((0, len(self.shape)), int), np.empty(0)
        indices, values = (np.concatenate(parts) for parts in zip(*self.leaves))
        some = self.rng.permutation(len(values))[:count]
        return indices[some], values[some]

    def look_at(self, indices: np.ndarray, errors: np.ndarray) -> None:
        """Chooses where the next sweep looks: the largest error first, then by squared errors."""
        with np.errstate(divide="ignore"):
            order = 2 * np.log(errors) + self.rng.gumbel(size=len(errors))
        order[errors.argmax()] = np.inf
        self.worst = indices[np.argsort(-order)[: self.max_rank]]

    def sweep(self) -> Cores:
        """Leaves to root, then root to leaves: the cores of the way up, better sets J_t after."""
        self.leaves = []
        cores = {node: self._up(node) for node in self.tree.nodes if node != self.tree.root}
        if self.tree.is_leaf(self.tree.root):
            rows = np.arange(self.shape[0])[:, None]
            return {self.tree.root: self.values(rows)}
        left, _ = self.tree.children(self.tree.root)
        root = self.values(self._pairs(self.tree.root))
        cores[self.tree.root] = root.reshape(len(self.inside[left]), -1)
        for node in reversed(self.tree.inner):
            self._down(node)
        return {node: cores[node] for node in self.tree.nodes}

    def _random(self, count: int) -> np.ndarray:
        return self.rng.integers(0, self.shape, (count, len(self.shape)))

    def _pairs(self, node: str) -> np.ndarray:
        """All candidates for a node's pivots, as full indices with the node's modes filled in."""
        if self.tree.is_leaf(node):
            (k,) = self.tree.modes(node)
            rows = np.zeros((self.shape[k], len(self.shape)), int)
            rows[:, k] = np.arange(self.shape[k])
            return rows
        left, right = (self.inside[child] for child in self.tree.children(node))
        return self._merged(left, right, self.tree.modes(self.tree.children(node)[1]))

    @staticmethod
    def _merged(first: np.ndarray, second: np.ndarray, modes: Sequence[int]) -> np.ndarray:
        """Every index of `first` with the given modes of every index of `second`."""
        merged = np.repeat(first, len(second), 0)
        merged[:, modes] = np.tile(second, (len(first), 1))[:, modes]
        return merged

    def _matrix(self, rows: np.ndarray, node: str, outer: np.ndarray) -> np.ndarray:
        indices = self._merged(outer, rows, self.tree.modes(node))
        return self.values(indices).reshape(len(outer), len(rows)).T

    def _up(self, node: str) -> np.ndarray:
        """Pivots of a node, and the core that interpolates from them."""
        rows = self._pairs(node)
        known = self.outside.get(node, np.empty((0, len(self.shape)), int))
        count = max(2, len(known) // 4) + 2
        worst = self.worst[: count - 1]
        new = np.concatenate([worst, self._random(count - len(worst))])
        matrix = self._matrix(rows, node, np.concatenate([known, new]))
        if self.tree.is_leaf(node):
            fibers = self._merged(new, rows, self.tree.modes(node))
            self.leaves.append((fibers, matrix[:, len(known) :].T.reshape(-1)))
        q, r, _ = _pivoted_qr(matrix)
        size = abs(np.diag(r))
        resolved = max(self.tol * 0.1 / len(self.shape), float(jnp.finfo(self.dtype).eps))
        rank = int(np.sum(size > size[0] * resolved))
        rank = max(1, min(rank, self.max_rank))
        q = q[:, :rank]
        pivots = _pivots(q)
        self.inside[node] = rows[pivots]
        frame = np.linalg.solve(q[pivots].T, q.T).T  # identity in the pivots' rows
        if self.tree.is_leaf(node):
            return frame
        left, right = (len(self.inside[child]) for child in self.tree.children(node))
        return frame.T.reshape(rank, left, right)

    def _down(self, node: str) -> None:
        """Outer indices of both children: their sibling's pivots with the parent's J_t."""
        for child, sibling in (self.tree.children(node), self.tree.children(node)[::-1]):
            outer = self.inside[sibling]
            if node != self.tree.root:
                outer = self._merged(outer, self.outside[node], self._others(node))
            matrix = self._matrix(self.inside[child], child, outer)
            rank = min(matrix.shape)
            _, _, order = _pivoted_qr(matrix)
            self.outside[child] = outer[order[:rank]]

    def _others(self, node: str) -> list[int]:
        below = set(self.tree.modes(node))
        return [k for k in range(len(self.shape)) if k not in below]


def _pivots(q: np.ndarray) -> np.ndarray:
    """Rows of a dominant square submatrix: pivoted LU, then exchanges (maxvol)."""
    _, _, order = _pivoted_qr(q.conj().T)
    pivots = order[: q.shape[1]].copy()
    for _ in range(100):
        ratio = np.linalg.solve(q[pivots].T, q.T).T
        i, j = np.unravel_index(abs(ratio).argmax(), ratio.shape)
        if abs(ratio[i, j]) <= 1.05:
            break
        pivots[j] = i
    return pivots


def _pivoted_qr(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Q, R and the order of columns, of the matrix divided by its largest entry."""
    import scipy.linalg  # half of what `import ht_jax` would cost, for this one call

    largest = abs(matrix).max()
    result: Any = scipy.linalg.qr(
        matrix / largest if largest > 0 else matrix, mode="economic", pivoting=True
    )
    return result
