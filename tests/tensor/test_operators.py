"""Operators, solvers, and element-wise functions against dense NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ht_jax import tensor as htt
from ht_jax.tensor import HTOperator, HTTensor
from tests.tensor.table import check, dense, tensor, trees

pytestmark = pytest.mark.slow


def operator(out_shape, in_shape, tree, rank=2, seed=0):
    sizes = [m * n for m, n in zip(out_shape, in_shape)]
    return HTOperator(tensor(sizes, tree, rank, seed=seed), out_shape, in_shape)


def matrix(a):
    array = np.asarray(a.to_dense())
    return array.reshape(np.prod(a.out_shape), -1)


SIZES = [((3, 2), (2, 4)), ((2, 1, 3), (3, 2, 1)), ((2, 3, 1, 2), (2, 2, 3, 1))]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_operators(sizes):
    out_shape, in_shape = sizes
    for tree in trees(len(in_shape)):
        a = operator(out_shape, in_shape, tree)
        b = operator(in_shape, out_shape, tree, seed=1)
        x, y = tensor(in_shape, tree, 2, seed=2), tensor(out_shape, tree, 2, seed=3)
        u, v, m = dense(x).reshape(-1), dense(y).reshape(-1), matrix(a)
        check((a @ x).to_dense(), (m @ u).reshape(out_shape))
        check(htt.apply(a, x, tol=1e-13), (m @ u).reshape(out_shape))
        check(matrix(a @ b), m @ matrix(b))
        check(matrix(htt.apply(a, b, tol=1e-13)), m @ matrix(b))
        check(matrix(a.T), m.T)
        check(matrix(2 * a + a), 3 * m)
        check(matrix(a - 3 * a), -2 * m)
        assert htt.quadratic(y, a, x) == pytest.approx(v @ m @ u, rel=1e-11)
        array = np.random.default_rng(0).standard_normal(out_shape + in_shape)
        check(HTOperator.from_dense(array, tree=tree, tol=1e-13).to_dense(), array)
    with pytest.raises(ValueError, match="cannot be applied"):
        a @ tensor([n + 1 for n in in_shape], tree, 1)


def second_difference(n):
    return (2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)) * (n + 1) ** 2


def test_laplace_and_kronecker():
    a, b, c = (second_difference(n) for n in (2, 3, 4))
    eye = [np.eye(n) for n in (2, 3, 4)]
    sum_of_three = (
        np.kron(np.kron(a, eye[1]), eye[2])
        + np.kron(np.kron(eye[0], b), eye[2])
        + np.kron(np.kron(eye[0], eye[1]), c)
    )
    found = htt.laplace([jnp.asarray(m) for m in (a, b, c)])
    assert set(found.tensor.ranks.values()) == {2}
    check(matrix(found), sum_of_three)
    check(matrix(htt.kronecker([jnp.asarray(m) for m in (a, b, c)])), np.kron(np.kron(a, b), c))
    check(matrix(htt.identity((2, 3))), np.eye(6))


def system():
    a = htt.laplace([jnp.asarray(second_difference(5) / 36)] * 3)
    b = htt.sum_of_functions([jnp.arange(1.0, 6)] * 3)
    x = np.linalg.solve(matrix(a), dense(b).reshape(-1)).reshape(5, 5, 5)
    return a, b, x


def test_conjugate_gradients():
    a, b, x = system()
    found, info = htt.cg(a, b, tol=1e-6)
    assert info.converged
    assert info.iterations <= 20  # steepest descent takes more
    check(found, x, 1e-4)
    residual = np.linalg.norm(matrix(a) @ dense(found).reshape(-1) - dense(b).reshape(-1))
    assert residual <= 1.2e-6 * np.linalg.norm(dense(b))
    with pytest.warns(htt.ToleranceWarning, match="max_iterations=2"):
        _, stopped = htt.cg(a, b, tol=1e-6, max_iterations=2)
    assert not stopped.converged


@pytest.mark.slow
def test_a_preconditioner_saves_iterations():
    a, b, _ = system()
    inverse = jnp.asarray(np.linalg.inv(second_difference(5) / 36))
    rough = htt.kronecker([inverse] + [jnp.eye(5)] * 2) + htt.kronecker([jnp.eye(5)] * 3)
    plain = htt.cg(a, b, tol=1e-4)[1]
    better = htt.cg(a, b, tol=1e-4, preconditioner=lambda r: htt.apply(rough, r, tol=1e-6))[1]
    assert better.converged
    assert plain.converged


@pytest.mark.slow
def test_alternating_least_squares():
    a, b, x = system()
    start = htt.random(jax.random.key(0), (5, 5, 5), 4)
    found, info = htt.als(a, b, start, tol=1e-3, sweeps=10)
    assert info.converged
    check(found, x, 1e-2)


def test_square_and_reciprocal():
    x = tensor((5, 6, 4), trees(3)[0], 2)
    check(htt.square(x, tol=1e-12), dense(x) ** 2)
    grid = [jnp.linspace(1.0, 2.0, 6)] * 3
    y = htt.sum_of_functions(grid)
    check(htt.reciprocal(y, tol=1e-8), 1 / dense(y), 1e-7)
    check(htt.reciprocal(-1 * y, tol=1e-8), -1 / dense(y), 1e-7)
    with pytest.raises(ValueError, match="no reciprocal"):
        htt.reciprocal(htt.sum_of_functions([jnp.array([-1.0, 2.0])] * 2), iterations=8)


def test_the_largest_entry():
    for seed in range(5):
        x = tensor((6, 5, 7, 4), trees(4)[0], 2, seed=seed)
        index, value = htt.largest_entry(x, max_rank=20)
        a = dense(x)
        assert abs(a).max() == pytest.approx(abs(value), rel=1e-3)
        assert a[index] == pytest.approx(value)


def test_the_largest_entry_of_zero_and_of_a_complex_tensor():
    zero = 0 * htt.ones((3, 4))
    assert htt.largest_entry(zero) == ((0, 0), 0.0)
    with pytest.raises(ValueError, match="zero tensor has no sign"):
        htt.sign(zero)
    x = HTTensor.from_dense(np.array([[1.0, 2j], [-3j, 1.0]]))
    index, value = htt.largest_entry(x)
    assert index == (1, 0)
    assert value == pytest.approx(-3j)


def test_completion_of_zeros_has_a_finite_misfit():
    where = np.array([[0, 0], [1, 1]])
    _, misfit = htt.complete(htt.ones((2, 2)), where, np.zeros(2), iterations=2)
    assert np.isfinite(misfit).all()


def test_sign_and_maximum():
    x = htt.sum_of_functions([jnp.array([-1.0, 1.0, 2.0]), jnp.array([3.0, -0.5, 6.0])])
    check(htt.sign(x, tol=1e-8), np.sign(dense(x)), 1e-7)
    y = htt.ones((3, 3))
    check(htt.maximum(x, 1.25 * y, tol=1e-8), np.maximum(dense(x), 1.25), 1e-7)
