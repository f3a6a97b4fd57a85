"""Contraction of two tensors over some of their modes (ttt), and the outer product.

With the contracted modes below one child of the root in both, `Z = U (B (V^T W) C^T) Y`: the two
other children of the roots become the children of the new one (Kressner and Tobler 2014, 5.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
from jaxtyping import Array

from ht_jax.tensor.arithmetic import cross_gramians
from ht_jax.tensor.cores import with_root_axis
from ht_jax.tensor.ht_tensor import HTTensor
from ht_jax.tensor.linalg import Matrix, backend, einsum
from ht_jax.tensor.retree import change_dimtree
from ht_jax.tree import DimensionTree, Nested


@jax.named_scope("ht.ttt")
def ttt(
    x: HTTensor,
    y: HTTensor,
    x_modes: Sequence[int] = (),
    y_modes: Sequence[int] | None = None,
    *,
    tol: float | None = None,
    max_rank: int | None = None,
) -> HTTensor | Array:
    """The sum over pairs of modes, without conjugation; the outer product without any.

    Args:
        x, y: the tensors.
        x_modes: modes of x to contract.
        y_modes: modes of y to contract them with, `x_modes` unless given.
        tol, max_rank: for the change of the trees, where the contracted modes are not a node of
            x, and a node of the same form of y; see `change_dimtree`.

    Returns:
        The tensor over the other modes of x, then of y; a number if none is left.

    Raises:
        ValueError: modes are repeated, or their sizes or numbers differ.

    >>> from ht_jax.tensor import ones
    >>> ttt(ones((2, 3, 4)), ones((3, 5)), (1,), (0,)).shape
    (2, 4, 5)
    """
    first = [k % x.ndim for k in x_modes]
    second = [k % y.ndim for k in (x_modes if y_modes is None else y_modes)]
    _check(x, y, first, second)
    x_rest = [k for k in range(x.ndim) if k not in first]
    y_rest = [k for k in range(y.ndim) if k not in second]
    if not first:
        outer, inner = with_root_axis(x.cores, x.tree), with_root_axis(y.cores, y.tree)
        root = backend(*x.cores.values()).ones((1, 1), x.dtype)
        return _combined(x.tree.nested, outer, y.tree.nested, inner, x, y, root, x_rest, y_rest)
    return _contracted(x, y, first, second, x_rest, y_rest, tol, max_rank)


def _check(x: HTTensor, y: HTTensor, first: list[int], second: list[int]) -> None:
    sizes = [x.shape[k] for k in first], [y.shape[k] for k in second]
    if sizes[0] != sizes[1] or len({*first}) < len(first) or len({*second}) < len(second):
        raise ValueError(
            f"modes {first} of shape {x.shape} and {second} of shape {y.shape} do not pair up"
        )


def _contracted(x, y, first, second, x_rest, y_rest, tol, max_rank) -> HTTensor | Array:
    shared = _restricted(x.tree.nested, first)  # the form in which both hold the contracted modes
    partner = _renamed(shared, dict(zip(first, second)))
    outer, inner = _restricted(x.tree.nested, x_rest), _restricted(y.tree.nested, y_rest)
    pairs = (x, (outer, shared) if x_rest else shared), (y, (partner, inner) if y_rest else partner)
    x, y = (change_dimtree(t, tree, tol=tol, max_rank=max_rank) for t, tree in pairs)
    middle = _middle(x, y, shared, partner)  # (r_x, r_y)
    if x_rest:
        middle = x.cores[x.tree.root] @ middle
    if y_rest:
        middle = middle @ y.cores[y.tree.root]
    if not x_rest and not y_rest:
        return middle[0, 0]
    x_cores, y_cores = dict(x.cores), dict(y.cores)
    if x_rest and y_rest:
        return _combined(outer, x_cores, inner, y_cores, x, y, middle, x_rest, y_rest)
    if x_rest:
        return _single(outer, x_cores, x, middle[:, 0], x_rest)
    return _single(inner, y_cores, y, middle[0], y_rest)


def _middle(x: HTTensor, y: HTTensor, shared: Nested, partner: Nested) -> Matrix:
    """V^T W of the subtrees that hold the contracted modes."""
    tree = _numbered(shared)[0]
    parts = []
    for t, nested in ((x, shared), (y, partner)):
        cores, names = with_root_axis(t.cores, t.tree), _names(t.tree, nested)
        parts.append(dict(zip(tree.nodes, (cores[name] for name in names))))
    conjugate = {node: core.conj() for node, core in parts[0].items()}
    return cross_gramians(conjugate, parts[1], tree)[tree.root]


def _combined(outer, x_cores, inner, y_cores, x, y, root, x_rest, y_rest) -> HTTensor:
    """A new root above a subtree of x and one of y."""
    number = {k: n for n, k in enumerate(x_rest)}
    shifted = {k: n + len(x_rest) for n, k in enumerate(y_rest)}
    tree = DimensionTree((_renamed(outer, number), _renamed(inner, shifted)))
    cores = [x_cores[n] for n in _names(x.tree, outer)] + [
        y_cores[n] for n in _names(y.tree, inner)
    ]
    return HTTensor(dict(zip(tree.nodes, [*cores, root])), tree)


def _single(nested: Nested, cores, t: HTTensor, vector: Matrix, rest: list[int]) -> HTTensor:
    """The subtree itself, its rank contracted with a vector."""
    tree = DimensionTree(_renamed(nested, {k: n for n, k in enumerate(rest)}))
    found = [cores[name] for name in _names(t.tree, nested)]
    if tree.is_leaf(tree.root):
        found[-1] = found[-1] @ vector
    else:
        found[-1] = einsum("plr,p->lr", found[-1], vector)
    return HTTensor(dict(zip(tree.nodes, found)), tree)


def _restricted(nested: Nested, modes: Sequence[int]) -> Nested:
    """The tree of some of the modes; None if there are none."""
    if isinstance(nested, int):
        return nested if nested in modes else None
    left, right = (_restricted(child, modes) for child in nested)
    return (left, right) if None not in (left, right) else right if left is None else left


def _renamed(nested: Nested, to: dict[int, int]) -> Nested:
    return to[nested] if isinstance(nested, int) else tuple(_renamed(n, to) for n in nested)


def _leaves(nested: Nested) -> list[int]:
    return [nested] if isinstance(nested, int) else _leaves(nested[0]) + _leaves(nested[1])


def _numbered(nested: Nested) -> tuple[DimensionTree, dict[int, int]]:
    to = {k: n for n, k in enumerate(sorted(_leaves(nested)))}
    return DimensionTree(_renamed(nested, to)), to


def _names(tree: DimensionTree, nested: Nested) -> list[str]:
    """Names in `tree` of the nodes of one of its subtrees, children before parents."""
    wanted = set(_leaves(nested))
    return [node for node in tree.nodes if set(tree.modes(node)) <= wanted]
