"""Tolerances are promises: what is checked before, and after, a tensor is made to keep one.

Far above the rounding of a decomposition the singular values dropped are its error. Near it the
result is measured, and decomposed again with a smaller share of the tolerance if it misses.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ht_jax.tensor.cores import Cores
from ht_jax.tensor.linalg import is_traced

_MEASURED = 8.0  # tolerances this many times the rounding, and smaller ones, are measured
_SHARES = (0.9995, 0.7, 0.3, 0.0)  # of the tolerance, one after the other until it is kept


class ToleranceWarning(UserWarning):
    """A bound on the ranks did not allow the tolerance.

    Example:
        >>> import ht_jax as ht, jax, warnings
        >>> t = ht.tensor.random(jax.random.key(0), (4, 4, 4), 3)
        >>> with warnings.catch_warnings(record=True, action="always") as caught:
        ...     _ = ht.truncate(t, tol=1e-3, max_rank=1)
        >>> print(caught[0].message)
        max_rank=1, ranks=None allow an error of ... only, above the ... asked for
    """


@dataclasses.dataclass(frozen=True)
class Limits:
    """How far to truncate: see `truncate`."""

    tol: float | None = None
    abs_tol: float | None = None
    max_rank: int | None = None
    ranks: Mapping[str, int] | None = None


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A tensor that should keep a tolerance.

    Args:
        cores: of the tensor, in the dtype that it is returned in.
        error: of the singular values dropped, relative to the norm.
        allowed: what the tolerance is, relative to the norm.
        rounding: about the least error of such a decomposition, likewise.
    """

    cores: Cores
    error: float
    allowed: float
    rounding: float


def check_tolerance(x: Array, tol: float | None, abs_tol: float | None) -> None:
    """Raises ValueError for a tolerance under a trace, not positive, or below the dtype's reach."""
    if is_traced(x):
        raise ValueError(
            f"tol={tol}, abs_tol={abs_tol}: x is traced, but the ranks depend on the values; "
            "call this outside of jit, vmap and grad, or give max_rank= or ranks= instead"
        )
    resolution = float(jnp.finfo(x.dtype).eps)
    if tol is not None and not tol >= resolution:
        raise ValueError(
            f"tol {tol} is below the resolution {resolution:.1e} of {x.dtype}: "
            "use float64 (jax.config.update('jax_enable_x64', True)) or a larger tol"
        )
    if abs_tol is not None and not abs_tol > 0:
        raise ValueError(f"abs_tol {abs_tol} is not positive")


def kept(
    attempt: Callable[[float], Attempt], measured: Callable[[Cores], float], limits: Limits
) -> Cores:
    """The cores of a tensor that keeps its tolerance.

    Args:
        attempt: the tensor for a share of the tolerance.
        measured: the relative error of a tensor.
        limits: what was asked for.

    Raises:
        ValueError: the dtype does not resolve the tolerance.

    Warns:
        ToleranceWarning: a bound on the ranks does not allow it.
    """
    found, error = attempt(_SHARES[0]), 0.0
    for share in _SHARES[1:]:
        if found.error > found.allowed * (1 + 1e-6):
            warn(limits, found)
            return found.cores
        if found.allowed > _MEASURED * found.rounding:
            return found.cores
        if (error := measured(found.cores)) <= found.allowed:
            return found.cores
        found = attempt(share)
    if (error := measured(found.cores)) <= found.allowed:
        return found.cores
    dtype: Any = next(iter(found.cores.values())).dtype
    raise ValueError(
        f"tol={limits.tol}, abs_tol={limits.abs_tol} allow a relative error of "
        f"{found.allowed:.1e}, but {dtype} resolves this tensor to {error:.1e} only: "
        "use a wider dtype or a larger tolerance"
    )


def warn(limits: Limits, found: Attempt) -> None:
    """Says that bounds on the ranks win over the tolerance."""
    warnings.warn(
        f"max_rank={limits.max_rank}, ranks={limits.ranks} allow an error of {found.error:.1e} "
        f"only, above the {found.allowed:.1e} asked for",
        ToleranceWarning,
        stacklevel=6,
    )
