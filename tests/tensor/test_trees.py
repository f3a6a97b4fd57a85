"""Other roots, other trees, contractions over modes, and the pictures."""

import jax
import numpy as np
import pytest

import ht_jax as ht
from ht_jax import tensor as htt
from tests.tensor.table import CASES, check, dense, name, tensor, trees

pytestmark = pytest.mark.slow

SOME = [case for case in CASES if case[2] == "random"]


@pytest.mark.parametrize("case", SOME, ids=name)
def test_change_of_root_and_tree(case):
    x = tensor(*case, dtype=np.complex128)
    a = dense(x)
    for node in x.ranks:
        moved = htt.change_root(x, node)
        assert node in moved.tree.children(moved.tree.root)
        check(moved, a)
    for tree in trees(x.ndim):
        moved = htt.change_dimtree(x, tree)
        assert moved.tree == tree
        check(moved, a)


def test_change_of_tree_within_a_tolerance():
    x = 1e6 / (1 + sum(np.ix_(*[np.linspace(0, 1, 6)] * 5)))
    for tol in (1e-2, 1e-5, 1e-9):
        t = htt.HTTensor.from_dense(x, tol=1e-14)
        moved = htt.change_dimtree(t, (((4, 0), 2), (3, 1)), tol=tol)
        assert np.linalg.norm(dense(moved) - x) <= tol * np.linalg.norm(x)
        assert moved.num_params < t.num_params
    assert max(htt.change_dimtree(t, (((4, 0), 2), (3, 1)), max_rank=2).ranks.values()) == 2


def test_the_norm_stays_where_subtrees_are_exchanged():
    # far apart in the old tree; a large norm tells an isometry from what carries it
    x = 1e6 / (1 + sum(np.ix_(*[np.linspace(0, 1, 3)] * 8)))
    t = htt.HTTensor.from_dense(x, tol=1e-14, tree=ht.DimensionTree.linear(8))
    for tol in (1e-1, 1e-3, 1e-6):
        moved = htt.change_dimtree(t, (((7, 0), (3, 5)), ((6, 1), (4, 2))), tol=tol)
        error = np.linalg.norm(dense(moved) - x) / np.linalg.norm(x)
        assert error <= tol
        assert max(moved.ranks.values()) <= 1 - np.log10(tol)


@pytest.mark.slow
def test_change_of_tree_at_many_modes():
    x = htt.random_with_singular_values(jax.random.key(0), (3,) * 16, np.array([2.0, 1.0]))
    there = htt.change_dimtree(x, ht.DimensionTree.linear(16), tol=1e-10)
    back = htt.change_dimtree(there, x.tree, tol=1e-10)
    assert float(htt.distance(x, back)) <= 3e-10 * float(htt.norm(x))
    assert max(back.ranks.values()) == 2


@pytest.mark.parametrize("case", SOME, ids=name)
def test_contraction_over_modes(case):
    x, d = tensor(*case, dtype=np.complex128), len(case[0])
    y = tensor(case[0], trees(d)[-1], 3, seed=1, dtype=np.complex128)
    a, b = dense(x), dense(y)
    for modes in ([], [0], [d - 1], [0, d - 1], list(range(1, d)), list(range(d))):
        check(htt.ttt(x, y, modes), np.tensordot(a, b, (modes, modes)))


def test_contraction_of_different_modes():
    x, y = tensor((4, 5, 2, 3), trees(4)[0], 3), tensor((3, 7, 4), trees(3)[1], 2, seed=1)
    check(htt.ttt(x, y, (3, 0), (0, 2)), np.tensordot(dense(x), dense(y), ((3, 0), (0, 2))))
    with pytest.raises(ValueError, match="do not pair up"):
        htt.ttt(x, y, (0,), (0,))


def test_plot_of_singular_values():
    pytest.importorskip("matplotlib")
    x = tensor((4, 5, 2, 3), trees(4)[1], 3)
    figure = htt.plot_sv(x)
    canvas, bars = figure.axes
    assert len(canvas.child_axes) == len(x.ranks)
    assert [bar.get_height() for bar in bars.patches] == list(x.ranks.values())
    heights = [axes.lines[0].get_ydata().max() for axes in canvas.child_axes]
    values = {float(s[0]) for s in htt.singular_values(x).values()}
    assert {round(h, 9) for h in heights} == {round(v, 9) for v in values}


def test_the_repr_shows_the_tree():
    text = repr(tensor((4, 5, 2), trees(3)[0], 2))
    assert "shape=(4, 5, 2)" in text
    assert "leaf_1  n=5 r=2" in text
