"""Sums, products, inner products and norms of tensors on one dimension tree.

Sums put frames side by side, element-wise products multiply them column by column; inner
products contract both trees from the leaves: `M_t = B_t (M_left kron M_right) C_t^H`
(Kressner and Tobler 2014, section 5).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ht_jax.tensor.cores import Cores, with_root_axis
from ht_jax.tensor.linalg import Matrix, backend, einsum, on_host
from ht_jax.tensor.scale import Exponent, placed, shifted, unit, widened
from ht_jax.tensor.sources import Product, Source, formed_cores, rowwise, sum_of, unit_cores

if TYPE_CHECKING:
    from ht_jax.tensor.ht_tensor import HTTensor


def check_alike(x: HTTensor, y: HTTensor) -> None:
    """Raises ValueError unless two tensors have one shape and one tree."""
    if x.shape != y.shape:
        raise ValueError(f"the tensors have shapes {x.shape} and {y.shape}: they must be equal")
    if x.tree != y.tree:
        raise ValueError(
            f"the tensors have the trees {x.tree} and {y.tree}: "
            "bring one to the other's with change_dimtree(y, x.tree, tol=...)"
        )


@jax.named_scope("ht.add")
def add(*terms: HTTensor) -> HTTensor:
    """The sum of tensors; ranks add up. `truncate_sum` compresses without forming it.

    Raises:
        ValueError: the shapes or the trees differ.

    >>> from ht_jax.tensor import ones
    >>> float(add(ones((2, 2)), ones((2, 2)))[0, 1])
    2.0
    """
    first, tree = terms[0], terms[0].tree
    for term in terms[1:]:
        check_alike(first, term)
    cores = {node: [term.cores[node] for term in terms] for node in tree.nodes}
    return dataclasses.replace(
        first,
        cores={
            node: sum(parts[1:], parts[0])
            if tree.is_leaf(node) and node == tree.root
            else _side_by_side(parts)
            if tree.is_leaf(node)
            else _block_diagonal(parts, first=0 if node == tree.root else 1)
            for node, parts in cores.items()
        },
    )


def _side_by_side(parts: Sequence[Matrix]) -> Matrix:
    return backend(*parts).concatenate(parts, -1)


def _block_diagonal(parts: Sequence[Matrix], first: int) -> Matrix:
    """Blocks along the last two axes; along the first one, if there is one, side by side too."""
    xp = backend(*parts)
    sizes = np.array([part.shape[first:] for part in parts])
    before = np.cumsum(sizes, 0) - sizes
    after = sizes.sum(0) - before - sizes
    pads = np.stack([before, after], -1).tolist()
    blocks = [xp.pad(part, [(0, 0)] * first + pad) for part, pad in zip(parts, pads)]
    return xp.concatenate(blocks, 0) if first else sum(blocks[1:], blocks[0])


def scale(x: HTTensor, factor: Any) -> HTTensor:
    """A scalar multiple: the root is multiplied. A complex factor makes all cores complex."""
    if not jnp.ndim(factor) == 0:
        raise ValueError(f"a tensor is multiplied by a number, not by shape {jnp.shape(factor)}")
    root, dtype = x.tree.root, x.dtype
    if jnp.iscomplexobj(factor) and not jnp.issubdtype(dtype, jnp.complexfloating):
        dtype = np.result_type(dtype, np.complex64)
        x = x.astype(dtype)
    scaled = x.cores[root] * backend(x.cores[root], factor).asarray(factor, dtype=dtype)
    return dataclasses.replace(x, cores={**x.cores, root: scaled})


@jax.named_scope("ht.multiply")
def multiply(x: HTTensor, y: HTTensor) -> HTTensor:
    """The element-wise (Hadamard) product; ranks multiply.

    `truncate_product` compresses it without forming the Kronecker products.

    Raises:
        ValueError: the shapes or the trees differ.

    >>> from ht_jax.tensor import ones
    >>> float(multiply(2 * ones((2, 3)), 3 * ones((2, 3)))[1, 2])
    6.0
    """
    return dataclasses.replace(x, cores=formed_cores(product_of(x, y)))


def product_of(x: HTTensor, y: HTTensor) -> Product:
    """The source of an element-wise product."""
    check_alike(x, y)
    cores = (with_root_axis(t.cores, t.tree) for t in (x, y))
    return Product(*cores, tree=x.tree, of_leaves=rowwise)


@jax.named_scope("ht.inner")
def inner(x: HTTensor, y: HTTensor) -> Inexact[Array, ""]:
    """The inner product, the sum of conj(x) * y; right wherever the dtype can represent it.

    Under a trace the squares of each core but the root's have to be in the range of the dtype.

    Raises:
        ValueError: the shapes or the trees differ.

    Source: Kressner and Tobler 2014, section 5.2.

    >>> from ht_jax.tensor import ones
    >>> float(inner(ones((2, 3, 4)), 2 * ones((2, 3, 4))))
    48.0
    """
    check_alike(x, y)
    root, dtype = x.tree.root, jnp.result_type(x.dtype, y.dtype)
    left, right = (with_root_axis(widened(on_host(t.cores)), t.tree) for t in (x, y))
    (left[root], one), (right[root], other) = unit(left[root]), unit(right[root])
    products, exponents = scaled_gramians(left, right, x.tree)
    product = shifted(products[root][0, 0], exponents[root] + one + other)
    return jnp.asarray(product).astype(dtype)


def scaled_gramians(x: Cores, y: Cores, tree: Any) -> tuple[Cores, dict[str, Exponent]]:
    """`cross_gramians` divided by powers of two, and the exponents of these.

    They are 0 as long as all products are well inside the range of the dtype. Only NumPy looks:
    under a trace a guard would cost a third of an inner product, so there the products of each
    single core have to be inside the range, as those of orthogonal frames are.
    """
    products = cross_gramians(x, y, tree)
    if backend(*products.values()) is np:
        sizes = abs(np.stack([product[0, 0] for product in products.values()]))
        info = np.finfo(sizes.dtype)
        low, high = 2.0 ** (info.minexp + info.nmant), 2.0 ** (info.maxexp - info.nmant)
        if not (sizes.min() > low and sizes.max() < high):
            return _unit_gramians(x, y, tree)
    return products, dict.fromkeys(products, 0)


def _unit_gramians(x: Cores, y: Cores, tree: Any) -> tuple[Cores, dict[str, Exponent]]:
    """`cross_gramians` with a power of two taken from every core and every product."""
    products, exponents = {}, {}
    for node in tree.nodes:
        (core, one), (other, two) = unit(x[node]), unit(y[node])
        with np.errstate(under="ignore"):
            matrix, power = unit(_gramian(core, other, node, tree, products))
        products[node] = matrix
        exponents[node] = one + two + power
        if not tree.is_leaf(node):
            exponents[node] += sum(exponents[child] for child in tree.children(node))
    return products, exponents


def cross_gramians(x: Cores, y: Cores, tree: Any) -> Cores:
    """The matrices `U_t^H V_t` of all nodes, from cores with the root's axis."""
    products = {}
    with np.errstate(over="ignore", invalid="ignore"):  # see scaled_gramians
        for node in tree.nodes:
            products[node] = _gramian(x[node], y[node], node, tree, products)
    return products


