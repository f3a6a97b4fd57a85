"""Linear systems A x = b with operator, solution and right side in hierarchical Tucker form.

Conjugate gradients truncate every iterate (Kressner and Tobler 2011, algorithm 2); alternating
least squares minimises `1/2 <x, A x> - <x, b>`, which is quadratic in every single core.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ht_jax.tensor.arithmetic import check_alike, distance, inner, norm, orthogonalize
from ht_jax.tensor.ht_tensor import HTTensor
from ht_jax.tensor.linalg import on_host
from ht_jax.tensor.operator import HTOperator, apply, quadratic
from ht_jax.tensor.tolerance import check_tolerance
from ht_jax.tensor.truncate import ToleranceWarning, truncate_sum


@dataclasses.dataclass(frozen=True)
class SolveInfo:
    """How a solver ended.

    Args:
        iterations: iterations or sweeps.
        residual: |b - A x| / |b|, measured on the solution, nothing truncated; 0 for b = 0.
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


@dataclasses.dataclass(frozen=True)
class _System:
    """A x = b with A and b of norm 1: the solution of what was asked is x times `size`."""

    operator: HTOperator
    b: HTTensor
    size: float

    @classmethod
    def of(cls, operator: HTOperator, b: HTTensor, tol: float) -> _System | None:
        """The system, checked; None where b is zero.

        Raises:
            ValueError: sizes, trees or dtypes differ, values are not finite, or the operator is
                zero or not Hermitian.
        """
        check_tolerance(b.cores[b.tree.root], tol, None)
        if not operator.in_shape == operator.out_shape == b.shape:
            raise ValueError(
                f"an operator {operator.in_shape} -> {operator.out_shape} and b of shape {b.shape}"
                " make no system: all three must be equal"
            )
        if operator.tensor.tree != b.tree:
            raise ValueError(
                f"the trees {operator.tensor.tree} of the operator and {b.tree} of b must be equal"
            )
        _check_dtypes({"the operator": operator.tensor, "b": b})
        scale, right = float(norm(operator.tensor)), float(norm(b))
        if not 0 < scale < math.inf or not right < math.inf:
            raise ValueError(f"the norms of the operator and of b are {scale} and {right}")
        if right == 0:
            return None
        operator, b = on_host((operator * (1 / scale), b * (1 / right)))
        _check_hermitian(operator, max(tol, float(jnp.finfo(b.dtype).eps) ** 0.5))
        return cls(operator, b, right / scale)

    def residual(self, x: HTTensor) -> float:
        """|b - A x|, as a sum that is orthogonalised: nothing is truncated or squared."""
        return float(distance(self.operator @ on_host(x), self.b))

    def solution(
        self, x: HTTensor, residual: float, iterations: int, tol: float, change: str
    ) -> tuple[HTTensor, SolveInfo]:
        """The solution of the system that was given; warns if it is not one."""
        if not residual <= tol:
            warnings.warn(
                f"the residual is {residual:.1e} after {iterations} iterations, above tol={tol}: "
                f"{change}",
                ToleranceWarning,
                stacklevel=3,
            )
        return jax.tree.map(jnp.asarray, x * self.size), SolveInfo(
            iterations, residual, residual <= tol
        )


def _check_dtypes(tensors: dict[str, HTTensor]) -> None:
    dtypes = {name: str(tensor.dtype) for name, tensor in tensors.items()}
    if len(set(dtypes.values())) > 1:
        raise ValueError(f"the dtypes differ: {dtypes}; bring all to one with astype")


