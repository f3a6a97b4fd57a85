"""Linear systems A x = b with operator, solution and right side in hierarchical Tucker form.

Conjugate gradients truncate every iterate (Kressner and Tobler 2011, algorithm 2); alternating
least squares minimises `1/2 <x, A x> - <x, b>`, which is quadratic in every single core.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ht_jax.tensor.arithmetic import inner, norm, orthogonalize
from ht_jax.tensor.ht_tensor import HTTensor
from ht_jax.tensor.operator import HTOperator, apply, quadratic
from ht_jax.tensor.truncate import truncate_sum


@dataclasses.dataclass(frozen=True)
class SolveInfo:
    """How a solver ended.

    Args:
        iterations: iterations or sweeps.
        residual: |b - A x| / |b|, computed from the solution itself.
        converged: whether it is at most the tolerance asked for.

    Example:
        >>> from ht_jax.tensor import identity, ones
        >>> _, info = cg(identity((2, 3)), ones((2, 3)), tol=1e-4)
        >>> info.iterations, info.converged
        (1, True)
    """

    iterations: int
    residual: float
    converged: bool


def cg(
    operator: HTOperator,
    b: HTTensor,
    *,
    tol: float = 1e-6,
    max_rank: int | None = None,
    max_iterations: int = 100,
    preconditioner: Callable[[HTTensor], HTTensor] | None = None,
) -> tuple[HTTensor, SolveInfo]:
    """Conjugate gradients with truncation, for a Hermitian positive definite operator.

    Args:
        operator: A.
        b: the right side.
        tol: relative residual to reach; iterates are truncated to a tenth of it.
        max_rank: bound on the ranks of all iterates.
        max_iterations: at most so many.
        preconditioner: an approximation of the inverse, applied to residuals.

    Returns:
        The solution, and how it was found: a residual above `tol` is told there.

    Source: Kressner and Tobler, Comput. Methods Appl. Math. 11 (2011), algorithm 2.

    >>> from ht_jax.tensor import ones
    >>> from ht_jax.tensor.operator import identity
    >>> x, info = cg(2 * identity((2, 3)), ones((2, 3)), tol=1e-4)
    >>> float(x[0, 0]), info.converged
    (0.50, True)
    """
    limits = {"tol": tol / 10, "max_rank": max_rank}
    precondition = preconditioner or (lambda r: r)
    x, r = None, b
    p = z = precondition(r)
    size, iteration = float(norm(b)), 0
    if size == 0.0:
        return b, SolveInfo(0, 0.0, True)
    while iteration < max(max_iterations, 1):
        iteration += 1
        image = apply(operator, p, **limits)
        assert isinstance(image, HTTensor)
        step = float(inner(r, p).real / inner(p, image).real)
        x = step * p if x is None else truncate_sum([x, step * p], **limits)
        r = _residual(operator, x, b, limits)
        if float(norm(r)) <= tol * size:
            break
        z = precondition(r)
        share = -float(inner(z, image).real / inner(p, image).real)
        p = truncate_sum([z, share * p], **limits)
    assert x is not None
    residual = float(norm(r)) / size
    return x, SolveInfo(iteration, residual, residual <= tol)


def _residual(operator: HTOperator, x: HTTensor, b: HTTensor, limits: dict) -> HTTensor:
    """b - A x afresh, so that what truncation dropped does not add up over the iterations."""
    image = apply(operator, x, tol=limits["tol"] / 10)
    assert isinstance(image, HTTensor)
    return truncate_sum([b, -image], abs_tol=float(norm(b)) * limits["tol"])


def als(
    operator: HTOperator,
    b: HTTensor,
    start: HTTensor,
    *,
    tol: float = 1e-6,
    sweeps: int = 20,
) -> tuple[HTTensor, SolveInfo]:
    """Alternating least squares with the ranks of `start`, for a symmetric definite operator.

    Args:
        operator: A, real.
        b: the right side.
        start: first guess; its ranks stay.
        tol: relative residual at which to stop.
        sweeps: at most so many passes over all cores.

    Returns:
        The solution, and how it was found.

    Source: Holtz, Rohwedder and Schneider, SIAM J. Sci. Comput. 34 (2012), for trains.

    >>> from ht_jax.tensor import ones
    >>> from ht_jax.tensor.operator import identity
    >>> x, info = als(2 * identity((2, 3)), ones((2, 3)), start=3 * ones((2, 3)), tol=1e-4)
    >>> float(x[0, 0]), info.converged
    (0.50, True)
    """
    x, size, sweep, residual = orthogonalize(start), float(norm(b)), 0, np.inf
    while sweep < sweeps:
        sweep += 1
        for node in x.tree.nodes:
            x = _improved(operator, b, x, node)
        x = orthogonalize(x)
        residual = float(norm((operator @ x) - b)) / size
        if residual <= tol:
            break
    return x, SolveInfo(sweep, residual, residual <= tol)


@functools.partial(jax.jit, static_argnames="node")
def _improved(operator: HTOperator, b: HTTensor, x: HTTensor, node: str) -> HTTensor:
    """The best core at one node: the energy's gradient is linear in it."""

    def energy(core: jax.Array) -> jax.Array:
        t = HTTensor({**x.cores, node: core}, x.tree)
        return quadratic(t, operator, t) / 2 - inner(b, t)

    core = x.cores[node]
    right = -jax.grad(energy)(jnp.zeros_like(core)).reshape(-1)
    matrix = jax.hessian(energy)(core).reshape(core.size, core.size)
    best = jnp.linalg.lstsq(matrix, right)[0]
    return HTTensor({**x.cores, node: best.reshape(core.shape)}, x.tree)