def _gramian(x: Matrix, y: Matrix, node: str, tree: Any, products: Cores) -> Matrix:
    core = x.conj()
    if tree.is_leaf(node):
        return core.T @ y
    left, right = (products[child] for child in tree.children(node))
    # (s, l, r): one side after the other, as matrix products
    half = einsum("slr,mr->slm", y, right)
    half = einsum("slm,kl->skm", half, left)
    return core.reshape(core.shape[0], -1) @ half.reshape(half.shape[0], -1).T


@jax.custom_jvp
def norm(x: HTTensor) -> Inexact[Array, ""]:
    """The Frobenius norm, from the orthogonalised tensor: nothing is squared.

    Its gradient is that of `sqrt(inner(x, x))`, and exists wherever x is not zero.

    >>> from ht_jax.tensor import ones
    >>> float(norm(ones((2, 3, 6))))
    6.0
    """
    size, exponent = unit_norm(sum_of([widened(on_host(x.cores))], x.tree))
    return jnp.asarray(shifted(size, exponent)).astype(jnp.finfo(x.dtype).dtype)


def unit_norm(source: Source) -> tuple[Matrix, Exponent]:
    """The norm of a source, divided by a power of two, and the exponent of that."""
    cores, exponent = unit_cores(source)
    root = cores[source.tree.root]
    return backend(root).linalg.norm(root.reshape(-1)), exponent


@norm.defjvp
def _norm_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    size, exponent = unit_norm(sum_of([widened(x.cores)], x.tree))
    units = {node: unit(core) for node, core in x.cores.items()}
    direction = dataclasses.replace(x, cores={node: core for node, (core, _) in units.items()})
    _, change = jax.jvp(lambda t: inner(direction, t).real, (x,), (dx,))
    power = sum(power for _, power in units.values()) - exponent
    dtype = change.dtype
    change = shifted(change / jnp.where(size > 0, size, 1).astype(dtype), power)
    return jnp.asarray(shifted(size, exponent)).astype(dtype), change


def distance(x: HTTensor, y: HTTensor) -> Inexact[Array, ""]:
    """The norm of x - y, without the cancellation of |x|^2 - 2<x, y> + |y|^2.

    The difference is orthogonalised as a sum, so the result is right to the dtype's resolution
    times |x|, not to its square root.

    >>> from ht_jax.tensor import ones
    >>> x = ones((2, 3, 6))
    >>> float(distance(x, 1.25 * x))
    1.50
    """
    return norm(add(x, scale(y, -1)))


def orthogonalize(x: HTTensor) -> HTTensor:
    """The same tensor with orthonormal frames at every node but the root.

    Ranks above what a node can use are cut. Differentiable where the frames have full rank.

    Source: Kressner and Tobler 2014, algorithm 3.

    >>> from ht_jax.tensor import ones
    >>> t = orthogonalize(ones((2, 2)))
    >>> bool(jnp.isclose(jnp.linalg.norm(t.cores["leaf_0"]), 1))
    True
    """
    cores, exponent = unit_cores(sum_of([widened(on_host(x.cores))], x.tree))
    cores = placed(cores, x.tree, exponent, x.dtype)
    return dataclasses.replace(x, cores=jax.tree.map(jnp.asarray, cores))
