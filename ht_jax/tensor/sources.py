"""What can be orthogonalised without being formed: sums, products and CP tensors.

A source gives the frame of a leaf, and joins the triangular factors R_l, R_r of the QR
decompositions below a node: `(R_l kron R_r) B_t`, which is small even where B_t is not
(Kressner and Tobler 2014, sections 6.2 and 6.3).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import jax
import numpy as np

from ht_jax.tensor.arrays import as_cores
from ht_jax.tensor.cores import Cores, with_root_axis, without_root_axis
from ht_jax.tensor.linalg import Matrix, backend, einsum, orthonormal, orthonormal_rows
from ht_jax.tensor.scale import Exponent, placed, unit
from ht_jax.tree import DimensionTree


class Source(Protocol):
    """A Hierarchical Tucker tensor that need not exist core by core."""

    @property
    def tree(self) -> DimensionTree:
        """The dimension tree."""
        ...

    def leaf(self, node: str) -> Matrix:
        """The frame (n, s) of a leaf."""
        ...

    def join(self, node: str, left: Matrix, right: Matrix) -> Matrix:
        """`B_t` (s, a, b) with `left` (a, s_left) and `right` (b, s_right) applied to it."""
        ...


@dataclasses.dataclass(frozen=True)
class Sum:
    """The sum of tensors: block-diagonal transfer tensors, of which only the blocks are touched."""

    terms: Sequence[Cores]
    tree: DimensionTree

    def leaf(self, node: str) -> Matrix:
        """The frames of the terms, side by side."""
        return _concatenate([term[node] for term in self.terms], 1)

    def join(self, node: str, left: Matrix, right: Matrix) -> Matrix:
        """Each term's block."""
        parts, above, below = [], 0, 0
        for term in self.terms:
            core = term[node]
            blocks = left[:, above:][:, : core.shape[1]], right[:, below:][:, : core.shape[2]]
            parts.append(einsum("slr,al,br->sab", core, *blocks))
            above, below = above + core.shape[1], below + core.shape[2]
        return _concatenate(parts, 0)


@dataclasses.dataclass(frozen=True)
class Product:
    """A product of two tensors: Kronecker products of the transfer tensors.

    Args:
        x, y: cores, with the root's axis.
        tree: the tree of both.
        of_leaves: the product of two leaf frames (n, a), (m, b) -> (k, a b).
    """

    x: Cores
    y: Cores
    tree: DimensionTree
    of_leaves: Callable[[int, Matrix, Matrix], Matrix]

    def leaf(self, node: str) -> Matrix:
        """The product of the two frames."""
        return self.of_leaves(self.tree.modes(node)[0], self.x[node], self.y[node])

    def join(self, node: str, left: Matrix, right: Matrix) -> Matrix:
        """Both transfer tensors with both factors, smallest intermediate first."""
        x, y = self.x[node], self.y[node]
        left = left.reshape(-1, x.shape[1], y.shape[1])
        right = right.reshape(-1, x.shape[2], y.shape[2])
        joined = einsum("slr,tmq,alm,brq->stab", x, y, left, right)
        return joined.reshape(-1, *joined.shape[2:])


@dataclasses.dataclass(frozen=True)
class CPSum:
    """The sum of R outer products: superdiagonal transfer tensors that are never formed."""

    factors: Sequence[Matrix]
    tree: DimensionTree

    def leaf(self, node: str) -> Matrix:
        """The factor matrix (n, R)."""
        return self.factors[self.tree.modes(node)[0]]

    def join(self, node: str, left: Matrix, right: Matrix) -> Matrix:
        """A transposed Khatri-Rao product."""
        del node
        return einsum("as,bs->sab", left, right)


def cp_factors(factors: Sequence[Matrix], weights: Matrix | None) -> list[jax.Array]:
    """The factors (n_k, r) of a CP tensor, checked, with the weights (r,) in the first.

    Raises:
        ValueError: there are none, one is no matrix, or the numbers of columns differ.
    """
    named = {f"factor {k}": factor for k, factor in enumerate(factors)}
    if not named:
        raise ValueError("a CP tensor needs at least one factor (n, r)")
    arrays = as_cores(named if weights is None else {**named, "weights": weights})
    scales = arrays.pop("weights", None)
    found, rank = list(arrays.values()), arrays["factor 0"].shape[-1:]
    for name, factor in arrays.items():
        if factor.ndim != 2 or factor.shape[1:] != rank:
            raise ValueError(
                f"{name} has shape {factor.shape}: unequal columns, all are (n, r) with one r, "
                f"and the shapes are {[f.shape for f in found]}"
            )
    if scales is None:
        return found
    if scales.shape != rank:
        raise ValueError(f"weights have shape {scales.shape}: one a term is {rank}")
    return [found[0] * scales[None], *found[1:]]


def rowwise(k: int, x: Matrix, y: Matrix) -> Matrix:
    """The element-wise product of two frames: every column of one with every one of the other."""
    del k
    return einsum("na,nb->nab", x, y).reshape(x.shape[0], -1)


def sum_of(terms: Sequence[Mapping[str, Matrix]], tree: DimensionTree) -> Sum:
    """The source of a sum of cores as tensors hold them."""
    return Sum([with_root_axis(term, tree) for term in terms], tree)


def orthogonal_cores(source: Source) -> Cores:
    """Cores with orthonormal frames at every node but the root, which carries the norm."""
    cores, exponent = unit_cores(source)
    return placed(cores, source.tree, exponent)


@jax.named_scope("ht.orthogonalize")
def unit_cores(source: Source) -> tuple[Cores, Exponent]:
    """`orthogonal_cores` with a root near 1, and the exponent of the tensor.

    Every triangular factor is freed of its power of two, so no product of them overflows.
    """
    tree, cores, rest, exponent = source.tree, {}, {}, 0
    for node in tree.nodes:
        if tree.is_leaf(node):
            core = source.leaf(node)
        else:
            core = source.join(node, *(rest.pop(child) for child in tree.children(node)))
        if node == tree.root:
            cores[node] = core
            continue
        if tree.is_leaf(node):
            cores[node], factor = orthonormal(core)
        else:
            low, rows = orthonormal_rows(core.reshape(core.shape[0], -1))
            cores[node], factor = rows.reshape(-1, *core.shape[1:]), low.T
        # XLA takes numbers below the normal ones for zero, so there the root meets factors near 1.
        rest[node], power = unit(factor, always=backend(factor) is not np)
        exponent = exponent + power
    cores = without_root_axis(cores, tree)
    cores[tree.root], power = unit(cores[tree.root])
    return cores, exponent + power


@jax.named_scope("ht.form")
def formed_cores(source: Source) -> Cores:
    """The cores of a source, formed as they are: ranks multiply, nothing is orthogonalised."""
    tree, cores = source.tree, {}
    for node in tree.nodes:
        if tree.is_leaf(node):
            cores[node] = source.leaf(node)
        else:
            left, right = (cores[child] for child in tree.children(node))
            sizes = (
                n.shape[-1 if tree.is_leaf(c) else 0]
                for n, c in zip((left, right), tree.children(node))
            )
            eyes = [backend(left).eye(size, dtype=left.dtype) for size in sizes]
            cores[node] = source.join(node, *eyes)
    return without_root_axis(cores, tree)


def _concatenate(parts: Sequence[Matrix], axis: int) -> Matrix:
    return parts[0] if len(parts) == 1 else backend(*parts).concatenate(parts, axis)
