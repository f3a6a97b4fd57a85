"""Tensor networks: counts, checks and slices of the input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ht_jax import TensorNetwork


def chain(sizes):
    """A network whose inputs have these sizes, one core each."""
    cores = {f"c{k}": (f"i{k}", f"o{k}") for k in range(len(sizes))}
    size = {f"i{k}": n for k, n in enumerate(sizes)} | {f"o{k}": 2 for k in range(len(sizes))}
    names = range(len(sizes))
    return TensorNetwork.of(cores, size, [f"i{k}" for k in names], [f"o{k}" for k in names])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_a_slice_covers_the_range_and_is_a_box(sizes, data):
    net = chain(sizes)
    start = data.draw(st.integers(0, net.in_size - 1))
    stop = data.draw(st.integers(start + 1, net.in_size))
    cut, first = net.slices(start, stop)
    box = np.arange(net.in_size).reshape(sizes)
    box = box[tuple(slice(*cut.get(f"i{k}", (None, None))) for k in range(len(sizes)))]
    covered = np.arange(first, first + box.size)
    np.testing.assert_array_equal(box.reshape(-1), covered)  # contiguous
    assert first <= start
    assert stop <= first + box.size
    assert net.restrict(start, stop).in_size == box.size


def test_a_slice_is_as_small_as_its_slabs_allow():
    net = chain((9, 10, 10, 9, 8))
    assert net.restrict(57_600, 57_856).in_size == 4 * 72  # 288 for 256 rows
    assert net.restrict(0, 57_600).in_size == 57_600


@pytest.mark.parametrize("rows", [(-1, 3), (3, 3), (4, 3), (0, 13)])
def test_ranges_outside_are_refused(rows):
    with pytest.raises(ValueError, match="do not lie within"):
        chain((3, 4)).slices(*rows)


@pytest.mark.parametrize(
    ("cores", "sizes", "inputs", "outputs", "says"),
    [
        ({"u": "io"}, {"i": 2}, "i", "o", "'o' has size 0"),
        ({"u": "iio"}, {"i": 2, "o": 2}, "i", "o", "twice"),
        ({"u": "io"}, {"i": 2, "o": 2, "p": 2}, "i", "p", "'p'"),
        ({"u": "io"}, {"i": 2, "o": 2}, "i", "i", "'i'"),
        ({"@x": "io"}, {"i": 2, "o": 2}, "i", "o", "'@x' begins with @"),
    ],
)
def test_bad_networks_are_refused(cores, sizes, inputs, outputs, says):
    with pytest.raises(ValueError, match=says):
        TensorNetwork.of(cores, sizes, inputs, outputs)


def test_counts():
    net = chain((3, 4))
    assert (net.num_params, net.in_size, net.out_size) == (14, 12, 4)


def test_a_shared_core_is_held_and_counted_once():
    size = {"i": 3, "j": 3, "r": 2, "s": 2, "o": 2, "p": 2}
    operands = {"a": "iro", "b": "jrp"}
    net = TensorNetwork.of(operands, size, "ij", "op", shared={"b": "a"})
    assert net.cores == ("a",)
    assert net.num_params == 12
    core = np.random.default_rng(0).normal(size=(3, 2, 2))
    kernel = np.einsum("iro,jrp->ijop", core, core)
    np.testing.assert_allclose(net.contract({"a": core}, "ijop"), kernel, rtol=1e-6)


@pytest.mark.parametrize(
    ("shared", "says"),
    [
        ({"c": "a"}, "'c' cannot share the core of 'a'"),
        ({"b": "a", "a": "b"}, "cannot share"),
        ({"b": "a"}, r"'b' of shape \(3, 2\) cannot share"),
    ],
)
def test_operands_that_cannot_share_a_core_are_refused(shared, says):
    size = {"i": 2, "j": 3, "o": 2, "p": 2}
    with pytest.raises(ValueError, match=says):
        TensorNetwork.of({"a": "io", "b": "jp"}, size, "ij", "op", shared=shared)
