"""Linear operators in hierarchical Tucker form: matrices whose rows and columns are tensors.

Leaf k holds the frame of the pair (i_k, j_k) as one mode of size m_k n_k, so that an operator is a
tensor, `(A x)_t = A_t kron x_t` at every transfer tensor, and only the leaves know of the pairs
(Kressner and Tobler 2014, section 5.4).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ht_jax.tensor.arithmetic import add, scale
from ht_jax.tensor.arrays import as_cores, as_dense_array, checked_shape
from ht_jax.tensor.construct import Tree, laplace_like, separable
from ht_jax.tensor.cores import with_root_axis
from ht_jax.tensor.ht_tensor import HTTensor, as_tree
from ht_jax.tensor.linalg import Matrix, einsum, on_host
from ht_jax.tensor.scalars import divide, is_number
from ht_jax.tensor.sources import Product, formed_cores
from ht_jax.tensor.tolerance import Limits
from ht_jax.tensor.truncate import truncated


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class HTOperator:
    """A linear map from tensors of `in_shape` to tensors of `out_shape`.

    Args:
        tensor: the tensor over the pairs, of mode sizes m_k n_k, the row index i_k the slower.
        out_shape: the sizes m_k.
        in_shape: the sizes n_k.

    Example:
        >>> from ht_jax.tensor import ones
        >>> a = laplace([jnp.eye(2), jnp.eye(3)])
        >>> (a @ ones((2, 3))).to_dense().tolist()
        [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]
    """

    tensor: HTTensor
    out_shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    in_shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @classmethod
    def from_dense(
        cls, array: Inexact[Array, "*shapes"], *, tree: Tree = None, **limits: Any
    ) -> HTOperator:
        """An operator from its array (m_1, .., m_d, n_1, .., n_d): see `HTTensor.from_dense`.

        Raises:
            ValueError: the number of axes is odd.

        >>> HTOperator.from_dense(jnp.ones((2, 3, 4, 5)), max_rank=1).in_shape
        (4, 5)
        """
        array = jnp.asarray(array)
        d = array.ndim // 2
        if array.ndim != 2 * d:
            raise ValueError(f"array has shape {array.shape}: (m_1, .., m_d, n_1, .., n_d)")
        out_shape, in_shape = array.shape[:d], array.shape[d:]
        pairs = array.transpose([axis for k in range(d) for axis in (k, d + k)])
        merged = pairs.reshape([m * n for m, n in zip(out_shape, in_shape)])
        return cls(HTTensor.from_dense(merged, tree=tree, **limits), out_shape, in_shape)

    def to_dense(self) -> Inexact[Array, "*shapes"]:
        """The array (m_1, .., m_d, n_1, .., n_d)."""
        d, pairs = len(self.in_shape), zip(self.out_shape, self.in_shape)
        split = self.tensor.to_dense().reshape([size for pair in pairs for size in pair])
        return split.transpose([*range(0, 2 * d, 2), *range(1, 2 * d, 2)])

    @property
    def T(self) -> HTOperator:
        """The transpose, without conjugation."""
        cores = dict(self.tensor.cores)
        for k, (m, n) in enumerate(zip(self.out_shape, self.in_shape)):
            frame = cores[f"leaf_{k}"]
            turned = frame.reshape(m, n, -1).swapaxes(0, 1)
            cores[f"leaf_{k}"] = turned.reshape(frame.shape)
        return HTOperator(HTTensor(cores, self.tensor.tree), self.in_shape, self.out_shape)

    @property
    def H(self) -> HTOperator:
        """The adjoint: the transpose, conjugated."""
        return self.T.conj()

    def conj(self) -> HTOperator:
        """The complex conjugate."""
        return dataclasses.replace(self, tensor=self.tensor.conj())

    @property
    def dtype(self) -> Any:
        """Type of the numbers."""
        return self.tensor.dtype

    def __add__(self, other: Any) -> HTOperator:
        if not isinstance(other, HTOperator):
            return NotImplemented
        if (self.out_shape, self.in_shape) != (other.out_shape, other.in_shape):
            raise ValueError(
                f"operators {self.in_shape} -> {self.out_shape} and {other.in_shape} -> "
                f"{other.out_shape} cannot be added: the shapes must be equal"
            )
        return dataclasses.replace(self, tensor=add(self.tensor, other.tensor))

    def __neg__(self) -> HTOperator:
        return dataclasses.replace(self, tensor=-self.tensor)

    def __sub__(self, other: Any) -> HTOperator:
        return self + -other if isinstance(other, HTOperator) else NotImplemented

    def __mul__(self, factor: Any) -> HTOperator:
        if not is_number(factor):
            return NotImplemented
        return dataclasses.replace(self, tensor=scale(self.tensor, factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> HTOperator:
        if not is_number(divisor):
            return NotImplemented
        return dataclasses.replace(self, tensor=divide(self.tensor, divisor))

    __array_ufunc__ = None  # NumPy's operators leave an operator to those above

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return as_dense_array(self, dtype, copy)

    def __matmul__(self, other: Any) -> Any:
        """The operator applied to a tensor, or composed with an operator; ranks multiply."""
        if not isinstance(other, HTTensor | HTOperator):
            raise TypeError(
                f"an operator is applied to a tensor or an operator, not to a {type(other)}: "
                "HTTensor.from_dense(x, tree=a.tensor.tree) makes a tensor of an array"
            )
        source, wrap, _ = _product(self, other)
        return wrap(HTTensor(formed_cores(source), self.tensor.tree))


def apply(operator: HTOperator, x: HTTensor | HTOperator, **limits: Any) -> HTTensor | HTOperator:
    """A truncated `operator @ x`, without forming the Kronecker products.

    Args:
        operator: the operator.
        x: a tensor, or an operator to compose it with.
        **limits: tol, abs_tol, max_rank, ranks of `truncate`.

    Raises:
        ValueError: the sizes or the trees do not fit.

    >>> from ht_jax.tensor import ones
    >>> apply(laplace([jnp.eye(2), jnp.eye(3)]), ones((2, 3)), tol=1e-5).ranks
    {'leaf_0': 1, 'leaf_1': 1}
    """
    operator, x = on_host((operator, x))
    source, wrap, arrays = _product(operator, x)
    return wrap(truncated(source, arrays, Limits(**limits)))


def _product(a: HTOperator, x: Any):
    """The source of a product, what makes the result of its tensor, and the arrays behind it."""
    y = x.tensor if isinstance(x, HTOperator) else x
    inner = x.out_shape if isinstance(x, HTOperator) else x.shape
    if inner != a.in_shape or y.tree != a.tensor.tree:
        raise ValueError(
            f"an operator {a.in_shape} -> {a.out_shape} on {a.tensor.tree} cannot be applied to "
            f"shape {inner} on {y.tree}"
        )

    def of_leaves(k: int, frame: Matrix, other: Matrix) -> Matrix:
        frame = frame.reshape(a.out_shape[k], a.in_shape[k], -1)
        if isinstance(x, HTOperator):
            other = other.reshape(x.out_shape[k], x.in_shape[k], -1)
            both = einsum("ija,jkb->ikab", frame, other)
            return both.reshape(both.shape[0] * both.shape[1], -1)
        return einsum("ija,jb->iab", frame, other).reshape(frame.shape[0], -1)

    cores = (with_root_axis(t.cores, t.tree) for t in (a.tensor, y))
    source = Product(*cores, tree=y.tree, of_leaves=of_leaves)
    wrap = (
        functools.partial(HTOperator, out_shape=a.out_shape, in_shape=x.in_shape)
        if isinstance(x, HTOperator)
        else lambda tensor: tensor
    )
    return source, wrap, (a, x)


@jax.named_scope("ht.quadratic")
def quadratic(x: HTTensor, operator: HTOperator, y: HTTensor) -> Inexact[Array, ""]:
    """The inner product <x, A y>, by one sweep over the three trees; A y is never formed.

    >>> from ht_jax.tensor import ones
    >>> float(quadratic(ones((2, 3)), identity((2, 3)), ones((2, 3))))
    6.0
    """
    tree = x.tree
    left, middle, right = (with_root_axis(t.cores, tree) for t in (x, operator.tensor, y))
    found = {}
    for node in tree.nodes:
        u, a, v = left[node].conj(), middle[node], right[node]
        if tree.is_leaf(node):
            frame = a.reshape(u.shape[0], v.shape[0], -1)
            found[node] = einsum("ix,ija,jy->xay", u, frame, v)
        else:
            below = (found[child] for child in tree.children(node))
            found[node] = einsum("xlm,apq,yst,lps,mqt->xay", u, a, v, *below)
    return found[tree.root][0, 0, 0]


def kronecker(matrices: Sequence[Inexact[Array, "m n"]], *, tree: Tree = None) -> HTOperator:
    """The operator that applies one matrix to every mode: rank 1.

    >>> kronecker([jnp.ones((2, 3)), jnp.ones((4, 5))]).out_shape
    (2, 4)
    """
    matrices = _as_matrices(matrices)
    shapes = [matrix.shape for matrix in matrices]
    tensor = separable([matrix.reshape(-1) for matrix in matrices], tree=tree)
    return HTOperator(tensor, tuple(m for m, _ in shapes), tuple(n for _, n in shapes))


def _as_matrices(matrices: Sequence[Any]) -> list[Array]:
    found = as_cores({f"matrix {k}": matrix for k, matrix in enumerate(matrices)})
    for name, matrix in found.items():
        if matrix.ndim != 2:
            raise ValueError(f"{name} has shape {matrix.shape}: two axes (m, n) are needed")
    return list(found.values())


def identity(shape: Sequence[int], *, tree: Tree = None, dtype: Any = float) -> HTOperator:
    """The identity.

    >>> identity((2, 3)).to_dense().shape
    (2, 3, 2, 3)
    """
    return kronecker([jnp.eye(n, dtype=dtype) for n in checked_shape(shape)], tree=tree)


def laplace(matrices: Sequence[Inexact[Array, "n n"]], *, tree: Tree = None) -> HTOperator:
    """The sum of matrices that each act on one mode, A_1 x I .. x I + .. + I x .. x A_d: rank 2.

    Raises:
        ValueError: a matrix is not square.

    Source: Kressner and Tobler 2014, section 3.1 (`gen_laplace` of the toolbox).

    >>> laplace([jnp.eye(4)] * 8).tensor.ranks["node_0_3"]
    2
    """
    matrices = _as_matrices(matrices)
    for k, matrix in enumerate(matrices):
        if matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"matrix {k} has shape {matrix.shape}: it must be square")
    tree = as_tree(tree, len(matrices))
    eyes = [jnp.eye(len(a), dtype=a.dtype).reshape(-1) for a in matrices]
    tensor = laplace_like(eyes, [a.reshape(-1) for a in matrices], tree=tree)
    shape = tuple(math.isqrt(eye.size) for eye in eyes)
    return HTOperator(tensor, shape, shape)
