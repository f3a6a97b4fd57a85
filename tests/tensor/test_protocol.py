"""Tensors and operators among numbers, NumPy's arrays and Python's own functions."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ht_jax import DimensionTree
from ht_jax import tensor as htt
from ht_jax.tensor import HTOperator, HTTensor
from tests.tensor.table import check, dense, tensor

NUMPY = tensor((2, 3, 4), DimensionTree.balanced(3), 2)
ON_JAX = jax.tree.map(jnp.asarray, NUMPY)
A = dense(NUMPY)
NUMBERS = {
    "int": 3,
    "float": 2.5,
    "complex": 1 - 2j,
    "bool": True,
    "numpy scalar": np.float64(2.5),
    "numpy integer": np.uint8(3),
    "0-d numpy": np.array(2.5),
    "numpy float32": np.float32(0.5),
    "numpy complex": np.complex128(1j),
    "jax": jnp.asarray(2.5),
    "jax float32": jnp.asarray(2.5, jnp.float32),
    "jax complex": jnp.asarray(2.5j),
}
both = pytest.mark.parametrize("t", [NUMPY, ON_JAX], ids=["numpy", "jax"])


@both
@pytest.mark.parametrize("c", NUMBERS.values(), ids=NUMBERS)
def test_numbers_of_any_kind_on_either_side(t, c):
    number = np.asarray(c).item()
    for found, expected in [
        (c * t, number * A),
        (t * c, number * A),
        (t / c, A / number),
        (t + c, A + number),
        (c + t, A + number),
        (t - c, A - number),
        (c - t, number - A),
    ]:
        assert isinstance(found, HTTensor)
        assert len({core.dtype for core in found.cores.values()}) == 1
        check(found, expected)


def test_numbers_work_under_a_trace():
    check(jax.jit(lambda t, c: (t + c) / c - c * t)(ON_JAX, 2.0), (A + 2) / 2 - 2 * A)
    gradient = jax.grad(lambda c: ((ON_JAX + c) / c)[1, 2, 3])(2.0)
    assert float(gradient) == pytest.approx(-A[1, 2, 3] / 4)


def test_a_quotient_is_not_the_product_with_a_rounded_reciprocal():
    root = NUMPY.tree.root
    np.testing.assert_array_equal((NUMPY / 49).cores[root], NUMPY.cores[root] / 49)
    tiny = 1e-310  # its reciprocal overflows
    check((NUMPY * tiny) / tiny, A, 1e-10)


@both
def test_sums_and_powers(t):
    for axis in (None, 0, -1, (0, 2), (), [2, 1, 0]):
        expected = A.sum(tuple(axis) if isinstance(axis, list) else axis)
        check(t.sum(axis), expected)
        check(np.sum(t, axis), expected)
    for n in (1, 2, 3, np.int64(4), 2.0):
        check(t**n, A**n)
    check(sum([t, t]), 2 * A)
    assert sum([t, t]).ranks["leaf_0"] == 4
    with pytest.raises(ValueError, match="given twice"):
        t.sum((0, 0))
    with pytest.raises(TypeError, match="out="):
        np.sum(t, out=np.zeros(()))


@both
@pytest.mark.parametrize("function", [np.linalg.norm, np.mean, np.var, np.asarray, np.squeeze])
def test_numpy_functions_see_the_dense_array(t, function):
    np.testing.assert_allclose(function(t), function(A), rtol=1e-12)


@both
def test_the_dense_array(t):
    for array in (np.asarray(t), np.array(t), jnp.asarray(t), np.asarray(t, np.complex128)):
        check(array, A)
    assert np.asarray(t, np.float32).dtype == np.float32
    assert np.array(t, copy=True).flags.writeable
    with pytest.raises(ValueError, match="copy=False"):
        np.array(t, copy=False)
    with pytest.raises(jax.errors.TracerArrayConversionError):
        jax.jit(np.asarray)(t)


@both
@pytest.mark.parametrize(
    ("operation", "error", "match"),
    [
        (lambda t: np.ones(4) * t, ValueError, r"shape \(4,\)"),
        (lambda t: t * np.ones(4), ValueError, r"shape \(4,\)"),
        (lambda t: t + A, ValueError, "from_dense"),
        (lambda t: A + t, ValueError, "from_dense"),
        (lambda t: A - t, ValueError, "from_dense"),
        (lambda t: jnp.asarray(A) + t, ValueError, "from_dense"),
        (lambda t: t / jnp.ones(1), ValueError, "from_dense"),
        (lambda t: np.add(A, t), TypeError, "ufunc"),
        (np.exp, TypeError, "ufunc"),
        (jnp.exp, TypeError, "HTTensor"),
        (lambda t: t * "a", TypeError, "HTTensor"),
        (lambda t: t * np.array("a"), TypeError, "HTTensor"),
        (lambda t: t + None, TypeError, "unsupported operand"),
        (lambda t: t * [1.0], TypeError, "HTTensor"),
        (lambda t: 1 / t, TypeError, "reciprocal"),
        (lambda t: np.float64(1) / t, TypeError, "reciprocal"),
        (lambda t: t / t, TypeError, "reciprocal"),
        (lambda t: t / 0, ZeroDivisionError, "divided by 0"),
        (abs, TypeError, "maximum"),
        (lambda t: t**-1, ValueError, "reciprocal"),
        (lambda t: t**0.5, ValueError, "truncate_product"),
        (lambda t: t**5, ValueError, "truncate_product"),
        (lambda t: t**t, ValueError, "truncate_product"),
        (lambda t: 2**t, TypeError, "unsupported operand"),
        (lambda t: t @ t, TypeError, "unsupported operand"),
        (bool, ValueError, "neither true nor false"),
        (float, TypeError, "HTTensor"),
        (lambda t: 1.0 in t, TypeError, "container"),
    ],
)
def test_what_is_not_there_says_so(t, operation, error, match):
    with pytest.raises(error, match=match):
        operation(t)


@both
def test_python_functions(t):
    assert len(t) == 2
    parts = list(t)
    assert len(parts) == 2
    for part, expected in zip(parts, A):
        check(part, expected)
    assert (t.size, t.ndim, t.shape, t.dtype) == (A.size, 3, A.shape, A.dtype)
    assert t.nbytes == 8 * t.num_params
    for other in (copy.copy(t), copy.deepcopy(t)):
        check(other, A)
        assert other != t
    assert {t: 1}[t] == 1
    assert t == t


def test_the_repr_of_many_modes_is_short():
    text = repr(htt.ones((2,) * 400, tree=DimensionTree.linear(400)))
    assert text.splitlines()[-1] == "... and 599 more nodes"
    assert len(text) < 200_000


M = np.random.default_rng(0).standard_normal((2, 2, 3, 2)) * (1 + 1j)
OPERATOR = HTOperator.from_dense(M, tol=1e-14)


def test_operators_and_numbers():
    check(OPERATOR.T.to_dense(), M.transpose(2, 3, 0, 1))
    check(OPERATOR.H.to_dense(), M.conj().transpose(2, 3, 0, 1))
    check(OPERATOR.conj().to_dense(), M.conj())
    check(np.asarray(OPERATOR), M)
    for c in NUMBERS.values():
        number = np.asarray(c).item()
        check((c * OPERATOR).to_dense(), number * M)
        check((OPERATOR / c).to_dense(), M / number)
    check((-OPERATOR + 3 * OPERATOR - OPERATOR).to_dense(), M)
    assert OPERATOR.dtype == M.dtype
    x = tensor((3, 2), DimensionTree.balanced(2), 2, dtype=np.complex128)
    check((OPERATOR @ x).to_dense(), np.einsum("abij,ij->ab", M, dense(x)))


@pytest.mark.parametrize(
    ("operation", "error", "match"),
    [
        (lambda a: a + a.T, ValueError, "cannot be added"),
        (lambda a: a - a.T, ValueError, "cannot be added"),
        (lambda a: a + 1, TypeError, "unsupported operand"),
        (lambda a: a + a.tensor, TypeError, "unsupported operand"),
        (lambda a: a.tensor * a, TypeError, "unsupported operand"),
        (lambda a: a * a, TypeError, "unsupported operand"),
        (lambda a: a * np.ones(3), ValueError, "from_dense"),
        (lambda a: 1 / a, TypeError, "unsupported operand"),
        (lambda a: a @ np.ones((3, 2)), TypeError, "from_dense"),
        (lambda a: np.ones((3, 2)) @ a, TypeError, "unsupported operand"),
        (lambda a: a @ 2, TypeError, "from_dense"),
    ],
)
def test_what_operators_refuse(operation, error, match):
    with pytest.raises(error, match=match):
        operation(OPERATOR)
