"""Tensors made of something else than a dense one: CP, TT, random cores, ones, separable sums.

A CP tensor has superdiagonal transfer tensors; a train is a tensor on the linear tree whose
leaves are identities; a sum of d terms that each touch one mode has rank 2, whatever d is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PRNGKeyArray

from ht_jax.tensor.arithmetic import orthogonalize
from ht_jax.tensor.arrays import as_cores, checked_shape
from ht_jax.tensor.cores import Cores, clipped_ranks, expected_shape, rank_bounds, without_root_axis
from ht_jax.tensor.ht_tensor import HTTensor, as_tree
from ht_jax.tensor.linalg import on_host
from ht_jax.tensor.sources import CPSum, cp_factors, formed_cores
from ht_jax.tree import DimensionTree, Nested

Tree = DimensionTree | Nested | None


def from_cp(
    factors: Sequence[Inexact[Array, "n r"]],
    weights: Inexact[Array, " r"] | None = None,
    *,
    tree: Tree = None,
) -> HTTensor:
    """A sum of outer products, exactly; all ranks are the number of terms.

    Args:
        factors: one matrix (n_k, r) a mode.
        weights: factors (r,) of the terms, ones unless given.
        tree: dimension tree, balanced unless given.

    Raises:
        ValueError: the factors have different numbers of columns, or the weights another.

    >>> a = jnp.array([[1.0], [2.0]])
    >>> from_cp([a, a]).to_dense().tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """
    arrays = on_host(cp_factors(factors, weights))
    tree = as_tree(tree, len(arrays))
    cores = formed_cores(CPSum(arrays, tree))
    return HTTensor(jax.tree.map(jnp.asarray, cores), tree)


def _as_vectors(**vectors: Sequence[Any]) -> list[list[Array]]:
    """Lists of vectors by name, one vector a mode, all of one dtype."""
    named = {f"{name}[{k}]": v for name, vs in vectors.items() for k, v in enumerate(vs)}
    if not named:
        raise ValueError(f"{', '.join(vectors)}: at least one vector is needed, for one mode")
    found = as_cores(named)
    for name, vector in found.items():
        if vector.ndim != 1:
            raise ValueError(f"{name} has shape {vector.shape}: a vector (n,) is needed")
    return [[found[f"{name}[{k}]"] for k in range(len(vs))] for name, vs in vectors.items()]


def separable(vectors: Sequence[Inexact[Array, " n"]], *, tree: Tree = None) -> HTTensor:
    """The outer product of vectors: a function f_1(x_1) ... f_d(x_d) on a grid, of rank 1.

    >>> separable([jnp.arange(3.0), jnp.ones(2)]).to_dense().tolist()
    [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    """
    (found,) = _as_vectors(vectors=vectors)
    return from_cp([vector[:, None] for vector in found], tree=tree)


def ones(shape: Sequence[int], *, tree: Tree = None, dtype: Any = float) -> HTTensor:
    """The tensor of ones.

    >>> ones((2, 3)).ranks
    {'leaf_0': 1, 'leaf_1': 1}
    """
    return separable([jnp.ones(n, dtype) for n in checked_shape(shape)], tree=tree)


def from_tt(cores: Sequence[Inexact[Array, "l n r"]]) -> HTTensor:
    """A tensor train, exactly, on the linear tree.

    Args:
        cores: arrays (r_{k-1}, n_k, r_k) with r_0 = r_d = 1.

    Raises:
        ValueError: a core has not three axes, the ranks of neighbours differ, or the outer ones
            are not 1.

    >>> from_tt([jnp.ones((1, 2, 3)), jnp.ones((3, 4, 1))]).to_dense().shape
    (2, 4)
    """
    named = {f"core {k}": core for k, core in enumerate(cores)}
    if not named:
        raise ValueError("a tensor train needs at least one core (1, n, 1)")
    cores = list(as_cores(named).values())
    shapes = [core.shape for core in cores]
    if any(len(shape) != 3 for shape in shapes):
        raise ValueError(f"the cores have shapes {shapes}: each is (r, n, r) with three axes")
    ends = [1, *(shape[2] for shape in shapes)]
    if [shape[0] for shape in shapes] != ends[:-1] or ends[-1] != 1:
        raise ValueError(f"the cores have shapes {shapes}: the ranks do not meet")
    tree, found = DimensionTree.linear(len(cores)), {}
    names = [tree.root, *(tree.children(n)[1] for n in reversed(tree.inner))]
    for k, core in enumerate(cores[:-1]):
        found[f"leaf_{k}"] = jnp.eye(core.shape[1], dtype=core.dtype)
        found[names[k]] = core  # (r_{k-1}, n_k, r_k): left is the mode, right the rest
    found[names[-1]] = cores[-1][:, :, 0].T
    return HTTensor(without_root_axis({n: found[n] for n in tree.nodes}, tree), tree)


def sum_of_functions(vectors: Sequence[Inexact[Array, " n"]], *, tree: Tree = None) -> HTTensor:
    """The sum f_1(x_1) + ... + f_d(x_d) on a grid, of rank 2.

    >>> sum_of_functions([jnp.arange(2.0), jnp.arange(2.0)]).to_dense().tolist()
    [[0.0, 1.0], [1.0, 2.0]]
    """
    (found,) = _as_vectors(vectors=vectors)
    return laplace_like([jnp.ones_like(v) for v in found], found, tree=tree)


def laplace_like(
    ground: Sequence[Inexact[Array, " n"]],
    excited: Sequence[Inexact[Array, " n"]],
    *,
    tree: Tree = None,
) -> HTTensor:
    """The sum over k of g_1 x .. x e_k x .. x g_d: one factor of each term is exchanged.

    With identities as g_k and matrices as e_k it is an operator (see `operator.laplace`).

    Args:
        ground: the vectors g_k.
        excited: the vectors e_k.
        tree: dimension tree, balanced unless given.

    Raises:
        ValueError: the vectors g_k and e_k of a mode have different sizes.

    Source: Kressner and Tobler 2014, section 3.1 (all ranks are 2).

    >>> ground, excited = [jnp.ones(2)] * 3, [jnp.arange(2.0)] * 3
    >>> float(laplace_like(ground, excited)[1, 1, 0])
    2.0
    """
    ground, excited = _as_vectors(ground=ground, excited=excited)
    if [g.shape for g in ground] != [e.shape for e in excited]:
        raise ValueError(
            f"ground has the sizes {[len(g) for g in ground]} and excited "
            f"{[len(e) for e in excited]}: they must be equal, mode by mode"
        )
    tree, dtype = as_tree(tree, len(ground)), ground[0].dtype
    # column 0 has no exchanged factor, column 1 has one
    join = jnp.array([[[1, 0], [0, 0]], [[0, 1], [1, 0]]], dtype)
    cores: Cores = {n: join for n in tree.inner}
    for k, (g, e) in enumerate(zip(ground, excited)):
        cores[f"leaf_{k}"] = jnp.stack([g, e], -1)
    root = cores[tree.root]
    cores[tree.root] = root[:, 1] if tree.is_leaf(tree.root) else root[1]
    return HTTensor({node: cores[node] for node in tree.nodes}, tree)


def random(
    key: PRNGKeyArray,
    shape: Sequence[int],
    rank: int | Mapping[str, int],
    *,
    tree: Tree = None,
    dtype: Any = float,
) -> HTTensor:
    """Gaussian cores, with ranks clipped to what the shape can use.

    Args:
        key: the random key.
        shape: mode sizes.
        rank: one for all, or by node name.
        tree: dimension tree, balanced unless given.
        dtype: type of the numbers, real or complex.

    Raises:
        ValueError: a size or a rank is not an int of at least 1, or a rank is missing.

    >>> random(jax.random.key(0), (2, 3, 4), 3).ranks
    {'leaf_0': 2, 'leaf_1': 3, 'node_0_1': 3, 'leaf_2': 3}
    """
    shape = checked_shape(shape)
    tree = as_tree(tree, len(shape))
    bounds = rank_bounds(tree, *((None, rank) if isinstance(rank, Mapping) else (rank, None)))
    missing = [node for node in tree.nodes[:-1] if node not in bounds]
    if missing:
        raise ValueError(f"rank names no rank of {missing}: give one for every node")
    ranks = clipped_ranks(tree, shape, bounds)
    keys = jax.random.split(key, len(tree.nodes))
    sizes = (expected_shape(node, tree, shape, ranks) for node in tree.nodes)
    draw: Callable[..., Array] = jax.random.normal
    return HTTensor({n: draw(k, s, dtype) for n, k, s in zip(tree.nodes, keys, sizes)}, tree)


def random_with_singular_values(
    key: PRNGKeyArray,
    shape: Sequence[int],
    values: Inexact[Array, " r"],
    *,
    tree: Tree = None,
    dtype: Any = float,
) -> HTTensor:
    """A random tensor with given singular values at the two children of the root.

    Orthonormal random frames below; at the other nodes the values follow from them.

    >>> t = random_with_singular_values(jax.random.key(0), (4, 4, 4), jnp.array([2.0, 1.0]))
    >>> from ht_jax.tensor import singular_values
    >>> singular_values(t)["leaf_2"].tolist()
    [2.0, 1.0]
    """
    ((values,),) = _as_vectors(values=[values])
    t = orthogonalize(random(key, shape, len(values), tree=tree, dtype=dtype))
    root = t.cores[t.tree.root]
    if root.ndim != 2 or min(root.shape) < len(values):
        raise ValueError(f"a tensor of shape {tuple(shape)} has no {len(values)} singular values")
    return HTTensor({**t.cores, t.tree.root: jnp.diag(values).astype(root.dtype)}, t.tree)
