"""Arrays handed to the constructors: one dtype, memory of their own, shapes that fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ht_jax import DimensionTree
from ht_jax import tensor as htt
from ht_jax.tensor import HTOperator, HTTensor
from tests.tensor.table import check, dense, tensor

RNG = np.random.default_rng(0)


def draw(dtype):
    def array(*shape):
        return RNG.standard_normal(shape).astype(dtype)

    return array


single, double = draw(np.float32), draw(np.float64)


def on_jax(*shape):
    return jnp.asarray(single(*shape))


def integers(*shape):
    return RNG.integers(-3, 4, shape)


def lists(*shape):
    return integers(*shape).tolist()


def complexes(*shape):
    return double(*shape) + 1j * double(*shape)


MIXTURES = {
    "double": (double, double, np.float64),
    "float32 of JAX, float64 of NumPy": (on_jax, double, np.float64),
    "float32 of JAX and NumPy": (on_jax, single, np.float32),
    "integers": (integers, integers, np.float64),
    "integers and float32": (integers, on_jax, np.float32),
    "lists": (lists, lists, np.float64),
    "lists and float32": (lists, single, np.float32),
    "real and complex": (on_jax, complexes, np.complex128),
    "half": (draw(np.float16), draw(jnp.bfloat16), np.float32),
}
mixtures = pytest.mark.parametrize(("first", "second", "dtype"), MIXTURES.values(), ids=MIXTURES)


def check_made(t, expected, dtype):
    assert {core.dtype for core in t.cores.values()} == {np.dtype(dtype)}
    assert all(isinstance(core, jax.Array) for core in t.cores.values())
    check(t, expected, 1e-14 if dtype in (np.float64, np.complex128) else 1e-6)


def exact(array):
    return np.asarray(array).astype(complex if np.iscomplexobj(array) else float)


@mixtures
def test_cores_get_one_dtype(first, second, dtype):
    train = [first(1, 3, 2), second(2, 4, 2), first(2, 2, 1)]
    expected = np.einsum("xap,pbq,qcy->abc", *map(exact, train))
    check_made(htt.from_tt(train), expected, dtype)
    factors, weights = [first(3, 2), second(4, 2)], first(2)
    expected = np.einsum("ar,br,r->ab", *map(exact, factors), exact(weights))
    check_made(htt.from_cp(factors, weights), expected, dtype)
    truncated = htt.truncate_cp(factors, weights, max_rank=2)
    assert {core.dtype for core in truncated.cores.values()} == {np.dtype(dtype)}
    check(truncated, expected, 1e-13 if np.dtype(dtype).itemsize > 4 else 1e-5)
    cores = {"leaf_0": first(3, 2), "leaf_1": second(4, 2), "node_0_1": first(2, 2)}
    expected = np.einsum("al,br,lr->ab", *map(exact, cores.values()))
    check_made(HTTensor.of(cores, (0, 1)), expected, dtype)
    v, w = first(3), second(4)
    check_made(htt.separable([v, w]), np.outer(exact(v), exact(w)), dtype)
    check_made(htt.sum_of_functions([v, w]), exact(v)[:, None] + exact(w), dtype)
    e = first(3), second(4)
    terms = np.outer(exact(v), exact(e[1])) + np.outer(exact(e[0]), exact(w))
    check_made(htt.laplace_like([v, w], e), terms, dtype)
    m = first(2, 3), second(2, 2)
    kron = np.einsum("ij,kl->ikjl", *map(exact, m))
    check(htt.kronecker(m).to_dense(), kron, 1e-14 if np.dtype(dtype).itemsize > 4 else 1e-6)


@mixtures
def test_matrices_and_vectors_on_modes_leave_one_dtype(first, second, dtype):
    t = HTTensor.of({"leaf_0": first(3, 2), "leaf_1": first(4, 2), "node_0_1": first(2, 2)}, (0, 1))
    matrix, vector = second(5, 3), second(3)
    with jax.numpy_dtype_promotion("standard"):
        for y in (htt.ttm(t, {0: matrix}), htt.ttv(t, {0: vector})):
            assert len({core.dtype for core in y.cores.values()}) == 1
        check(htt.ttm(t, {0: matrix}), exact(matrix) @ dense(t), 1e-2)
        check(htt.ttv(t, {0: vector}), exact(vector) @ dense(t), 1e-2)


def test_without_x64_all_is_float32():
    with jax.enable_x64(False):
        train = [double(1, 3, 2), jnp.ones((2, 4, 1))]
        factors = [double(3, 2), np.full((4, 2), 2**40)]
        for t in (htt.from_tt(train), htt.from_cp(factors), HTTensor.from_dense(double(2, 3))):
            assert {core.dtype for core in t.cores.values()} == {np.dtype(np.float32)}
        expected = factors[0] @ factors[1].T.astype(float)
        check(htt.from_cp(factors), expected, 1e-6)


def aligned(*shape):
    """Ones in memory of the kind that JAX shares on the CPU rather than copies."""
    count = np.prod(shape)
    memory = np.empty(count * 8 + 64, np.uint8)
    array = memory[-memory.ctypes.data % 64 :][: count * 8].view(np.float64).reshape(shape)
    array[:] = 1
    return array


@pytest.mark.parametrize("size", [1, 64, 4096])
def test_what_becomes_of_the_callers_arrays_does_not_matter(size):
    arrays = [aligned(size, 2), aligned(size, 2), aligned(2, 2), aligned(size)]
    a, b, c, v = arrays
    made = [
        HTTensor.of({"leaf_0": a, "leaf_1": b, "node_0_1": c}, (0, 1)),
        htt.from_cp([a, b], c[0]),
        htt.from_tt([a[None], b.T[..., None]]),
        htt.separable([v, v]),
        htt.sum_of_functions([v, v]),
        htt.kronecker([a, b]).tensor,
        htt.laplace([c, c]).tensor,
        HTTensor.from_dense(v, tol=1e-10),
        HTTensor.from_dense(v),
        HTTensor.from_dense(a),
    ]
    before = [float(abs(t[(0,) * t.ndim])) for t in made]
    for array in arrays:
        array[:] = np.nan
    assert [float(abs(t[(0,) * t.ndim])) for t in made] == before


F = np.ones((3, 2))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: htt.from_cp([F, F], np.ones((2, 1))), r"weights have shape \(2, 1\)"),
        (lambda: htt.from_cp([F, F], np.ones((3, 1))), r"weights have shape \(3, 1\)"),
        (lambda: htt.from_cp([F, F], np.ones(3)), r"weights have shape \(3,\)"),
        (lambda: htt.from_cp([F, F], 2.0), r"weights have shape \(\)"),
        (lambda: htt.truncate_cp([F, F], np.ones((2, 1)), max_rank=1), "weights have shape"),
        (lambda: htt.truncate_cp([F, F[:, :1]], max_rank=1), r"factor 1 has shape \(3, 1\)"),
        (lambda: htt.from_cp([F, F[:, :1]]), r"factor 1 has shape \(3, 1\)"),
        (lambda: htt.from_cp([F[0], F[0]]), r"factor 0 has shape \(2,\)"),
        (lambda: htt.from_cp([F[None], F[None]]), r"factor 0 has shape \(1, 3, 2\)"),
        (lambda: htt.from_cp([]), "at least one factor"),
        (lambda: htt.from_cp([F[:0], F]), r"factor 0 has shape \(0, 2\)"),
        (lambda: htt.from_cp([F[:, :0], F[:, :0]]), r"factor 0 has shape \(3, 0\)"),
        (lambda: htt.from_tt([F]), "three axes"),
        (lambda: htt.from_tt([]), "at least one core"),
        (lambda: htt.from_tt([np.ones((1, 2, 3)), np.ones((2, 2, 1))]), "ranks do not meet"),
        (lambda: htt.from_tt([np.ones((1, 0, 1))]), r"core 0 has shape \(1, 0, 1\)"),
        (lambda: htt.separable([F]), r"vectors\[0\] has shape \(3, 2\)"),
        (lambda: htt.separable([]), "at least one vector"),
        (lambda: htt.sum_of_functions([F[0], 1.0]), r"vectors\[1\] has shape \(\)"),
        (lambda: htt.sum_of_functions([F[0, :0]]), r"vectors\[0\] has shape \(0,\)"),
        (lambda: htt.laplace_like([F[0]] * 3, [F[0]] * 2), "mode by mode"),
        (lambda: htt.laplace_like([F[0]], [F[:, 0]]), "mode by mode"),
        (lambda: htt.ones((3, 0, 2)), r"mode 1 of shape \(3, 0, 2\) has size 0"),
        (lambda: htt.ones((3, -1)), "size -1"),
        (lambda: htt.ones((3, 2.0)), "size 2.0"),
        (lambda: htt.ones((3, True)), "size True"),
        (lambda: htt.ones(3), "shape 3"),
        (lambda: htt.ones(()), "at least one"),
        (lambda: htt.random(jax.random.key(0), (3, 0), 2), "size 0"),
        (lambda: htt.random(jax.random.key(0), (3, 2.5), 2), "size 2.5"),
        (lambda: htt.random(jax.random.key(0), (), 2), "at least one mode"),
        (lambda: htt.random(jax.random.key(0), (3, 2), 0), "bounded by 0"),
        (lambda: htt.random(jax.random.key(0), (3, 2), 1.5), "bounded by 1.5"),
        (lambda: htt.random(jax.random.key(0), (3, 2), True), "bounded by True"),
        (lambda: htt.random(jax.random.key(0), (3, 2), {"leaf_0": 2}), "leaf_1"),
        (lambda: htt.random(jax.random.key(0), (3, 2), {"leaf_7": 2}), "leaf_7"),
        (lambda: htt.random_with_singular_values(jax.random.key(0), (3, 2), F), "values"),
        (lambda: htt.identity((2, 0)), "size 0"),
        (lambda: htt.identity((2, 1.0)), "size 1.0"),
        (lambda: htt.laplace([F]), "square"),
        (lambda: htt.laplace([np.ones((0, 0))]), r"matrix 0 has shape \(0, 0\)"),
        (lambda: htt.kronecker([F[0]]), "two axes"),
        (lambda: HTOperator.from_dense(np.ones((2, 2, 2))), r"shape \(2, 2, 2\)"),
        (lambda: HTTensor.from_dense(np.ones((3, 0, 2))), r"mode 1 of shape \(3, 0, 2\)"),
        (lambda: HTTensor.from_dense(np.ones((3, 0)), max_rank=2), "size 0"),
        (lambda: HTTensor.from_dense(np.ones(())), "at least one mode"),
        (lambda: HTTensor.from_dense(np.ones((3, 2)), max_rank=1.5), "bounded by 1.5"),
        (lambda: HTTensor.of({"leaf_0": np.ones(0)}, 0), r"leaf_0 has shape \(0,\)"),
        (lambda: htt.ttm(htt.ones((3, 2)), {0: np.ones((0, 3))}), r"shape \(0, 3\)"),
        (lambda: htt.cat([], 0), "at least one tensor"),
    ],
)
def test_shapes_that_do_not_fit_are_named(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("bad", [np.array([["a"] * 2]), [[None, 1]], [[{}, 1]]], ids=str)
def test_what_is_no_number_is_named(bad):
    with pytest.raises(TypeError, match="factor 1 has dtype"):
        htt.from_cp([F, bad])
    with pytest.raises(TypeError, match="leaf_1 has dtype"):
        HTTensor.of({"leaf_0": F, "leaf_1": bad, "node_0_1": F[:2]}, (0, 1))
    with pytest.raises(TypeError, match="indices have dtype"):
        htt.elements(htt.ones((2, 2)), bad)


def test_tensors_of_torch_are_arrays():
    torch = pytest.importorskip("torch")
    a = torch.arange(6.0).reshape(3, 2)
    check(htt.from_cp([a, a]), np.asarray(a) @ np.asarray(a).T)
    with pytest.raises(RuntimeError, match="detach"):
        htt.from_cp([a, a.requires_grad_()])


def test_constructors_work_under_a_trace():
    a = jnp.asarray(F)
    check(jax.jit(lambda a, w: htt.from_cp([a, np.ones((4, 2))], w))(a, a[0]), np.full((3, 4), 2.0))
    check(jax.jit(lambda a: htt.from_tt([a[None], a.T[..., None]]))(a), np.full((3, 3), 2.0))
    gradient = jax.grad(lambda v: htt.separable([v, np.ones(2)])[1, 1])(jnp.ones(3))
    np.testing.assert_allclose(gradient, [0.0, 1.0, 0.0])


def test_tensors_of_one_mode():
    v = np.arange(1.0, 5)
    m = np.diag(v) + 1
    for t in (htt.separable([v]), htt.from_cp([v[:, None]]), htt.from_tt([v[None, :, None]])):
        check(t, v)
    t = HTTensor.from_dense(v, tol=1e-10)
    check(t + t - 1, 2 * v - 1)
    check(t * t / 2, v * v / 2)
    check(t[1:], v[1:])
    check(t[None, [0, 2]], v[None, [0, 2]])
    check(t[2], v[2])
    check(t.sum(), v.sum())
    check(htt.norm(t), np.linalg.norm(v))
    check(htt.inner(t, t), v @ v)
    check(htt.truncate(t, tol=1e-10), v)
    check(htt.truncate(t, max_rank=1), v)
    check(htt.truncate_product(t, t, tol=1e-10), v * v)
    check(htt.orthogonalize(t), v)
    check(htt.permute(t, (0,)), v)
    check(htt.squeeze(t), v)
    check(htt.cat([t, t], 0), np.tile(v, 2))
    check(htt.ttm(t, {0: m}), m @ v)
    check(htt.ttv(t, {0: v}), v @ v)
    check(htt.ttt(t, t), np.outer(v, v))
    check(htt.ttt(t, t, (0,)), v @ v)
    check(htt.change_dimtree(t, 0), v)
    check(htt.elements(t, [[1], [3]]), v[[1, 3]])
    check((htt.laplace([m]) @ t).to_dense(), m @ v)
    check(htt.apply(htt.identity((4,)), t, tol=1e-10), v)
    check(htt.random(jax.random.key(0), (3,), 2).to_dense().shape, np.array([3]))
    assert htt.singular_values(t) == t.ranks == {}
    assert "leaf_0  n=4" in repr(t)


@pytest.mark.parametrize("make", [DimensionTree.linear, DimensionTree.balanced])
def test_tensors_of_some_hundred_modes(make):
    x = tensor((2,) * 300, make(300), 2)
    x = x / htt.norm(x)
    y = htt.truncate(x + x, max_rank=2)
    assert float(htt.distance(y, 2 * x)) <= 1e-9
    assert x[(slice(None),) * 298].ndim == 300
    assert x[0].ndim == 299
    assert float(htt.inner(x, x)) == pytest.approx(1)
    assert htt.permute(x, range(299, -1, -1)).shape == x.shape
    check(x[(1,) * 300], htt.elements(x, [[1] * 300])[0])
    turned = htt.change_root(x, "leaf_299")
    assert float(htt.inner(turned, turned)) == pytest.approx(1)
