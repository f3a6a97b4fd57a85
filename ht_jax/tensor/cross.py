"""Cross approximation: a tensor from values of a black box at chosen indices only.

Every node t holds pivots I_t, among the pairs of its children's pivots, and a set J_t of indices
of the other modes; `X^(t) ~ X^(t)[:, J_t] X^(t)[I_t, J_t]^-1 X^(t)[I_t, :]` makes its core, and
sweeps over the tree make the sets better (Ballani, Grasedyck and Kluge 2013, section 3).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ht_jax.tensor.ht_tensor import HTTensor, as_tree
from ht_jax.tensor.modes import elements
from ht_jax.tensor.pivots import Function, Search
from ht_jax.tensor.truncate import ToleranceWarning
from ht_jax.tree import DimensionTree, Nested


@dataclasses.dataclass(frozen=True)
class CrossInfo:
    """What a cross approximation did.

    Args:
        evaluations: values of the black box that were asked for.
        sweeps: sweeps over the tree.
        error: relative error on random entries that no pivot was chosen by.

    Example:
        >>> t, info = cross(lambda i: 1.0 + i.sum(1), (4, 4, 4), tol=1e-4)
        >>> info.evaluations > 0, info.error <= 1e-4
        (True, True)
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
    search = Search(function, tuple(shape), tree, tol, max_rank, np.asarray(seed))
    probes = search.rng.integers(0, shape, (samples, len(shape)))
    values = search.values(probes)
    found, error, used = None, np.inf, 0
    while used < max(sweeps, 1):
        found, used = HTTensor(search.sweep(), tree), used + 1
        error = _relative(np.asarray(elements(found, probes)) - values, values)
        if error <= tol / 2:
            break
    assert found is not None
    if error > tol:
        warnings.warn(
            f"the error on {samples} random entries is {error:.1e} after {used} sweeps, above "
            f"tol={tol}: raise sweeps, or max_rank={max_rank}",
            ToleranceWarning,
            stacklevel=2,
        )
    info = CrossInfo(search.evaluations, used, float(error))
    return jax.tree.map(jnp.asarray, found), info


def _relative(error: np.ndarray, values: np.ndarray) -> float:
    size = np.linalg.norm(values)
    return float(np.linalg.norm(error) / size) if size > 0 else float(np.linalg.norm(error))
