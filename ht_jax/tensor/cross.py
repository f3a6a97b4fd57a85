"""Cross approximation: a tensor from values of a black box at chosen indices only.

Every node t holds pivots I_t, among the pairs of its children's pivots, and a set J_t of indices
of the other modes; `X^(t) ~ X^(t)[:, J_t] X^(t)[I_t, J_t]^-1 X^(t)[I_t, :]` makes its core, and
sweeps over the tree make the sets better (Ballani, Grasedyck and Kluge 2013, section 3). Random
entries say when to stop, the worst of them where to look next, and fresh ones what was reached.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ht_jax.tensor.ht_tensor import HTTensor, as_tree
from ht_jax.tensor.modes import elements
from ht_jax.tensor.pivots import Entries, Function, Search
from ht_jax.tensor.tolerance import ToleranceWarning, check_tolerance
from ht_jax.tree import DimensionTree, Nested


@dataclasses.dataclass(frozen=True)
class CrossInfo:
    """What a cross approximation did.

    Args:
        evaluations: values of the black box that were asked for.
        sweeps: sweeps over the tree.
        error: relative error of the tensor on random entries that decided about nothing; nan if
            all random entries are zero, which says nothing of the others.

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
        function: takes indices (batch, d), an integer NumPy array, and returns values (batch,),
            real, complex or integers of any scale.
        shape: mode sizes.
        tol: relative error to reach on random entries; unlike that of `from_dense` it is an
            estimate, as nothing is known of entries that were never asked for.
        max_rank: bound on all ranks.
        tree: dimension tree, balanced unless given.
        sweeps: at most so many sweeps.
        samples: random entries to estimate the error on; where the tensor has no more than that,
            all are taken and the error is exact.
        key: of the random start; `jax.random.key(0)` unless given.

    Returns:
        The tensor, in the type of the values but float32 at least, and how it was found.

    Raises:
        ValueError: a value of the function is not finite, or it returns another number of values;
            a size, bound or tolerance out of range, or a tolerance below the dtype's reach.
        TypeError: the function returns something other than numbers.

    Warns:
        ToleranceWarning: the error on fresh random entries is above `tol`, or it is not known
            because the function is zero at all of them.

    Source: Ballani, Grasedyck and Kluge, Linear Algebra Appl. 438 (2013).

    >>> t, info = cross(lambda i: 1.0 / (1 + i.sum(1)), (8,) * 6, tol=1e-4)
    >>> info.error <= 1e-4
    True
    """
    shape, tree = _checked(shape, tol, max_rank, sweeps, samples), as_tree(tree, len(shape))
    seed = jax.random.key_data(jax.random.key(0) if key is None else key)
    search = Search(function, shape, tree, tol, max_rank, np.asarray(seed))
    found, used, error = _searched(search, sweeps, samples)
    if not error <= tol:
        warnings.warn(_advice(search, found, used, samples, error), ToleranceWarning, stacklevel=2)
    info = CrossInfo(search.evaluations, used, error)
    return jax.tree.map(jnp.asarray, found), info


def _searched(search: Search, sweeps: int, samples: int) -> tuple[HTTensor, int, float]:
    """Sweeps until fresh entries agree: the best tensor, the sweeps, the error on fresh entries."""
    probes, best, lowest, used = search.probes(samples), None, np.inf, 0
    check_tolerance(jnp.empty(0, _dtype(search)), search.tol, None)
    while True:
        found, used = HTTensor(search.sweep(), search.tree), used + 1
        error = _relative(_errors(found, probes), probes[1])
        if best is None or error < lowest:
            best, lowest = found, error
        if lowest <= search.tol / 2 or used == sweeps:
            stored, fresh = _stored(best, search), search.probes(samples)
            probes = _joined([probes, fresh])
            error = _relative(_errors(stored, fresh), probes[1])
            if error <= search.tol or used == sweeps:
                break
            lowest = _relative(_errors(best, probes), probes[1])
        seen = _joined([probes, search.fibers(10 * samples)])
        search.look_at(seen[0], _errors(found, seen))
    known = probes[1].any() or math.prod(search.shape) <= samples
    return stored, used, error if known else math.nan


def _errors(x: HTTensor, entries: Entries) -> np.ndarray:
    """Absolute errors on entries, block by block."""
    indices, values = entries
    blocks = np.array_split(indices, -(-len(indices) // 1024))
    return abs(np.concatenate([elements(x, block) for block in blocks]) - values)


def _relative(errors: np.ndarray, values: np.ndarray) -> float:
    """The root mean square of errors over that of values, none of which is squared unscaled."""
    largest = abs(values).max()
    if largest == 0:
        return math.inf if errors.any() else 0.0
    with np.errstate(over="ignore"):
        squares = np.square(errors / largest).mean() / np.square(abs(values) / largest).mean()
    return math.inf if np.isnan(squares) else math.sqrt(squares)


def _joined(parts: Sequence[Entries]) -> Entries:
    indices, values = zip(*parts)
    return np.concatenate(indices), np.concatenate(values)


def _dtype(search: Search) -> Any:
    """The type of the tensor: that of the values, float32 at least, as far as JAX has it."""
    return jax.dtypes.canonicalize_dtype(np.promote_types(search.dtype, np.float32))


def _stored(x: HTTensor, search: Search) -> HTTensor:
    """The tensor in its type; in JAX where its values are so small that JAX takes some for zero.

    Raises:
        ValueError: the values do not fit.
    """
    dtype, largest = _dtype(search), float(abs(x.cores[x.tree.root]).max())
    if largest > float(jnp.finfo(dtype).max):
        raise ValueError(
            f"values up to {largest:.1e} do not fit {dtype}: scale the function, or use float64 "
            "(jax.config.update('jax_enable_x64', True))"
        )
    x = x.astype(dtype)
    return jax.tree.map(jnp.asarray, x) if _is_tiny(largest, search) else x


def _is_tiny(largest: float, search: Search) -> bool:
    """Whether what JAX takes for zero is more than the tolerance, of values of this size."""
    return 0 < largest * search.tol < 100 * float(jnp.finfo(_dtype(search)).tiny)


def _advice(search: Search, x: HTTensor, used: int, samples: int, error: float) -> str:
    """What to change where the tolerance was not reached, or where nothing was learnt."""
    root = float(abs(np.asarray(x.cores[x.tree.root])).max())
    if math.isnan(error):
        what = "the zero tensor" if root == 0 else "what is returned"
        return (
            f"the function is 0 at every random entry, so the error of {what} is not known: raise "
            f"samples={samples} unless the function is 0 everywhere"
        )
    if search.tol < 2 * jnp.finfo(search.dtype).eps:
        change = f"the function returns {search.dtype}: raise tol, or return a wider type"
    elif _is_tiny(root, search):
        change = f"values of size {root:.1e} are hardly held by {x.dtype}: scale the function"
    elif max(x.ranks.values(), default=0) >= search.max_rank:
        change = f"raise max_rank={search.max_rank}"
    else:
        change = "raise sweeps or tol"
    return (
        f"the error on {samples} fresh random entries is {error:.1e} after {used} sweeps, above "
        f"tol={search.tol}: {change}"
    )


def _checked(
    shape: Sequence[int], tol: float, max_rank: int, sweeps: int, samples: int
) -> tuple[int, ...]:
    """The shape in integers; raises ValueError for what is out of range."""
    sizes = tuple(map(operator.index, shape))
    if not sizes or min(sizes) < 1:
        raise ValueError(f"shape {sizes}: give at least one mode, and sizes of at least 1")
    for name, bound in {"max_rank": max_rank, "sweeps": sweeps, "samples": samples}.items():
        if bound < 1:
            raise ValueError(f"{name}={bound}: give at least 1")
    if not 0 < tol < math.inf:
        raise ValueError(f"tol={tol}: give a positive relative error")
    return sizes
