"""Every operation against dense NumPy, as in check_functions of the htucker toolbox."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ht_jax import tensor as htt
from ht_jax.tensor import HTTensor
from tests.tensor.table import CASES, FEW, check, dense, name, tensor

every = pytest.mark.parametrize("case", CASES, ids=name)


@pytest.fixture
def dtype(case):
    """Complex where the ranks are random."""
    return np.complex128 if case[2] == "random" else np.float64


def pair(case, dtype=np.float64):
    return tensor(*case, seed=1, dtype=dtype), tensor(*case, seed=2, dtype=dtype)


@every
def test_arithmetic(case, dtype):
    x, y = pair(case, dtype)
    a, b = dense(x), dense(y)
    check(x.to_dense(), a)
    check(x + y, a + b)
    check(x - y, a - b)
    check(-(2.5 * x) / 2, -1.25 * a)
    check(x * y, a * b)
    check(x**2, a * a)
    check(x.conj(), a.conj())
    check((1 + 2j) * x, (1 + 2j) * a)
    check(htt.add(x, y, x), 2 * a + b)
    assert x.shape == a.shape
    assert x.num_params == sum(core.size for core in x.cores.values())


@every
def test_norms_and_inner_products(case, dtype):
    x, y = pair(case, dtype)
    a, b = dense(x), dense(y)
    size = np.linalg.norm(a.reshape(-1)) * np.linalg.norm(b.reshape(-1))
    assert abs(htt.inner(x, y) - np.vdot(a, b)) <= 1e-12 * size
    check(htt.norm(x), np.linalg.norm(a.reshape(-1)))
    check(htt.distance(x, y), np.linalg.norm((a - b).reshape(-1)))
    close = HTTensor({**x.cores, x.tree.root: x.cores[x.tree.root] * (1 + 1e-9)}, x.tree)
    expected = 1e-9 * np.linalg.norm(a.reshape(-1))
    assert abs(htt.distance(x, close) - expected) <= 1e-13 * np.linalg.norm(a.reshape(-1))


@every
def test_orthogonalize_and_spectra(case, dtype):
    x, _ = pair(case, dtype)
    a, t = dense(x), htt.orthogonalize(x)
    check(t, a)
    values, gramians = htt.singular_values(x), htt.reduced_gramians(t)
    for node in t.ranks:
        frame = t.cores[node]
        frame = frame if x.tree.is_leaf(node) else frame.reshape(frame.shape[0], -1).T
        check(frame.conj().T @ frame, np.eye(frame.shape[1]))
        rows = list(x.tree.modes(node))
        cols = [k for k in range(x.ndim) if k not in rows]
        unfolded = a.transpose(rows + cols).reshape(np.prod([a.shape[k] for k in rows]), -1)
        s = np.linalg.svd(unfolded, compute_uv=False)
        check(values[node], np.pad(s, (0, len(values[node])))[: len(values[node])])
        squares = np.linalg.eigvalsh(gramians[node])[::-1]
        check(squares, np.pad(s, (0, len(squares)))[: len(squares)] ** 2)


@every
def test_reduced_gramians_of_any_frames(case, dtype):
    x, _ = pair(case, dtype)
    a = dense(x)
    for leaf in x.tree.leaves:
        (k,) = x.tree.modes(leaf)
        unfolded = np.moveaxis(a, k, 0).reshape(a.shape[k], -1)
        frame, gramian = x.cores[leaf], htt.reduced_gramians(x)[leaf]
        check(frame @ np.asarray(gramian) @ frame.conj().T, unfolded @ unfolded.conj().T)


@every
def test_single_modes(case, dtype):
    x, _ = pair(case, dtype)
    a, d = dense(x), x.ndim
    rng = np.random.default_rng(0)
    matrix, vectors = (
        rng.standard_normal((3, a.shape[-1])),
        [rng.standard_normal(n) for n in a.shape],
    )
    check(htt.ttm(x, {d - 1: matrix.astype(a.dtype)}), a @ matrix.T)
    check(htt.ttv(x, {0: vectors[0].astype(a.dtype)}), np.tensordot(vectors[0], a, 1))
    check(htt.ttv(x, {-1: vectors[-1].astype(a.dtype)}), a @ vectors[-1])
    all_but_one = {k: vectors[k].astype(a.dtype) for k in range(1, d)}
    expected = a
    for k in range(d - 1, 0, -1):
        expected = expected @ vectors[k]
    check(htt.ttv(x, all_but_one), expected)
    check(htt.ttv(x, {**all_but_one, 0: vectors[0].astype(a.dtype)}), expected @ vectors[0])
    indices = rng.integers(0, a.shape, (2, 3, d))
    check(htt.elements(x, indices), a[tuple(np.moveaxis(indices, -1, 0))])


@every
def test_shapes(case):
    x, y = pair(case)
    a, b, d = dense(x), dense(y), x.ndim
    check(x[0], a[0])
    check(x[..., -1], a[..., -1])
    check(x[:, 0:1], a[:, 0:1])
    check(x[..., ::-1], a[..., ::-1])
    check(x[(0,) * d], a[(0,) * d])
    order = np.random.default_rng(3).permutation(d)
    check(htt.permute(x, order), a.transpose(order))
    check(htt.squeeze(x), a.squeeze())
    for k in range(d):
        check(htt.cat([x, y, x], k), np.concatenate([a, b, a], k))


@every
def test_truncation_of_what_is_never_formed(case, dtype):
    x, y = pair(case, dtype)
    a, b = dense(x), dense(y)
    check(htt.truncate(x, tol=1e-13), a)
    check(htt.truncate_sum([x, y, x], tol=1e-13), 2 * a + b)
    check(htt.truncate_product(x, y, tol=1e-13), a * b)
    assert all(r <= x.ranks[n] for n, r in htt.truncate(x + x, tol=1e-12).ranks.items())


@every
def test_from_cp(case, dtype):
    shape, tree, _ = case
    rng = np.random.default_rng(0)
    factors = [rng.standard_normal((n, 3)).astype(dtype) for n in shape]
    factors[-1] = factors[-1] * np.asarray(1 if dtype is np.float64 else 1 - 2j, dtype)
    weights = np.array([1.0, 2.0, -1.0]).astype(dtype)
    letters = "abcdef"[: len(shape)]
    equation = ",".join(f"{c}z" for c in letters) + f",z->{letters}"
    expected = np.einsum(equation, *factors, weights)
    check(htt.from_cp(factors, weights, tree=tree), expected)
    check(htt.truncate_cp(factors, weights, tree=tree, tol=1e-13), expected)


@every
def test_from_dense_is_exact(case, dtype):
    shape, tree, _ = case
    rng = np.random.default_rng(0)
    a = rng.standard_normal(shape).astype(dtype)
    if np.iscomplexobj(a):
        a += 1j * rng.standard_normal(shape)
    check(HTTensor.from_dense(a, tol=1e-13, tree=tree), a)
    check(HTTensor.from_dense(a, tol=1e-13, tree=tree, order="root to leaves"), a)
    check(HTTensor.from_dense(a, tree=tree), a)
    check(HTTensor.from_dense(dense(tensor(*case)), max_rank=5, tree=tree), dense(tensor(*case)))


@pytest.mark.parametrize(
    "case", [FEW[0], *(pytest.param(c, marks=pytest.mark.slow) for c in FEW[1:])], ids=name
)
def test_jax_does_what_numpy_does(case):
    x, y = pair(case)

    @jax.jit
    def everything(x, y, vector):
        z = htt.truncate_product(x + y, x, max_rank=2)
        z = htt.truncate_sum([htt.orthogonalize(x), 2 * z], max_rank=3)
        spectra = htt.singular_values(z)
        return z, spectra, htt.norm(z), htt.inner(x, z), htt.ttv(z, {1: vector}), htt.cat([x, z], 0)

    arguments = x, y, np.arange(1.0, x.shape[1] + 1)
    found = everything(*jax.tree.map(jnp.asarray, arguments))
    expected = everything.__wrapped__(*arguments)
    for one, other in zip(found, expected):
        if isinstance(one, HTTensor):
            check(one, dense(other))
        else:
            jax.tree.map(check, one, other)


def test_from_tt():
    rng = np.random.default_rng(0)
    ranks = [1, 2, 3, 2, 1]
    cores = [rng.standard_normal((ranks[k], 3 + k, ranks[k + 1])) for k in range(4)]
    expected = np.einsum("xap,pbq,qcr,rdy->abcd", *cores)
    check(htt.from_tt([jnp.asarray(core) for core in cores]), expected)


def test_constructed_tensors():
    v = [np.arange(1.0, 4), np.arange(2.0, 4), np.arange(4.0)]
    check(htt.ones((2, 1, 3)), np.ones((2, 1, 3)))
    check(htt.separable(v), np.einsum("a,b,c->abc", *v))
    expected = v[0][:, None, None] + v[1][:, None] + v[2]
    check(htt.sum_of_functions([jnp.asarray(x) for x in v]), expected)
    key, values = jax.random.key(0), np.array([3.0, 2.0, 0.5])
    t = htt.random_with_singular_values(key, (4, 5, 6), values, dtype=np.complex128)
    check(htt.singular_values(t)["leaf_2"], values)


def test_cores_that_do_not_fit_are_refused():
    t = htt.ones((2, 3))
    with pytest.raises(ValueError, match="leaf_1"):
        HTTensor.of({k: c for k, c in t.cores.items() if k != "leaf_1"}, t.tree)
    with pytest.raises(ValueError, match=r"node_0_1 has shape \(1, 2\)"):
        HTTensor.of({**t.cores, "node_0_1": jnp.ones((1, 2))}, t.tree)
    with pytest.raises(ValueError, match="trees"):
        htt.ones((2, 3, 4)) + htt.ones((2, 3, 4), tree=(0, (1, 2)))
    with pytest.raises(ValueError, match="shapes"):
        htt.ones((2, 3)) + htt.ones((2, 4))
