"""Dimension trees: which modes a Hierarchical Tucker network joins, and in what order.

A tree is static and hashable, so it can be part of a format, a jit cache key or a
JSON file. Nodes are named by the modes that they hold: `leaf_2`, `node_0_2`.
"""

from __future__ import annotations

import dataclasses
import functools
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")
Nested = Any  # int | tuple[Nested, Nested]: a recursive type that checkers handle poorly
_JOIN = -1  # in postfix notation: the node above the two subtrees before it


class _Node(NamedTuple):
    """A node: the runs of its modes, its part of the leaves from left to right, its children."""

    name: str
    runs: list[tuple[int, int]]
    start: int
    stop: int
    children: tuple[str, str] | None


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DimensionTree:
    """A binary tree over the modes 0 .. d-1 (Grasedyck 2010; Kressner and Tobler 2014).

    Args:
        nested: the tree as nested pairs of 0-based modes, for example `(((0, 1), 2), (3, 4))`.
            Every mode from 0 to d-1 stands at exactly one leaf; a single mode is an int. The
            depth is not bounded by Python's recursion limit.

    Raises:
        ValueError: a node is not a pair, or the modes are not 0 .. d-1 each once.

    Example:
        >>> tree = DimensionTree(((0, 1), 2))
        >>> tree.num_modes, tree.children("node_0_2")
        (3, ('node_0_1', 'leaf_2'))
    """

    nested: Nested

    def __post_init__(self) -> None:
        object.__setattr__(self, "nested", self.fold(lambda mode: mode, _pair))
        modes = self._order
        if sorted(modes) != list(range(len(modes))):
            raise ValueError(
                f"the leaves of tree {self._text()} are the modes {modes}: "
                f"give every mode from 0 to {len(modes) - 1} exactly once"
            )

    @classmethod
    def balanced(cls, num_modes: int) -> DimensionTree:
        """Halves the modes at every node; the left child gets ceil(d/2) of them.

        >>> DimensionTree.balanced(5).nested
        (((0, 1), 2), (3, 4))
        """
        return cls(_balanced(0, _positive(num_modes)))

    @classmethod
    def linear(cls, num_modes: int) -> DimensionTree:
        """Splits off the first mode at every node: the tree of a Tensor Train.

        >>> DimensionTree.linear(4).nested
        (0, (1, (2, 3)))
        """
        modes = range(_positive(num_modes) - 1)
        return cls(functools.reduce(lambda rest, k: (k, rest), reversed(modes), num_modes - 1))

    def fold(self, leaf: Callable[[int], T], join: Callable[[T, T], T]) -> T:
        """What becomes of the tree if leaves and nodes are replaced, children before parents.

        Args:
            leaf: from a mode.
            join: from what became of the left and of the right child.

        >>> DimensionTree(((0, 1), 2)).fold(str, lambda left, right: f"[{left} {right}]")
        '[[0 1] 2]'
        """
        return _folded(self._postfix, leaf, join)

    def renamed(self, to: Mapping[int, int]) -> DimensionTree:
        """The tree with other modes at its leaves.

        >>> DimensionTree(((0, 1), 2)).renamed({0: 2, 1: 0, 2: 1})
        DimensionTree(((2, 0), 1))
        """
        return DimensionTree(self.fold(to.__getitem__, _pair))

    @functools.cached_property
    def num_modes(self) -> int:
        """The number d of leaves."""
        return len(self._order)

    @functools.cached_property
    def root(self) -> str:
        """Name of the root node."""
        return self.nodes[-1]

    @functools.cached_property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes, children before parents, left before right; the root is last."""
        return tuple(self._by_name)

    @functools.cached_property
    def leaves(self) -> tuple[str, ...]:
        """Names of the leaves, in the order of their modes."""
        return tuple(f"leaf_{k}" for k in range(self.num_modes))

    @functools.cached_property
    def inner(self) -> tuple[str, ...]:
        """Names of the nodes that have children, children before parents; the root is last."""
        return tuple(node for node in self.nodes if not self.is_leaf(node))

    def modes(self, node: str) -> tuple[int, ...]:
        """The modes below `node`, left to right."""
        found = self._node(node)
        return self._order[found.start : found.stop]

    def is_leaf(self, node: str) -> bool:
        """Whether `node` holds a single mode."""
        return self._node(node).children is None

    def children(self, node: str) -> tuple[str, str]:
        """Names of the two children of an inner node."""
        children = self._node(node).children
        if children is None:
            raise ValueError(f"{node} is a leaf and has no children")
        return children

    def draw(self, labels: dict[str, str] | None = None) -> str:
        """The tree as indented text, one node a line.

        Args:
            labels: text to print behind a node, by node name (ranks, sizes, singular values).

        >>> print(DimensionTree(((0, 1), 2)).draw({"leaf_2": "r=4"}))
        node_0_2
        ├── node_0_1
        │   ├── leaf_0
        │   └── leaf_1
        └── leaf_2  r=4
        """
        return "\n".join(self.lines(labels))

    def lines(self, labels: dict[str, str] | None = None) -> Iterator[str]:
        """The lines of `draw`, one by one."""
        todo = [(self.root, "", "")]  # node, what its line begins with, what those below do
        while todo:
            node, head, tail = todo.pop()
            label = (labels or {}).get(node)
            yield f"{head}{node}  {label}" if label else head + node
            if not self.is_leaf(node):
                left, right = self.children(node)
                todo.append((right, tail + "└── ", tail + "    "))
                todo.append((left, tail + "├── ", tail + "│   "))

    @functools.cached_property
    def _postfix(self) -> tuple[int, ...]:
        """The tree without nesting, which Python compares, hashes, copies by recursion."""
        return _postfix_of(self.nested)

    @functools.cached_property
    def _order(self) -> tuple[int, ...]:
        """The modes of the leaves, left to right."""
        return tuple(token for token in self._postfix if token != _JOIN)

    @functools.cached_property
    def _by_name(self) -> dict[str, _Node]:
        found: dict[str, _Node] = {}
        starts = iter(range(len(self._order)))

        def add(runs: list[tuple[int, int]], start: int, stop: int, *children: _Node) -> _Node:
            names = (children[0].name, children[1].name) if children else None
            node = _Node(_name(runs), runs, start, stop, names)
            found[node.name] = node
            return node

        def leaf(mode: int) -> _Node:
            start = next(starts)
            return add([(mode, mode)], start, start + 1)

        def join(left: _Node, right: _Node) -> _Node:
            return add(_joined(left.runs + right.runs), left.start, right.stop, left, right)

        self.fold(leaf, join)
        return found

    def _node(self, node: str) -> _Node:
        if node not in self._by_name:
            raise ValueError(f"{node!r} is not a node of this tree, which has {self.nodes}")
        return self._by_name[node]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DimensionTree):
            return NotImplemented
        return self is other or self._postfix == other._postfix

    def __hash__(self) -> int:
        return hash(self._postfix)

    def __reduce__(self) -> Any:
        return _of_postfix, (self._postfix,)

    def __repr__(self) -> str:
        return f"DimensionTree({self._text()})"

    def _text(self) -> str:
        return self.fold(str, lambda left, right: f"({left}, {right})")


def _pair(left: Nested, right: Nested) -> Nested:
    return left, right


def _of_postfix(postfix: tuple[int, ...]) -> DimensionTree:
    return DimensionTree(_folded(postfix, lambda mode: mode, _pair))


def _folded(postfix: Sequence[int], leaf: Callable[[int], T], join: Callable[[T, T], T]) -> T:
    found: list[T] = []
    for token in postfix:
        if token == _JOIN:
            right, left = found.pop(), found.pop()
            found.append(join(left, right))
        else:
            found.append(leaf(token))
    return found[0]


def _postfix_of(nested: Nested) -> tuple[int, ...]:
    """Leaves and nodes in the order children first, left before right: made from its end."""
    backwards, todo = [], [nested]
    while todo:
        node = todo.pop()
        if is_integer(node) and node >= 0:
            backwards.append(int(node))
        elif isinstance(node, Sequence) and not isinstance(node, str) and len(node) == 2:
            backwards.append(_JOIN)
            todo.extend(node)
        else:
            raise ValueError(
                "a node of a dimension tree is a mode (int >= 0) or a pair, "
                f"not {reprlib.repr(node)}"
            )
    return tuple(reversed(backwards))


def _name(runs: list[tuple[int, int]]) -> str:
    """`leaf_2`; `node_0_2` for the modes 0 to 2; `node_0_1__4` where the modes leave a gap."""
    if len(runs) == 1 and runs[0][0] == runs[0][1]:
        return f"leaf_{runs[0][0]}"
    return "node_" + "__".join(f"{a}_{b}" if a < b else str(a) for a, b in runs)


def _joined(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """First and last mode of each run of consecutive modes, from the runs of two children."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if joined and joined[-1][1] + 1 == first:
            first = joined.pop()[0]
        joined.append((first, last))
    return joined


def _balanced(start: int, count: int) -> Nested:
    if count == 1:
        return start
    left = (count + 1) // 2
    return _balanced(start, left), _balanced(start + left, count - left)


def _positive(num_modes: int) -> int:
    if not is_integer(num_modes) or num_modes < 1:
        raise ValueError(f"a dimension tree needs at least one mode (an int), not {num_modes!r}")
    return int(num_modes)


def is_integer(value: Any) -> bool:
    """Whether a value is an int of Python or NumPy; a bool is none.

    Example:
        >>> is_integer(np.int64(3)), is_integer(True), is_integer(3.0)
        (True, False, False)
    """
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
