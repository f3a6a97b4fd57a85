"""Which singular vectors a node keeps: exact, by Gram matrices, or by a randomized range finder.

Gram matrices read the tensor once and cost a twentieth of a QR decomposition, but resolve only
singular values above sqrt(eps): they are used where the error to be kept is far above that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ht_jax.tensor.linalg import Matrix, adjoint, backend, leading, left_vectors, orthonormal

_RESOLVED = 100.0  # squared errors this many times eps are resolved by a Gram matrix
_OVERSAMPLING = 10


@dataclasses.dataclass
class Projector:
    """Chooses the frames of one pass, and keeps the account of the squared error.

    Args:
        bounds: bounds on the rank of nodes, by name; they win over the error.
        budget: squared error that the whole pass may spend; None for bounds alone.
        key: use randomized range finders where a rank is bounded.
        gram_norm: squared norm of the tensor, if Gram matrices may be used.
    """

    bounds: Mapping[str, int]
    budget: float | None
    key: Array | None = None
    gram_norm: float | None = None
    spent: float = 0.0

    def frame(self, matrix: Matrix, node: str, remaining: int) -> Matrix:
        """Orthonormal leading left singular vectors (m, r) of a matrix (m, n).

        Args:
            matrix: the unfolding.
            node: the node that it belongs to.
            remaining: how many nodes, this one included, still share the budget.
        """
        bound = min(self.bounds.get(node, matrix.shape[0]), *matrix.shape)
        if self.key is not None and bound + _OVERSAMPLING < min(matrix.shape):
            return self._sketched(matrix, node, bound)
        if self.budget is None:
            return leading(matrix, bound)
        share = max(self.budget - self.spent, 0.0) / remaining
        u, squares = self._spectrum(matrix, share)
        tails = np.append(np.cumsum(squares[::-1])[::-1], 0.0)  # tails[r]: error of keeping r
        rank = max(1, min(bound, int(np.sum(tails[:-1] > share))))
        self.spent += float(tails[rank])
        return u[:, :rank]

    def audited(self, projection: Matrix) -> float:
        """The squared error, by the account or by the norm that is left, whichever is larger."""
        if self.gram_norm is None:
            return self.spent
        left = float((abs(np.asarray(projection)) ** 2).sum(dtype=np.float64))
        return max(self.spent, self.gram_norm - left)

    def _spectrum(self, matrix: Matrix, share: float) -> tuple[Matrix, np.ndarray]:
        eps = float(jnp.finfo(matrix.dtype).eps)
        if self.gram_norm is None or share < _RESOLVED * eps * self.gram_norm:
            u, s = left_vectors(matrix)
            return u, np.asarray(s, np.float64) ** 2
        squares, u = backend(matrix).linalg.eigh(matrix @ adjoint(matrix))
        return u[:, ::-1].copy(), np.maximum(np.asarray(squares, np.float64)[::-1], 0.0)

    def _sketched(self, matrix: Matrix, node: str, bound: int) -> Matrix:
        """Halko, Martinsson and Tropp 2011, algorithm 4.4, with one power iteration."""
        assert self.key is not None
        shape = (matrix.shape[1], bound + _OVERSAMPLING)
        key = jax.random.fold_in(self.key, sum(map(ord, node)))
        sketch = jax.random.normal(key, shape, jnp.finfo(matrix.dtype).dtype).astype(matrix.dtype)
        if isinstance(matrix, np.ndarray):
            sketch = np.asarray(sketch)
        q, _ = orthonormal(matrix @ sketch)
        q, _ = orthonormal(matrix @ (adjoint(matrix) @ q))
        small = adjoint(q) @ matrix
        u = q @ leading(small, bound)
        if self.budget is not None:
            kept = adjoint(u) @ matrix
            self.spent += max(float((abs(matrix) ** 2).sum() - (abs(kept) ** 2).sum()), 0.0)
        return u
