"""Dimension trees."""

import copy
import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ht_jax import DimensionTree


def nested_trees(modes):
    """All shapes of trees over the given modes, by splitting at random."""
    if len(modes) == 1:
        return st.just(modes[0])
    return st.integers(1, len(modes) - 1).flatmap(
        lambda cut: st.tuples(nested_trees(modes[:cut]), nested_trees(modes[cut:]))
    )


trees = (
    st.integers(1, 9)
    .flatmap(lambda d: st.permutations(range(d)))
    .flatmap(nested_trees)
    .map(DimensionTree)
)


@given(trees)
def test_nodes_come_children_first_and_count_2d_minus_1(tree):
    assert len(tree.nodes) == len(set(tree.nodes)) == 2 * tree.num_modes - 1
    assert tree.nodes[-1] == tree.root
    for node in tree.inner:
        left, right = tree.children(node)
        assert max(tree.nodes.index(left), tree.nodes.index(right)) < tree.nodes.index(node)
        assert set(tree.modes(node)) == {*tree.modes(left), *tree.modes(right)}


@given(trees)
def test_equal_trees_hash_alike_and_draw_every_node(tree):
    again = DimensionTree(tree.nested)
    assert again == tree
    assert hash(again) == hash(tree)
    assert len(tree.draw().splitlines()) == len(tree.nodes)


@pytest.mark.parametrize(
    ("count", "nested"), [(1, 0), (2, (0, 1)), (5, (((0, 1), 2), (3, 4))), (3, ((0, 1), 2))]
)
def test_balanced_gives_the_left_child_the_larger_half(count, nested):
    assert DimensionTree.balanced(count).nested == nested


def test_names_tell_modes_apart():
    assert DimensionTree(((0, 2), 1)).nodes == (
        "leaf_0",
        "leaf_2",
        "node_0__2",
        "leaf_1",
        "node_0_2",
    )


DEEP = {
    "linear": lambda d: DimensionTree.linear(d).nested,
    "linear from its end": lambda d: functools.reduce(lambda r, k: (k, r), range(1, d), 0),
    "first modes below": lambda d: functools.reduce(lambda r, k: (r, k), range(1, d), 0),
    "lists": lambda d: functools.reduce(lambda r, k: [k, r], range(1, d), 0),
    "balanced": lambda d: DimensionTree.balanced(d).nested,
}


@pytest.mark.parametrize("nested", DEEP.values(), ids=DEEP)
def test_a_tree_may_be_deeper_than_the_recursion_limit(nested):
    tree, again = DimensionTree(nested(5000)), DimensionTree(nested(5000))
    assert tree == again
    assert hash(tree) == hash(again)
    assert tree != DimensionTree.linear(4999)
    assert len(tree.nodes) == 9999
    assert tree.root == "node_0_4999"
    assert set(tree.modes(tree.root)) == set(range(5000))
    assert {child for node in tree.inner for child in tree.children(node)} == {*tree.nodes[:-1]}
    assert repr(tree).count("(") == 5000
    assert copy.deepcopy(tree) == tree


def test_a_deep_tree_is_drawn():
    lines = DimensionTree.linear(1500).draw().splitlines()
    assert len(lines) == 2999
    assert lines[3] == "    ├── leaf_1"
    assert lines[-1] == " " * 4 * 1498 + "└── leaf_1499"


def test_numpy_integers_are_modes():
    tree = DimensionTree((np.int64(0), (np.uint8(1), np.int32(2))))
    assert tree == DimensionTree.linear(3)
    assert repr(tree) == "DimensionTree((0, (1, 2)))"
    assert DimensionTree.balanced(np.int64(3)) == DimensionTree.balanced(3)


@given(trees)
def test_a_fold_rebuilds_the_tree(tree):
    assert tree.fold(lambda mode: mode, lambda left, right: (left, right)) == tree.nested


@pytest.mark.parametrize("make", [DimensionTree.balanced, DimensionTree.linear])
@pytest.mark.parametrize("bad", [0, -2, 2.0, True, "3", None])
def test_a_number_of_modes_is_a_positive_int(make, bad):
    with pytest.raises(ValueError, match=f"not {bad!r}"):
        make(bad)


@pytest.mark.parametrize("bad", [(0, 0), (0, 2), (1, 2), ((0, 1, 2), 3), (0, -1), "ab", 1.5, ()])
def test_bad_trees_are_refused(bad):
    with pytest.raises(ValueError, match=r"exactly once|a pair"):
        DimensionTree(bad)


def test_unknown_nodes_are_named():
    tree = DimensionTree.balanced(3)
    with pytest.raises(ValueError, match="'leaf_3' is not a node"):
        tree.modes("leaf_3")
    with pytest.raises(ValueError, match="no children"):
        tree.children("leaf_0")
    with pytest.raises(ValueError, match="at least one mode"):
        DimensionTree.balanced(0)
