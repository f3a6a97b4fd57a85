"""The cores of a Hierarchical Tucker tensor as a plain dict, which every algorithm here reads.

Leaf k holds its frame (n_k, r), an inner node t its transfer tensor (r, r_left, r_right):
`U_t[(i, j), p] = sum_{l, r} B_t[p, l, r] U_left[i, l] U_right[j, r]`; the root has no axis p.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ht_jax.tensor.linalg import Matrix, backend
from ht_jax.tree import DimensionTree, is_integer

Cores = dict[str, Any]


def with_root_axis(cores: Mapping[str, Matrix], tree: DimensionTree) -> Cores:
    """The cores with the root's first axis (last, if the root is a leaf) of size 1 put in."""
    root = cores[tree.root]
    return {**cores, tree.root: root[:, None] if tree.is_leaf(tree.root) else root[None]}


def without_root_axis(cores: Mapping[str, Matrix], tree: DimensionTree) -> Cores:
    """The cores, with the root's axis summed: terms with a common frame become one tensor."""
    return {**cores, tree.root: cores[tree.root].sum(-1 if tree.is_leaf(tree.root) else 0)}


def rank(core: Matrix, tree: DimensionTree, node: str) -> int:
    """Size of the edge above a node: 1 for the root, whose core does not show it."""
    if node == tree.root:
        return 1
    return core.shape[-1 if tree.is_leaf(node) else 0]


def ranks(cores: Mapping[str, Matrix], tree: DimensionTree) -> dict[str, int]:
    """Ranks of all nodes but the root, children before parents."""
    return {node: rank(cores[node], tree, node) for node in tree.nodes if node != tree.root}


def expected_shape(
    node: str, tree: DimensionTree, shape: tuple[int, ...], ranks: Mapping[str, int]
) -> tuple[int, ...]:
    """Shape of the core of a node, given mode sizes and ranks."""
    own = () if node == tree.root else (ranks[node],)
    if tree.is_leaf(node):
        return (shape[tree.modes(node)[0]], *own)
    left, right = tree.children(node)
    return (*own, ranks[left], ranks[right])


def clipped_ranks(
    tree: DimensionTree, shape: tuple[int, ...], asked: int | Mapping[str, int]
) -> dict[str, int]:
    """Ranks no larger than asked, nor than any tensor of this shape can use.

    A rank cannot exceed the product of the two others at its node: one pass from the leaves,
    one from the root.

    >>> clipped_ranks(DimensionTree.balanced(3), (2, 3, 9), 5)
    {'leaf_0': 2, 'leaf_1': 3, 'node_0_1': 5, 'leaf_2': 5}
    """
    bound = {n: asked if isinstance(asked, int) else asked[n] for n in tree.nodes if n != tree.root}
    for node in bound:
        if tree.is_leaf(node):
            most = shape[tree.modes(node)[0]]
        else:
            left, right = tree.children(node)
            most = bound[left] * bound[right]
        bound[node] = min(bound[node], most)
    for node in reversed(tree.inner):
        left, right = tree.children(node)
        own = 1 if node == tree.root else bound[node]
        bound[left] = min(bound[left], bound[right] * own)
        bound[right] = min(bound[right], bound[left] * own)
        bound[left] = min(bound[left], bound[right] * own)
    return bound


def to_dense(cores: Mapping[str, Matrix], tree: DimensionTree) -> Matrix:
    """The full tensor, by one matrix product a node, leaves to root."""
    full = dict(with_root_axis(cores, tree))
    for node in tree.inner:
        left, right = (full.pop(child) for child in tree.children(node))
        core = full[node]  # (p, l, r)
        p = core.shape[0]
        half = left @ core.transpose(1, 2, 0).reshape(core.shape[1], -1)  # (i, r p)
        half = half.reshape(left.shape[0], -1, p).transpose(0, 2, 1).reshape(-1, core.shape[2])
        both = (half @ right.T).reshape(left.shape[0], p, right.shape[0])
        full[node] = both.transpose(0, 2, 1).reshape(-1, p)
    order = tree.modes(tree.root)
    sizes = [cores[f"leaf_{k}"].shape[0] for k in order]
    return backend(core := full[tree.root]).transpose(core.reshape(sizes), _inverse(order))


def _inverse(order: tuple[int, ...]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)


def rank_bounds(
    tree: DimensionTree, max_rank: int | None, ranks: Mapping[str, int] | None
) -> dict[str, int]:
    """Bounds on ranks by node, from one for all and from some by name.

    Raises:
        ValueError: a bound below 1, or a name that is no node below the root.
    """
    nodes = [node for node in tree.nodes if node != tree.root]
    bounds = {} if max_rank is None else dict.fromkeys(nodes, max_rank)
    for node, bound in (ranks or {}).items():
        if node not in nodes:
            raise ValueError(f"ranks names {node!r}, but the nodes below the root are {nodes}")
        bounds[node] = min(bound, bounds.get(node, bound))
    for node, bound in bounds.items():
        if not is_integer(bound) or bound < 1:
            raise ValueError(f"the rank of {node} is bounded by {bound!r}: an int of at least 1")
    return bounds
