"""What the decompositions of all formats share: mode layout, error measure, rank notes."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Inexact

from ht_jax.formats.base import Fit, Format, ModeFormat
from ht_jax.formats.weight import Weight


class RankWarning(UserWarning):
    """A rank is larger than the format can use.

    Example:
        >>> import ht_jax as ht
        >>> with warnings.catch_warnings(record=True, action="always") as told:
        ...     fmt = ht.TT((4, 4), (2, 2), rank=9)
        >>> print(told[0].message)
        rank 1 is 9 in TT(in_modes=(4, 4), out_modes=(2, 2), rank=9): it was clipped to 8
    """


def tell_rank(fmt: Format, what: str, asked: int, most: int, *, clipped: bool) -> None:
    """Warns if a rank is above what can be used.

    A format with gates says nothing: the one that it was made of has been told already.
    """
    if asked <= most or fmt.gates > 1:
        return
    done = f"it was clipped to {most}" if clipped else f"{most} would do; it is kept"
    warnings.warn(f"{what} is {asked} in {fmt}: {done}", RankWarning, stacklevel=5)


def check_kernel(
    kernel: Any, fmt: Format, *, tol: float | None = None, iterative: bool = False
) -> Inexact[Array, "in_features out_features"]:
    """The kernel as an array that `fmt` can be fitted to.

    Args:
        kernel: what the user gave; half precision is widened to float32.
        fmt: the format.
        tol: the tolerance asked for, if any.
        iterative: whether the method iterates until it stagnates; it is for real numbers.

    Raises:
        ValueError: the kernel has another shape than `fmt`'s matrix, whole numbers, or values
            that are not finite, or it is traced where the method depends on its values.
    """
    if jnp.shape(kernel) != (fmt.in_features, fmt.out_features):
        raise ValueError(
            f"the kernel has shape {jnp.shape(kernel)}, but {fmt} holds "
            f"{(fmt.in_features, fmt.out_features)}"
        )
    kernel = jnp.asarray(kernel)
    kind = jnp.floating if iterative else jnp.inexact
    if not jnp.issubdtype(kernel.dtype, kind):
        raise ValueError(
            f"the kernel has dtype {kernel.dtype}: {type(fmt).__name__} needs a floating one"
        )
    if isinstance(kernel, Tracer):
        _check_traceable(fmt, tol, iterative)
    elif not bool(jnp.isfinite(kernel).all()):
        raise ValueError(f"the kernel holds values that are not finite: {fmt} cannot be fitted")
    return widened(kernel)


def widened(tree: Any) -> Any:
    """Floats of half precision or less as float32, in any pytree: linear algebra knows no others.

    >>> widened({"a": jnp.ones(2, jnp.float16), "b": jnp.ones(2, jnp.int8)})["a"].dtype
    dtype('float32')
    """
    return jax.tree.map(lambda a: a.astype(jnp.float32) if is_narrow(a.dtype) else a, tree)


def is_narrow(dtype: Any) -> bool:
    """Whether a dtype is of floats that are narrower than float32."""
    return jnp.issubdtype(dtype, jnp.floating) and jnp.dtype(dtype).itemsize < 4


def _check_traceable(fmt: Format, tol: float | None, iterative: bool) -> None:
    name = type(fmt).__name__
    if tol is not None:
        raise ValueError(
            f"{name}.from_dense(tol={tol}) is traced, but the ranks depend on the values: "
            "call it outside of jit, vmap and grad, or give rank= instead"
        )
    if iterative:
        raise ValueError(
            f"{name}.from_dense is traced, but it iterates until it stagnates: "
            "call it outside of jit, vmap and grad"
        )


def refuse_tol(fmt: Format, tol: float | None) -> None:
    """Raises ValueError if a tolerance is asked of a format whose ranks are given, not found."""
    if tol is not None:
        raise ValueError(
            f"{type(fmt).__name__} finds no ranks for tol={tol}: give rank= and read "
            "info.relative_error, or take HT, TT, Tucker or LowRank, which keep a tolerance"
        )


def padded_kernel(
    kernel: Inexact[Array, "in_features out_features"], fmt: Format
) -> Inexact[Array, "in_size out_size"]:
    """The kernel with zero rows and columns, as large as the network's modes."""
    net = fmt.network()
    behind = net.in_size - fmt.in_offset - fmt.in_features
    blocks = kernel.reshape(fmt.in_features, fmt.gates, -1)
    cols = net.out_size // fmt.gates - blocks.shape[-1]
    blocks = jnp.pad(jnp.asarray(blocks), ((fmt.in_offset, behind), (0, 0), (0, cols)))
    return blocks.reshape(net.in_size, net.out_size)


def mode_pairs(
    kernel: Inexact[Array, "in_features out_features"], fmt: ModeFormat
) -> Inexact[Array, "*modes"]:
    """The kernel as a tensor (m_1, n_1, m_2, n_2, ...) of its paired modes."""
    d = len(fmt.in_modes)
    order = [axis for k in range(d) for axis in (k, d + k)]
    return padded_kernel(kernel, fmt).reshape(*fmt.in_modes, *fmt.out_modes).transpose(order)


def as_tensor(
    kernel: Inexact[Array, "in_features out_features"], fmt: Format
) -> Inexact[Array, "*modes"]:
    """The kernel, padded with zeros, with one axis for each open index of the network.

    The zeros count: a fit to a padded kernel is a fit to them as well.
    """
    net = fmt.network()
    return padded_kernel(kernel, fmt).reshape([net.size[i] for i in (*net.inputs, *net.outputs)])


def fit(
    weight: Weight,
    kernel: Inexact[Array, "in_features out_features"],
    restarts: int = 0,
    *,
    tol: float | None = None,
) -> tuple[Weight, Fit]:
    """The weight with its measured relative error, rows compared a block at a time.

    Raises:
        ValueError: the error is above `tol`: rounding took more than the method could save.
    """
    scale = jnp.max(jnp.abs(kernel))
    scale = jnp.where(scale > 0, scale, 1)
    squared, norm = jnp.zeros_like(scale), jnp.zeros_like(scale)
    for start in range(0, kernel.shape[0], 4096):
        rows = kernel[start : start + 4096]
        part = weight if rows.shape == kernel.shape else weight.restrict(start, start + len(rows))
        squared += jnp.sum(jnp.abs((part.to_dense() - rows) / scale) ** 2)
        norm += jnp.sum(jnp.abs(rows / scale) ** 2)
    error = jnp.sqrt(squared / jnp.where(norm > 0, norm, 1))
    if isinstance(error, Tracer):
        return weight, Fit(error, restarts)  # pyright: ignore[reportArgumentType]
    if tol is not None and float(error) > tol:
        raise ValueError(
            f"tol {tol} cannot be kept in {kernel.dtype}: rounding leaves an error of "
            f"{float(error):.2e}; use float64 or a larger tol"
        )
    return weight, Fit(float(error), restarts)
