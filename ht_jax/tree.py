"""Dimension trees: which modes a Hierarchical Tucker network joins, and in what order.

A tree is static and hashable, so it can be part of a format, a jit cache key or a
JSON file. Nodes are named by the modes that they hold: `leaf_2`, `node_0_2`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

Nested = Any  # int | tuple[Nested, Nested]: a recursive type that checkers handle poorly


@dataclasses.dataclass(frozen=True)
class DimensionTree:
    """A binary tree over the modes 0 .. d-1 (Grasedyck 2010; Kressner and Tobler 2014).

    Args:
        nested: the tree as nested pairs of 0-based modes, for example `(((0, 1), 2), (3, 4))`.
            Every mode from 0 to d-1 stands at exactly one leaf; a single mode is an int.

    Raises:
        ValueError: a node is not a pair, or the modes are not 0 .. d-1 each once.

    Example:
        >>> tree = DimensionTree(((0, 1), 2))
        >>> tree.num_modes, tree.children("node_0_2")
        (3, ('node_0_1', 'leaf_2'))
    """

    nested: Nested

    def __post_init__(self) -> None:
        object.__setattr__(self, "nested", _as_pairs(self.nested))
        modes = _modes(self.nested)
        if sorted(modes) != list(range(len(modes))):
            raise ValueError(
                f"the leaves of tree {self.nested} are the modes {modes}: "
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

    @functools.cached_property
    def num_modes(self) -> int:
        """The number d of leaves."""
        return len(self.modes(self.root))

    @functools.cached_property
    def root(self) -> str:
        """Name of the root node."""
        return _name(_modes(self.nested))

    @functools.cached_property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes, children before parents, left before right; the root is last."""
        return tuple(self._nested_by_node)

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
        return _modes(self._subtree(node))

    def is_leaf(self, node: str) -> bool:
        """Whether `node` holds a single mode."""
        return isinstance(self._subtree(node), int)

    def children(self, node: str) -> tuple[str, str]:
        """Names of the two children of an inner node."""
        if self.is_leaf(node):
            raise ValueError(f"{node} is a leaf and has no children")
        left, right = self._subtree(node)
        return _name(_modes(left)), _name(_modes(right))

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
        return "\n".join(self._lines(self.root, labels or {}))

    def _lines(self, node: str, labels: dict[str, str]) -> Iterator[str]:
        yield f"{node}  {labels[node]}" if labels.get(node) else node
        if self.is_leaf(node):
            return
        left, right = self.children(node)
        for child, head, tail in ((left, "├── ", "│   "), (right, "└── ", "    ")):
            first, *rest = self._lines(child, labels)
            yield head + first
            yield from (tail + line for line in rest)

    @functools.cached_property
    def _nested_by_node(self) -> dict[str, Nested]:
        return {_name(_modes(nested)): nested for nested in _postorder(self.nested)}

    def _subtree(self, node: str) -> Nested:
        if node not in self._nested_by_node:
            raise ValueError(f"{node!r} is not a node of this tree, which has {self.nodes}")
        return self._nested_by_node[node]

    def __repr__(self) -> str:
        return f"DimensionTree({self.nested})"


def _as_pairs(nested: Nested) -> Nested:
    if isinstance(nested, int) and not isinstance(nested, bool) and nested >= 0:
        return nested
    if isinstance(nested, Sequence) and not isinstance(nested, str) and len(nested) == 2:
        return tuple(_as_pairs(child) for child in nested)
    raise ValueError(f"a node of a dimension tree is a mode (int >= 0) or a pair, not {nested!r}")


def _modes(nested: Nested) -> tuple[int, ...]:
    return (nested,) if isinstance(nested, int) else _modes(nested[0]) + _modes(nested[1])


def _postorder(nested: Nested) -> Iterator[Nested]:
    if not isinstance(nested, int):
        yield from _postorder(nested[0])
        yield from _postorder(nested[1])
    yield nested


def _name(modes: tuple[int, ...]) -> str:
    """`leaf_2`; `node_0_2` for the modes 0 to 2; `node_0_1__4` where the modes leave a gap."""
    if len(modes) == 1:
        return f"leaf_{modes[0]}"
    return "node_" + "__".join("_".join(map(str, run)) for run in _runs(sorted(modes)))


def _runs(modes: list[int]) -> list[tuple[int, ...]]:
    """First and last mode of each run of consecutive modes."""
    starts = [k for k in modes if k - 1 not in modes]
    stops = [k for k in modes if k + 1 not in modes]
    return [(a, b) if a < b else (a,) for a, b in zip(starts, stops)]


def _balanced(start: int, count: int) -> Nested:
    if count == 1:
        return start
    left = (count + 1) // 2
    return _balanced(start, left), _balanced(start + left, count - left)


def _positive(num_modes: int) -> int:
    if num_modes < 1:
        raise ValueError(f"a dimension tree needs at least one mode, not {num_modes}")
    return num_modes