def _check_hermitian(operator: HTOperator, tol: float) -> None:
    """Raises ValueError for an operator of norm 1 that differs from its adjoint by more."""
    difference = float(distance(operator.tensor, operator.T.tensor.conj()))
    if difference > tol:
        raise ValueError(
            f"the operator is not Hermitian: it differs from its adjoint by {difference:.1e} of "
            "its norm. Solve the normal equations, with the operator A^H A and the right side "
            "A^H b, where A^H is A.T with the conjugate tensor"
        )


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
        tol: relative residual to reach; what truncating an iterate adds is a tenth of it.
        max_rank: bound on the ranks of all iterates.
        max_iterations: at most so many.
        preconditioner: an approximation of the inverse, applied to residuals.

    Returns:
        The iterate of the smallest residual, and how it was found; zero for a right side of zero.

    Raises:
        ValueError: sizes, trees or dtypes differ, values are not finite, or the operator is zero,
            not Hermitian, or not positive definite as far as the iteration sees.

    Warns:
        ToleranceWarning: the residual is above `tol`.

    Source: Kressner and Tobler, Comput. Methods Appl. Math. 11 (2011), algorithm 2.

    >>> from ht_jax.tensor import ones
    >>> from ht_jax.tensor.operator import identity
    >>> x, info = cg(2 * identity((2, 3)), ones((2, 3)), tol=1e-4)
    >>> float(x[0, 0]), info.converged
    (0.50, True)
    """
    if max_iterations < 1:
        raise ValueError(f"max_iterations={max_iterations}: give at least 1")
    system = _System.of(operator, b, tol)
    if system is None:
        return b * 0, SolveInfo(0, 0.0, True)
    with warnings.catch_warnings():  # a bound on the ranks shows in the residual
        warnings.simplefilter("ignore", ToleranceWarning)
        found = _conjugated(system, tol, max_rank, max_iterations, preconditioner or (lambda r: r))
    change = f"raise max_iterations={max_iterations}, max_rank={max_rank} or give a preconditioner"
    return system.solution(*found, tol, change)


def _conjugated(
    system: _System,
    tol: float,
    max_rank: int | None,
    max_iterations: int,
    precondition: Callable[[HTTensor], HTTensor],
) -> tuple[HTTensor, float, int]:
    """The iterate of the smallest residual, its residual, and the number of iterations."""
    eps = float(jnp.finfo(system.b.dtype).eps)
    limits = {"tol": max(tol / 10, eps), "max_rank": max_rank}
    x, best, lowest, largest, iteration = system.b * 0, system.b * 0, 1.0, 0.0, 0
    r = system.b
    p = z = on_host(precondition(r))
    while iteration < max_iterations:
        iteration += 1
        image = on_host(apply(system.operator, p, **limits))
        curvature = _curvature(p, image)
        largest = max(largest, float(norm(image) / norm(p)))  # tends to the largest eigenvalue
        step = (inner(p, r) / curvature).item()
        kept = {"tol": eps, "abs_tol": tol / 10 / largest, "max_rank": max_rank}
        x = on_host(truncate_sum([x, step * p], **kept))
        r = _residual(system, x, tol)
        if float(norm(r)) < lowest or iteration == 1:
            best, lowest = x, float(norm(r))
        if lowest <= tol and system.residual(best) <= tol:
            break
        z = on_host(precondition(r))
        share = (-inner(image, z) / curvature).item()
        p = on_host(truncate_sum([z, share * p], **limits))
    return best, system.residual(best), iteration


def _curvature(p: HTTensor, image: HTTensor) -> float:
    """<p, A p>; raises ValueError unless it is positive."""
    curvature = float(inner(p, image).real)
    if not curvature > 0:
        raise ValueError(
            f"the operator, or the preconditioner, is not positive definite: <p, A p> is "
            f"{curvature:.1e} of |A|. For a negative definite A give -A and -b; for an indefinite "
            "one solve the normal equations, with A^H A and A^H b"
        )
    return curvature


def _residual(system: _System, x: HTTensor, tol: float) -> HTTensor:
    """b - A x afresh, so that what truncation dropped does not add up over the iterations."""
    return on_host(truncate_sum([system.b, -(system.operator @ x)], abs_tol=tol / 10))


def als(
    operator: HTOperator,
    b: HTTensor,
    start: HTTensor,
    *,
    tol: float = 1e-6,
    sweeps: int = 20,
) -> tuple[HTTensor, SolveInfo]:
    """Alternating least squares with the ranks of `start`, for a Hermitian definite operator.

    Args:
        operator: A, real or complex.
        b: the right side.
        start: first guess; its ranks stay.
        tol: relative residual at which to stop.
        sweeps: at most so many passes over all cores.

    Returns:
        The solution after the sweep of the smallest residual, and how it was found; zero for a
        right side of zero.

    Raises:
        ValueError: sizes, trees or dtypes differ, values are not finite, or the operator is zero
            or not Hermitian.

    Warns:
        ToleranceWarning: the residual is above `tol`.

    Source: Holtz, Rohwedder and Schneider, SIAM J. Sci. Comput. 34 (2012), for trains.

    >>> from ht_jax.tensor import ones
    >>> from ht_jax.tensor.operator import identity
    >>> x, info = als(2 * identity((2, 3)), ones((2, 3)), start=3 * ones((2, 3)), tol=1e-4)
    >>> float(x[0, 0]), info.converged
    (0.50, True)
    """
    if sweeps < 1:
        raise ValueError(f"sweeps={sweeps}: give at least 1")
    check_alike(b, start)
    _check_dtypes({"b": b, "start": start})
    system = _System.of(operator, b, tol)
    if system is None:
        return start * 0, SolveInfo(0, 0.0, True)
    x = best = orthogonalize(start)
    lowest, sweep = math.inf, 0
    while sweep < sweeps and not lowest <= tol:
        sweep += 1
        for node in x.tree.nodes:
            x = _improved(system.operator, system.b, x, node)
        x = orthogonalize(x)
        residual = system.residual(x)
        if residual < lowest:
            best, lowest = x, residual
    change = f"raise sweeps={sweeps} or the ranks of start"
    return system.solution(best, lowest, sweep, tol, change)


@functools.partial(jax.jit, static_argnames="node")
def _improved(operator: HTOperator, b: HTTensor, x: HTTensor, node: str) -> HTTensor:
    """The best core at one node: the matrix <t(u), A t(v)> and the vector <t(u), b> are linear
    in the cores v and conj(u) there."""

    def with_core(core: jax.Array) -> HTTensor:
        return HTTensor({**x.cores, node: core}, x.tree)

    def image(core: jax.Array) -> jax.Array:
        return derivative(lambda u: quadratic(with_core(u.conj()), operator, with_core(core)))(zero)

    core = x.cores[node]
    zero, holomorphic = jnp.zeros_like(core), jnp.iscomplexobj(core)
    derivative = functools.partial(jax.grad, holomorphic=holomorphic)
    right = derivative(lambda u: inner(with_core(u.conj()), b))(zero).reshape(-1)
    matrix = jax.jacfwd(image, holomorphic=holomorphic)(zero).reshape(core.size, core.size)
    best = jnp.linalg.lstsq(matrix, right)[0]
    return HTTensor({**x.cores, node: best.reshape(core.shape)}, x.tree)
