"""Indexing of tensors: what NumPy gives of the dense array, or an error that names the mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ht_jax import DimensionTree
from ht_jax.tensor import HTTensor, norm
from tests.tensor.table import check, dense, tensor, trees

SHAPE = (4, 5, 6)
X = tensor(SHAPE, DimensionTree.balanced(3), 3)
A = dense(X)
ON_JAX = jax.tree.map(jnp.asarray, X)


def entries(size):
    """Indices of one mode, some of them wrong."""
    ints = st.integers(-size - 1, size)
    bounds = st.none() | st.integers(-size - 2, size + 2)
    return st.one_of(
        ints,
        ints.map(np.int8),
        ints.map(np.array),
        ints.map(jnp.asarray),
        st.builds(slice, bounds, bounds, bounds.filter(lambda step: step != 0)),
        st.lists(ints, max_size=size + 1),
        st.lists(ints, min_size=1, max_size=3).map(np.array),
        st.lists(st.booleans(), min_size=size, max_size=size),
        st.just(slice(None)),
    )


@st.composite
def cases(draw):
    """A tensor and an index expression, with new modes and an ellipsis anywhere."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    tree = draw(st.sampled_from(trees(len(shape))))
    count = draw(st.integers(0, len(shape) + 1))
    sizes = [*shape, 3]
    index = [draw(entries(sizes[k])) for k in range(count)]
    for extra in draw(st.lists(st.sampled_from([None, Ellipsis]), max_size=2)):
        index.insert(draw(st.integers(0, len(index))), extra)
    return tensor(shape, tree, 2), index[0] if len(index) == 1 and draw(st.booleans()) else tuple(
        index
    )


def outcome(array, index):
    """What NumPy gives, with JAX integers as NumPy's; None if it refuses, or a mode is empty."""
    whole = index if isinstance(index, tuple) else (index,)
    whole = tuple(np.asarray(i) if isinstance(i, jax.Array) else i for i in whole)
    try:
        found = array[whole]
    except (IndexError, ValueError):
        return None
    return found if found.size else None


@settings(deadline=None, max_examples=300)
@given(cases())
def test_an_index_gives_what_numpy_gives_or_an_index_error(case):
    x, index = case
    expected = outcome(dense(x), index)
    try:
        found = x[index]
    except IndexError as error:
        assert expected is None or "index array" in str(error)  # noqa: PT017
    else:
        assert expected is not None
        check(found, expected)


@pytest.mark.parametrize(
    "index",
    [
        2,
        -1,
        np.uint8(2),
        np.array(2),
        jnp.asarray(2),
        jnp.asarray(-1, jnp.int8),
        slice(1, 3),
        slice(None, None, -2),
        [0, 2],
        [3],
        range(3),
        np.array([1, 1, 3], np.uint8),
        jnp.asarray([2, 0]),
        [True, False, False, True],
        np.arange(4) > 1,
        jnp.arange(4) > 1,
        None,
        ...,
        (),
        (None, 1, None),
        (..., None),
        (1, 2, 3),
        (1, 2, 3, None, None),
        (0, [1, 2]),
        ([1, 2], 0, 1),
        (slice(1, 3), ..., [2, 0]),
        (jnp.asarray(1), ..., np.array(2)),
    ],
    ids=str,
)
@pytest.mark.parametrize("x", [X, ON_JAX], ids=["numpy", "jax"])
def test_every_kind_of_index(x, index):
    whole = index if isinstance(index, tuple) else (index,)
    found = x[index]
    check(found, A[tuple(np.asarray(i) if isinstance(i, jax.Array) else i for i in whole)])
    if isinstance(found, HTTensor):
        HTTensor.of(found.cores, found.tree)
        check(norm(found), np.linalg.norm(dense(found).reshape(-1)))


@pytest.mark.parametrize("x", [X, ON_JAX], ids=["numpy", "jax"])
def test_traced_integers_index(x):
    check(jax.jit(lambda i: x[i, ..., i + 1])(2), A[2, ..., 3])
    check(jax.jit(lambda i: x[i])(jnp.asarray(-1, jnp.int8)), A[-1])
    check(jax.jit(lambda i: x[:, i])(jnp.array([3, 0, 3])), A[:, [3, 0, 3]])
    check(jax.jit(lambda i: x[:, [i, 0]])(3), A[:, [3, 0]])
    check(jax.vmap(lambda i: x[i, i, i])(jnp.arange(4)), A[range(4), range(4), range(4)])
    total = jax.lax.fori_loop(0, 4, lambda i, s: s + x[i, 1, 2], 0.0)
    assert float(total) == pytest.approx(A[:, 1, 2].sum())


def test_traced_integers_have_gradients():
    gradient = jax.jit(jax.grad(lambda t, i: t[i, 1, 2] ** 2))(ON_JAX, 3)
    expected = jax.grad(lambda t: t[3, 1, 2] ** 2)(ON_JAX)
    jax.tree.map(np.testing.assert_allclose, gradient.cores, expected.cores)


@pytest.mark.parametrize(
    ("index", "match"),
    [
        ((0, 5), "index 5 is out of range for mode 1 of size 5"),
        ((0, -6), "index -6 is out of range for mode 1 of size 5"),
        (np.array(4), "index 4 is out of range for mode 0"),
        (jnp.asarray(7), "index 7 is out of range for mode 0"),
        ([0, 4], "index 4 is out of range for mode 0"),
        ((..., np.array([-7])), "index -7 is out of range for mode 2 of size 6"),
        ((0, 0, 0, 0), "too many indices"),
        ((..., 0, ...), "several ellipses"),
        (slice(3, 3), r"slice\(3, 3, None\) of mode 0 of size 4 selects nothing"),
        ([], "selects nothing"),
        (np.zeros(4, bool), "selects nothing"),
        ([True, False], "mask of mode 0 has length 2"),
        (np.zeros((2, 2), int), r"mode 0 has shape \(2, 2\)"),
        (([0, 1], [1, 2]), "2 index arrays"),
        (np.ix_([0, 1], [1, 2]), r"shape \(2, 1\)"),
        ((0, slice(None), [1, 2]), "apart from an integer"),
        (([1, 2], None, 0), "apart from an integer"),
    ],
    ids=str,
)
def test_an_index_that_does_not_fit_names_the_mode(index, match):
    with pytest.raises(IndexError, match=match):
        X[index]


@pytest.mark.parametrize(
    "index",
    [
        1.0,
        np.float32(1),
        "a",
        b"a",
        1j,
        True,
        np.bool_(True),
        [0.0, 1.0],
        ["a"],
        [[0], [1, 2]],
        {0: 1},
        pytest.param(object(), id="object"),
        jnp.ones(()),
        slice(0.0, 2),
        slice("a"),
    ],
    ids=str,
)
def test_an_index_of_another_type_names_the_mode(index):
    with pytest.raises(TypeError, match="of mode 0"):
        X[index]
    with pytest.raises(TypeError, match="of mode 2"):
        X[..., index]


def test_what_is_traced_and_decides_a_shape_is_refused():
    with pytest.raises(TypeError, match="mode 0: start, stop and step"):
        jax.jit(lambda i: X[i : i + 2])(0)
    with pytest.raises(TypeError, match="mask of mode 0 is traced"):
        jax.jit(lambda mask: X[mask])(np.ones(4, bool))
