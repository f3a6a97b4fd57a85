"""HT: the hierarchical Tucker format of HT-LSTM (arXiv 2005.04366) and FDHT-LSTM (2104.05758).

Leaf k holds the frame of modes (m_k, n_k), an inner node t a transfer tensor:
`(u_t)[p] = sum_{q, r} G_t[p, q, r] * u_left[q] * u_right[r]`; the root has p = 1.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Mapping
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ht_jax.formats.base import Fit, ModeFormat, at_least_one, check_paired
from ht_jax.formats.fitting import check_kernel, fit, mode_pairs, tell_rank
from ht_jax.formats.ranks import set_ranks
from ht_jax.formats.weight import Weight
from ht_jax.network import TensorNetwork
from ht_jax.tensor import ToleranceWarning, hsvd
from ht_jax.tree import DimensionTree


@dataclasses.dataclass(frozen=True, repr=False)
class HT(ModeFormat):
    """Hierarchical Tucker over the paired modes (m_k, n_k).

    Cores: `leaf_k` (m_k, n_k, r), transfer tensors `node_a_b` (r, r_left, r_right), the root's
    without the first axis. A leaf rank above m_k n_k, or an inner rank above r_left r_right,
    is clipped to it.

    Args:
        in_modes, out_modes: as many of each; leaf k holds in mode k and out mode k.
        rank: rank of every inner node but the root, or one for each, children before parents.
        leaf_rank: rank of every leaf, or one for each; by default `rank`, if that is an int.
        tree: a `DimensionTree` or nested pairs; balanced unless given.
        in_features, out_features, gates: see `ModeFormat`.

    Raises:
        ValueError: unequal numbers of modes, ranks below 1 or of the wrong number, or a tree
            over another number of modes.

    Example:
        >>> fmt = HT((8, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5)
        >>> fmt.with_gates(4).num_params
        1245
    """

    papers: ClassVar[tuple[str, ...]] = ("grasedyck2010", "kressner2014")
    recurrent_papers: ClassVar[tuple[str, ...]] = ("yin2020ht",)
    joint_papers: ClassVar[tuple[str, ...]] = ("yin2021fdht",)

    leaf_rank: int | tuple[int, ...] | None = None
    rank: int | tuple[int, ...] = 1
    tree: DimensionTree | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_paired(self.in_modes, self.out_modes)
        if self.tree is not None and not isinstance(self.tree, DimensionTree):
            object.__setattr__(self, "tree", DimensionTree(self.tree))
        if self.tree == DimensionTree.balanced(len(self.in_modes)):
            object.__setattr__(self, "tree", None)
        if self.dimension_tree.num_modes != len(self.in_modes):
            raise ValueError(
                f"the tree {self.tree} has {self.dimension_tree.num_modes} leaves, "
                f"but in_modes {self.in_modes} are {len(self.in_modes)}"
            )
        self._check_ranks()

    def _check_ranks(self) -> None:
        inner = len(self.dimension_tree.inner) - 1
        set_ranks(self, "rank", inner, "inner nodes below the root")
        if self.leaf_rank is None and isinstance(self.rank, tuple):
            raise ValueError(f"rank {self.rank} lists the inner nodes: give leaf_rank as well")
        if self.leaf_rank is not None:
            set_ranks(self, "leaf_rank", len(self.in_modes), "leaves")
        if self.leaf_rank == self.rank and isinstance(self.rank, int):
            object.__setattr__(self, "leaf_rank", None)
        for node, asked in self._asked_ranks.items():
            tell_rank(self, f"the rank of {node}", asked, self.ranks[node], clipped=True)

    @functools.cached_property
    def dimension_tree(self) -> DimensionTree:
        """The tree, balanced unless one was given."""
        return self.tree or DimensionTree.balanced(len(self.in_modes))

    @functools.cached_property
    def _asked_ranks(self) -> dict[str, int]:
        tree = self.dimension_tree
        inner = [node for node in tree.inner if node != tree.root]
        leaf = self.rank if self.leaf_rank is None else self.leaf_rank
        leaves = tree.leaves if len(tree.leaves) > 1 else ()
        return {**_by_name(leaves, leaf), **_by_name(inner, self.rank)}

    @functools.cached_property
    def ranks(self) -> dict[str, int]:
        """Rank of every node but the root, clipped to what its own core can hold."""
        tree, ranks = self.dimension_tree, {}
        for node, asked in self._asked_ranks.items():  # children come before parents
            if tree.is_leaf(node):
                k = tree.modes(node)[0]
                most = self.in_modes[k] * self.out_modes[k]
            else:
                left, right = tree.children(node)
                most = ranks[left] * ranks[right]
            ranks[node] = min(asked, most)
        return ranks

    def network(self) -> TensorNetwork:
        """Leaves first, then transfer tensors, children before parents."""
        tree, root = self.dimension_tree, self.dimension_tree.root
        cores, size = {}, {}
        for k, leaf in enumerate(tree.leaves):
            cores[leaf] = (f"i{k}", f"o{k}", *_bond(leaf, root))
            size |= {f"i{k}": self.in_modes[k], f"o{k}": self.out_modes[k]}
        for node in tree.inner:
            left, right = tree.children(node)
            cores[node] = (*_bond(node, root), *_bond(left, root), *_bond(right, root))
        size |= {_bond(node, root)[0]: rank for node, rank in self.ranks.items()}
        count = range(len(self.in_modes))
        return TensorNetwork.of(cores, size, [f"i{k}" for k in count], [f"o{k}" for k in count])

    def from_dense(
        self,
        kernel: Float[Array, "in_features out_features"],
        *,
        tol: float | None = None,
        rank: int | None = None,
        key: jax.Array | None = None,
    ) -> tuple[Weight, Fit]:
        """Hierarchical SVD: see `Format.from_dense`. With neither `tol` nor `rank` the
        format's own ranks bound it."""
        del key
        kernel = check_kernel(kernel, self, tol=tol)
        bounds = self.ranks if tol is None and rank is None else {}
        if rank is not None:
            at_least_one("rank", rank)
            bounds = dict.fromkeys(self.ranks, rank)
        tree = self.dimension_tree
        pairs = mode_pairs(kernel, self)
        merged = jnp.asarray(pairs).reshape([m * n for m, n in zip(self.in_modes, self.out_modes)])
        with warnings.catch_warnings():  # what bounds leave of the tolerance, the fit tells
            warnings.simplefilter("ignore", ToleranceWarning)
            cores = hsvd(merged, tree, tol=tol, ranks=bounds)
        found = self.with_ranks(
            {n: c.shape[-1 if tree.is_leaf(n) else 0] for n, c in cores.items()}
        )
        for k, leaf in enumerate(tree.leaves):
            shape = (self.in_modes[k], self.out_modes[k])
            cores[leaf] = cores[leaf].reshape(*shape, *cores[leaf].shape[1:])
        return fit(Weight(dict(cores), found), kernel, tol=tol if rank is None else None)

    def with_ranks(self, ranks: Mapping[str, int]) -> Self:
        """The format with other ranks, given for every node but the root by name."""
        tree = self.dimension_tree
        inner = tuple(ranks[node] for node in tree.inner if node != tree.root)
        leaves = tuple(ranks[leaf] for leaf in tree.leaves) if inner or len(tree.leaves) > 1 else 1
        return dataclasses.replace(self, rank=inner or 1, leaf_rank=leaves)

    def _shown_fields(self):
        for name, value in super()._shown_fields():
            yield name, value.nested if name == "tree" else value


def _by_name(nodes, rank: int | tuple[int, ...]) -> dict[str, int]:
    ranks = [rank] * len(nodes) if isinstance(rank, int) else rank
    return dict(zip(nodes, ranks))


def _bond(node: str, root: str) -> tuple[str, ...]:
    """Index name of the edge from `node` to its parent; the root has none."""
    return () if node == root else ("r" + node.split("_", 1)[1],)
