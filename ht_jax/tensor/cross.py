"""Cross approximation: a tensor from values of a black box at chosen indices only.

Every node t holds pivots I_t, among the pairs of its children's pivots, and a set J_t of indices
of the other modes; `X^(t) ~ X^(t)[:, J_t] X^(t)[I_t, J_t]^-1 X^(t)[I_t, :]` makes its core, and
sweeps over the tree make the sets better (Ballani, Grasedyck and Kluge 2013, section 3).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import PRNGKeyArray

from ht_jax.tensor.cores import Cores
from ht_jax.tensor.ht_tensor import HTTensor, as_tree
from ht_jax.tensor.modes import elements
from ht_jax.tensor.truncate import ToleranceWarning
from ht_jax.tree import DimensionTree, Nested

Function = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class CrossInfo:
    """What a cross approximation did.

    Args:
        evaluations: values of the black box that were asked for.
        sweeps: sweeps over the tree.
        error: relative error on random entries that no pivot was chosen by.
    """

    evaluations: int
    sweeps: int
    error: float


def cross(
    function: Function,
    shape: Sequence[int],
    *,
    tol: float,
    max_rank: int = 100,
    tree: DimensionTree | Nested | None = None,
    sweeps: int = 10,
    samples: int = 1000,
    key: PRNGKeyArray | None = None,
) -> tuple[HTTensor, CrossInfo]:
    """A tensor from a function of indices.

    Args:
        function: takes indices (batch, d), an integer NumPy array, and returns values (batch,).
        shape: mode sizes.
        tol: relative error to reach on random entries; unlike that of `from_dense` it is an
            estimate, as nothing is known of entries that were never asked for.
        max_rank: bound on all ranks.
        tree: dimension tree, balanced unless given.
        sweeps: at most so many sweeps.
        samples: random entries to estimate the error on.
        key: of the random start; `jax.random.key(0)` unless given.

    Returns:
        The tensor, and how it was found.

    Raises:
        ValueError: a value of the function is not finite, or it returns another number of values.

    Warns:
        ToleranceWarning: the error on the random entries stayed above `tol`.

    Source: Ballani, Grasedyck and Kluge, Linear Algebra Appl. 438 (2013).

    >>> t, info = cross(lambda i: 1.0 / (1 + i.sum(1)), (8,) * 6, tol=1e-4)
    >>> info.error <= 1e-4
    True
    """
    tree = as_tree(tree, len(shape))
    seed = jax.random.key_data(jax.random.key(0) if key is None else key)
    search = _Search(function, tuple(shape), tree, tol, max_rank, np.asarray(seed))
    probes = search.rng.integers(0, shape, (samples, len(shape)))
    values = search.values(probes)
    found, error, sweep = None, np.inf, 0
    for sweep in range(1, sweeps + 1):
        cores = search.sweep()
        found = HTTensor(cores, tree)
        error = _relative(np.asarray(elements(found, probes)) - values, values)
        if error <= tol / 2:
            break
    assert found is not None
    if error > tol:
        warnings.warn(
            f"the error on {samples} random entries is {error:.1e} after {sweep} sweeps, above "
            f"tol={tol}: raise sweeps, or max_rank={max_rank}",
            ToleranceWarning,
            stacklevel=2,
        )
    info = CrossInfo(search.evaluations, sweep, float(error))
    return jax.tree.map(jnp.asarray, found), info


def _relative(error: np.ndarray, values: np.ndarray) -> float:
    size = np.linalg.norm(values)
    return float(np.linalg.norm(error) / size) if size > 0 else float(np.linalg.norm(error))


class _Search:
    """Pivots I_t (r_t, modes of t) and outer indices J_t (c_t, all modes; those of t unused)."""

    def __init__(self, function, shape, tree, tol, max_rank, seed):
        self.function, self.shape, self.tree = function, shape, tree
        self.tol, self.max_rank = tol, max_rank
        self.rng, self.evaluations = np.random.default_rng(seed), 0
        self.inside: dict[str, np.ndarray] = {}
        self.outside: dict[str, np.ndarray] = {}
        self.rank = dict.fromkeys(tree.nodes, 2)

    def values(self, indices: np.ndarray) -> np.ndarray:
        """Asks the black box, and counts."""
        self.evaluations += len(indices)
        values = np.asarray(self.function(indices))
        if values.shape != (len(indices),):
            raise ValueError(f"the function returned {values.shape} for {len(indices)} indices")
        if not np.isfinite(values).all():
            raise ValueError(f"value at {indices[~np.isfinite(values)][0]} is not finite")
        return values if np.issubdtype(values.dtype, np.inexact) else values.astype(float)

    def sweep(self) -> Cores:
        """Leaves to root, then root to leaves: the cores of the way up, better sets J_t after."""
        cores = {node: self._up(node) for node in self.tree.nodes if node != self.tree.root}
        if self.tree.is_leaf(self.tree.root):
            rows = np.arange(self.shape[0])[:, None]
            return {self.tree.root: self.values(rows)}
        left, right = self.tree.children(self.tree.root)
        pairs = self._pairs(self.tree.root)
        self.inside[self.tree.root] = pairs
        root = self.values(pairs).reshape(len(self.inside[left]), -1)
        cores[self.tree.root] = root
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
        outer = np.concatenate([known, self._random(max(2, len(known) // 4) + 2)])
        matrix = self._matrix(rows, node, outer)
        q, r, _ = scipy.linalg.qr(matrix, mode="economic", pivoting=True)
        size = abs(np.diag(r))
        rank = int(np.sum(size > size[0] * self.tol * 0.1 / len(self.shape)))
        rank = max(1, min(rank, self.max_rank))
        q = q[:, :rank]
        pivots = _pivots(q)
        self.inside[node], self.rank[node] = rows[pivots], rank
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
            _, _, order = scipy.linalg.qr(matrix, mode="economic", pivoting=True)
            self.outside[child] = outer[order[:rank]]

    def _others(self, node: str) -> list[int]:
        below = set(self.tree.modes(node))
        return [k for k in range(len(self.shape)) if k not in below]


def _pivots(q: np.ndarray) -> np.ndarray:
    """Rows of a dominant square submatrix: pivoted LU, then exchanges (maxvol)."""
    _, _, order = scipy.linalg.qr(q.conj().T, mode="economic", pivoting=True)
    pivots = order[: q.shape[1]].copy()
    for _ in range(100):
        ratio = np.linalg.solve(q[pivots].T, q.T).T
        i, j = np.unravel_index(abs(ratio).argmax(), ratio.shape)
        if abs(ratio[i, j]) <= 1.05:
            break
        pivots[j] = i
    return pivots
