"""HTTensor: a tensor of d modes in hierarchical Tucker form, as a pytree of its cores.

`X = (U_left kron U_right) vec(B_root)`, every frame U_t being made of its children's in the same
way (Grasedyck 2010; Kressner and Tobler 2014, Algorithm 941). Storage is O(d n r + d r^3).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ht_jax.tensor import cores as _cores
from ht_jax.tensor.arithmetic import add, multiply, scale
from ht_jax.tensor.arrays import as_cores, as_dense_array, checked_shape
from ht_jax.tensor.hsvd import Order, hsvd
from ht_jax.tensor.indexing import getitem
from ht_jax.tensor.modes import sum_over
from ht_jax.tensor.scalars import divide, is_number, no_absolute_value, no_quotient, shift
from ht_jax.tensor.scalars import power as entrywise_power
from ht_jax.tree import DimensionTree, Nested

_LINES = 200  # of a drawn tree; the text of a deep one grows with the square of its depth


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class HTTensor:
    """A hierarchical Tucker tensor.

    Build one with `from_dense`, with `from_cp`, `from_tt`, `cross` (from a function of indices),
    `random` and others of `ht_jax.tensor` or, from cores, with `of`. All operations work under jit,
    vmap and grad, except those whose ranks follow from a tolerance. A batch of tensors is a batch
    of cores: use `jax.vmap`.

    `+ - * /` take tensors and numbers, `t[...]` NumPy's indices, and `numpy.asarray(t)` is the
    dense tensor; `==` and `hash` go by identity (see `distance`).

    Args:
        cores: by node: leaves (n_k, r), transfer tensors (r, r_left, r_right), the root's without
            the first axis.
        tree: the dimension tree.

    Example:
        >>> x = jnp.arange(24, dtype="float32").reshape(2, 3, 4)
        >>> t = HTTensor.from_dense(x, tol=1e-5)
        >>> t
        HTTensor(shape=(2, 3, 4), dtype=float32, 30 numbers)
        node_0_2
        ├── node_0_1  r=2
        │   ├── leaf_0  n=2 r=2
        │   └── leaf_1  n=3 r=2
        └── leaf_2  n=4 r=2
        >>> bool(jnp.allclose((2 * t - t).to_dense(), x, atol=1e-4))
        True
    """

    cores: dict[str, Any]
    tree: DimensionTree = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, cores: Mapping[str, Array], tree: DimensionTree | Nested) -> HTTensor:
        """A tensor of given cores, checked, of one dtype and in memory of its own.

        Raises:
            ValueError: a core is missing or too many, or a shape does not fit its neighbours.
            TypeError: a core is not an array of numbers.

        >>> cores = {"leaf_0": jnp.eye(2), "leaf_1": jnp.eye(2), "node_0_1": jnp.ones((2, 2))}
        >>> HTTensor.of(cores, (0, 1)).to_dense().tolist()
        [[1.0, 1.0], [1.0, 1.0]]
        """
        tree = as_tree(tree, None)
        if set(cores) != set(tree.nodes):
            raise ValueError(f"cores {sorted(cores)} are not those of the tree: {tree.nodes}")
        tensor = cls(as_cores({node: cores[node] for node in tree.nodes}), tree)
        for node, core in tensor.cores.items():
            ndim = (1 if tree.is_leaf(node) else 2) + (node != tree.root)
            if core.ndim != ndim:
                raise ValueError(f"core {node} has shape {core.shape}: it needs {ndim} axes")
        for node, core in tensor.cores.items():
            expected = _cores.expected_shape(node, tree, tensor.shape, tensor.ranks)
            if core.shape != expected:
                raise ValueError(
                    f"core {node} has shape {core.shape}, but its neighbours need {expected}"
                )
        return tensor

    @classmethod
    def from_dense(
        cls,
        x: Inexact[Array, ...],
        *,
        tol: float | None = None,
        abs_tol: float | None = None,
        max_rank: int | None = None,
        ranks: Mapping[str, int] | None = None,
        tree: DimensionTree | Nested | None = None,
        order: Order = "leaves to root",
        key: Array | None = None,
    ) -> HTTensor:
        """The hierarchical SVD of a dense tensor.

        Args:
            x: tensor with d axes, any of which may have size 1.
            tol: relative Frobenius error: kept; a bound on ranks that does not allow it warns.
            abs_tol: absolute Frobenius error; with both, the larger error is allowed.
            max_rank: bound on all ranks; static, so this works under jit, vmap and grad.
            ranks: bound on ranks by node name, likewise.
            tree: dimension tree, balanced unless given.
            order: "leaves to root" (fast) or "root to leaves".
            key: randomized range finders where ranks are bounded.

        Raises:
            ValueError: a tolerance under a trace or below the dtype's reach, an unknown node, a
                rank below 1, values that are not finite.

        Warns:
            ToleranceWarning: a bound on the ranks does not allow the tolerance.

        The derivative is that of `truncate`; where the bounds cut nothing, that of the identity.

        Source: Grasedyck 2010, section 3; Kressner and Tobler 2014, section 4.

        >>> x = 1 / (1 + sum(jnp.ix_(*[jnp.arange(8.0)] * 3)))
        >>> t = HTTensor.from_dense(x, tol=1e-4)
        >>> bool(jnp.linalg.norm(t.to_dense() - x) <= 1e-4 * jnp.linalg.norm(x)), t.num_params
        (True, 237)
        """
        x = jnp.asarray(x)
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            raise ValueError(f"x has dtype {x.dtype}: give a floating or complex one")
        checked_shape(x.shape)
        tree = as_tree(tree, x.ndim)
        limits: Any = {"tol": tol, "abs_tol": abs_tol, "max_rank": max_rank, "ranks": ranks}
        return cls(hsvd(x, tree, **limits, order=order, key=key), tree)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the modes."""
        return tuple(self.cores[leaf].shape[0] for leaf in self.tree.leaves)

    @property
    def ndim(self) -> int:
        """The number d of modes."""
        return self.tree.num_modes

    @property
    def size(self) -> int:
        """The number of entries, of which `num_params` numbers are stored."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all cores together."""
        return sum(core.nbytes for core in self.cores.values())

    @property
    def dtype(self) -> Any:
        """Type of the numbers."""
        return jnp.result_type(*self.cores.values())

    @property
    def ranks(self) -> dict[str, int]:
        """Rank of every node but the root, children before parents."""
        return _cores.ranks(self.cores, self.tree)

    @property
    def num_params(self) -> int:
        """Numbers in all cores together."""
        return sum(core.size for core in self.cores.values())

    @jax.named_scope("ht.to_dense")
    def to_dense(self) -> Inexact[Array, ...]:
        """The full tensor."""
        return _cores.to_dense(self.cores, self.tree)

    def conj(self) -> HTTensor:
        """The complex conjugate."""
        return HTTensor({node: core.conj() for node, core in self.cores.items()}, self.tree)

    def astype(self, dtype: Any) -> HTTensor:
        """The same tensor in another type of numbers."""
        return HTTensor({node: core.astype(dtype) for node, core in self.cores.items()}, self.tree)

    def sum(self, axis: int | Sequence[int] | None = None, out: None = None) -> HTTensor | Array:
        """The sum of the entries, or that along some modes; `out` is there for `numpy.sum`."""
        if out is not None:
            raise TypeError("HTTensor.sum makes a new tensor: leave out= away")
        return sum_over(self, axis)

    def __add__(self, other: Any) -> HTTensor:
        if isinstance(other, HTTensor):
            return add(self, other)
        return shift(self, other) if is_number(other) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other: Any) -> HTTensor:
        if isinstance(other, HTTensor):
            return add(self, -other)
        return -shift(-self, other) if is_number(other) else NotImplemented

    def __rsub__(self, other: Any) -> HTTensor:
        return -self + other

    def __neg__(self) -> HTTensor:
        return scale(self, -1)

    def __mul__(self, other: Any) -> HTTensor:
        if isinstance(other, HTTensor):
            return multiply(self, other)
        return scale(self, other) if is_number(other) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> HTTensor:
        if isinstance(other, HTTensor):
            no_quotient()
        return divide(self, other) if is_number(other) else NotImplemented

    __rtruediv__ = no_quotient
    __abs__ = no_absolute_value

    def __pow__(self, power: Any) -> HTTensor:
        return entrywise_power(self, power)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[HTTensor | Array]:
        return (self[i] for i in range(len(self)))

    __contains__ = None  # `in` compares entries, `==` whole tensors by identity

    def __bool__(self) -> bool:
        raise ValueError(f"a tensor of shape {self.shape} is neither true nor false")

    __array_ufunc__ = None  # NumPy's operators leave a tensor to those above

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return as_dense_array(self, dtype, copy)

    def __getitem__(self, index: Any) -> HTTensor | Array:
        return getitem(self, index)

    def __repr__(self) -> str:
        shapes = [jnp.shape(core) for core in self.cores.values()]
        if not all(shapes) or set(self.cores) != set(self.tree.nodes):  # a tree of something else
            return f"HTTensor({self.cores}, {self.tree})"
        ranks = {node: f"r={r}" for node, r in self.ranks.items()}
        labels = ranks | {
            leaf: f"n={n} {ranks.get(leaf, '')}".strip()
            for leaf, n in zip(self.tree.leaves, self.shape)
        }
        head = f"HTTensor(shape={self.shape}, dtype={self.dtype}, {self.num_params:,} numbers)"
        lines = [head, *itertools.islice(self.tree.lines(labels), _LINES)]
        more = len(self.tree.nodes) - _LINES
        return "\n".join(lines if more <= 0 else [*lines, f"... and {more:,} more nodes"])


def as_tree(tree: DimensionTree | Nested | None, num_modes: int | None) -> DimensionTree:
    """A dimension tree from what a user gives for it; balanced if nothing."""
    if tree is None:
        assert num_modes is not None
        return DimensionTree.balanced(num_modes)
    tree = tree if isinstance(tree, DimensionTree) else DimensionTree(tree)
    if num_modes is not None and tree.num_modes != num_modes:
        raise ValueError(f"the tree {tree} has {tree.num_modes} leaves for {num_modes} modes")
    return tree
