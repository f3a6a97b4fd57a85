"""Linear systems: what is solved, what is refused, what is said, against numpy.linalg.solve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ht_jax import tensor as htt
from ht_jax.tensor import HTOperator, HTTensor
from tests.tensor.table import check, dense, tensor, trees

SHAPE = (3, 4, 3)
TREE = trees(3)[0]
DTYPES = [np.float64, np.complex128]


def hermitian(n, dtype, seed=0):
    """A positive definite matrix of small condition."""
    draw = np.random.default_rng(seed).standard_normal((2, n, n))
    a = draw[0] + 1j * draw[1] if np.issubdtype(dtype, complex) else draw[0]
    return jnp.asarray((a @ a.conj().T / n + np.eye(n)).astype(dtype))


def system(dtype, scale=1.0):
    a = htt.laplace([scale * hermitian(n, dtype, n) for n in SHAPE])
    b = htt.truncate(tensor(SHAPE, TREE, 2, dtype=dtype), max_rank=2)
    size = int(np.prod(SHAPE))
    matrix = np.asarray(a.to_dense()).reshape(size, size)
    return a, b, matrix, np.linalg.solve(matrix, dense(b).reshape(-1)).reshape(SHAPE)


def solvers(dtype, **limits):
    start = tensor(SHAPE, TREE, 12, seed=5, dtype=dtype)
    return {
        "cg": lambda a, b, **more: htt.cg(a, b, **limits, **more),
        "als": lambda a, b, **more: htt.als(a, b, start, **limits, **more),
    }


both = pytest.mark.parametrize("solver", ["cg", "als"])


@both
@pytest.mark.parametrize("dtype", DTYPES)
def test_real_and_complex_hermitian_systems(solver, dtype):
    a, b, matrix, x = system(dtype)
    found, info = solvers(dtype, tol=1e-8)[solver](a, b)
    assert info.converged
    check(found, x, 1e-7)
    residual = np.linalg.norm(matrix @ dense(found).reshape(-1) - dense(b).reshape(-1))
    assert info.residual <= 1e-8
    assert info.residual == pytest.approx(residual / np.linalg.norm(dense(b)), abs=1e-13)


@both
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_right_side_of_zero_gives_zero(solver, dtype):
    a, b, _, _ = system(dtype)
    found, info = solvers(dtype)[solver](a, 0 * b)
    assert info.converged
    assert (info.iterations, info.residual) == (0, 0.0)
    assert found.shape == SHAPE
    assert not dense(found).any()


@both
@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_the_scale_of_a_system_does_not_matter(solver, scale):
    a, b, _, x = system(np.float64, scale)
    found, info = solvers(np.float64, tol=1e-6)[solver](a, (1 / scale) * b)
    assert info.converged
    check(scale * (scale * found), scale * x, 1e-5)


def convection(n, speed):
    ones, eye = (jnp.eye(n, k=k) for k in (1, -1)), jnp.eye(n)
    up, down = ones
    return 2 * eye - (1 - speed) * up - (1 + speed) * down


@both
@pytest.mark.parametrize("speed", [100.0, 0.5, 1e-2])
def test_operators_that_are_not_hermitian_are_refused(solver, speed):
    a, b, _, _ = system(np.float64)
    a = htt.laplace([convection(n, speed) for n in SHAPE])
    with pytest.raises(ValueError, match=r"not Hermitian.*normal equations"):
        solvers(np.float64)[solver](a, b)
    complex_symmetric = htt.laplace([jnp.asarray(1j * np.eye(n)) for n in SHAPE])
    with pytest.raises(ValueError, match="not Hermitian"):
        solvers(np.complex128)[solver](complex_symmetric, b.astype(complex))


def test_normal_equations_solve_what_is_not_hermitian():
    a, b, _, _ = system(np.float64)
    a = htt.laplace([convection(n, 0.5) for n in SHAPE])
    found, info = htt.cg(a.T @ a, a.T @ b, tol=1e-8)
    assert info.converged
    size = int(np.prod(SHAPE))
    x = np.linalg.solve(np.asarray(a.to_dense()).reshape(size, size), dense(b).reshape(-1))
    check(found, x.reshape(SHAPE), 1e-6)


@pytest.mark.parametrize("factor", [-1.0, 0.0])
def test_conjugate_gradients_refuse_what_is_not_positive(factor):
    a, b, _, _ = system(np.float64)
    with pytest.raises(ValueError, match=r"not positive definite|norms of the operator"):
        htt.cg(factor * a, b)
    indefinite = htt.laplace([jnp.diag(jnp.arange(n, dtype=float) - 1.5) for n in SHAPE])
    with pytest.raises(ValueError, match="not positive definite"):
        htt.cg(indefinite, htt.ones(SHAPE))


@both
def test_what_does_not_fit_is_named(solver):
    a, b, _, _ = system(np.float64)
    solve = solvers(np.float64)[solver]
    with pytest.raises(ValueError, match="shape"):
        solve(a, htt.ones((3, 4, 5)))
    with pytest.raises(ValueError, match="no system"):
        solve(HTOperator(tensor((6, 4, 3), TREE, 1), (2, 4, 3), (3, 1, 1)), b)
    with pytest.raises(ValueError, match="trees"):
        solve(a, htt.ones(SHAPE, tree=trees(3)[-1]))
    with pytest.raises(ValueError, match=r"dtypes differ.*complex128.*astype"):
        solve((1 + 0j) * a, b)
    with pytest.raises(ValueError, match=r"nan|finite"):
        solve(a, np.nan * b)
    with pytest.raises(ValueError, match="tol"):
        solve(a, b, tol=1e-20)
    with pytest.raises(ValueError, match="=0"):
        solve(a, b, **{"max_iterations" if solver == "cg" else "sweeps": 0})


def test_a_start_that_does_not_fit_is_named():
    a, b, _, _ = system(np.float64)
    with pytest.raises(ValueError, match="shapes"):
        htt.als(a, b, htt.ones((3, 4, 5)))
    with pytest.raises(ValueError, match=r"dtypes differ.*start"):
        htt.als(a, b, htt.ones(SHAPE, dtype=jnp.float32))


@both
def test_what_did_not_converge_warns_and_is_the_best_so_far(solver):
    a, b, matrix, _ = system(np.float64)
    few = {"max_rank": 1} if solver == "cg" else {"sweeps": 2}
    start = tensor(SHAPE, TREE, 1, seed=5)
    solve = htt.cg if solver == "cg" else lambda a, b, **more: htt.als(a, b, start, **more)
    with pytest.warns(htt.ToleranceWarning, match="residual is .* above tol=1e-10: raise") as said:
        found, info = solve(a, b, tol=1e-10, **few)
    assert len(said) == 1
    assert not info.converged
    residual = np.linalg.norm(matrix @ dense(found).reshape(-1) - dense(b).reshape(-1))
    assert info.residual == pytest.approx(residual / np.linalg.norm(dense(b)))
    assert info.residual < 1


@pytest.mark.slow
@pytest.mark.parametrize(("d", "n"), [(4, 20), (6, 20)])
def test_conjugate_gradients_reach_their_tolerance_on_a_stiff_laplacian(d, n):
    step = (2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)) * (n + 1) ** 2
    a = htt.laplace([jnp.asarray(step)] * d)
    x, info = htt.cg(a, htt.ones((n,) * d), tol=1e-6)
    assert info.converged
    assert float(htt.distance(a @ x, htt.ones((n,) * d))) <= 1.01e-6 * n ** (d / 2)


def test_the_solution_is_a_tensor_of_jax():
    a, b, _, _ = system(np.float64)
    found, _ = htt.cg(a, b, tol=1e-4)
    assert isinstance(found, HTTensor)
    assert all(isinstance(core, jax.Array) for core in found.cores.values())
