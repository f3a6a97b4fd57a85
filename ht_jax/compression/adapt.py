"""Rank adaptation: between stretches of training, ranks move to where singular values press.

A node's spectrum is continued as it ends, geometrically; where it ends steeply the rank falls,
where it ends flat the rank grows, for as many numbers as before. Growth keeps the matrix.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ht_jax import nn
from ht_jax.compression.paths import as_weight, falling_ranks
from ht_jax.compression.whiten import Whitener
from ht_jax.formats import HT, Weight
from ht_jax.formats.fitting import widened
from ht_jax.summary import walk
from ht_jax.tensor import HTTensor, singular_values, truncate

GROWTH = 4  # singular values by which a spectrum is continued


def adapted(
    model: nnx.Module, key: jax.Array, whiteners: Mapping[str, Whitener] | None = None
) -> nnx.Module:
    """A copy of a model whose HT matrices have other ranks, for at most as many numbers.

    Args:
        model: the model.
        key: for the directions in which frames grow.
        whiteners: by the name of a matrix, coordinates in which its singular values say what
            the outputs feel; by default its own.
    """
    model = nnx.clone(model)
    for n, (path, module) in enumerate(walk(model)):
        if isinstance(module, nn.TensorDense) and isinstance(module.format, HT):
            weight, found = module.weight, (whiteners or {}).get(path)
            weight = found.whitened_weight(weight) if found else weight
            weight = adapt(weight, jax.random.fold_in(key, n))
            module.hold(found.coloured(weight) if found else weight)
    return model


def adapt(weight: Weight, key: jax.Array, numbers: int | None = None) -> Weight:
    """An HT weight with ranks that suit its singular values.

    Args:
        weight: the weight.
        key: for the directions in which frames grow.
        numbers: most numbers in its cores; by default as many as now.

    Returns:
        The weight: the same matrix, but for the singular values that were dropped.

    Example:
        >>> import ht_jax as ht
        >>> fmt = ht.HT((4, 4, 4), (3, 3, 3), rank=(4,), leaf_rank=(3, 3, 3))
        >>> other = adapt(fmt.init(jax.random.key(0)), jax.random.key(1))
        >>> other.format.num_params <= fmt.num_params
        True
    """
    tensor, fmt = as_tensor(widened(weight)), _ht(weight)
    dtype = next(iter(weight.cores.values())).dtype
    found = {n: np.asarray(s, np.float64) ** 2 for n, s in singular_values(tensor).items()}
    continued = {n: _continued(s, tensor.shape, n) for n, s in found.items()}
    limit = fmt.num_params if numbers is None else numbers
    fitting = (
        ranks
        for ranks, _ in falling_ranks(fmt, continued)
        if fmt.with_ranks(ranks).num_params <= limit
    )
    ranks = next(fitting, dict.fromkeys(found, 1))
    tensor = truncate(tensor, ranks={n: min(r, len(found[n])) for n, r in ranks.items()})
    return as_weight(grown(tensor, ranks, key), fmt).astype(dtype)


def as_tensor(weight: Weight) -> HTTensor:
    """An HT weight as a tensor over merged modes (m_k n_k)."""
    tree, cores = _ht(weight).dimension_tree, dict(weight.cores)
    for leaf in tree.leaves:
        cores[leaf] = cores[leaf].reshape(-1, *cores[leaf].shape[2:])
    return HTTensor(cores, tree)


def _ht(weight: Weight) -> HT:
    if not isinstance(weight.format, HT):
        raise TypeError(f"ranks are adapted in HT form, not in that of {weight.format}")
    return weight.format


def grown(tensor: HTTensor, ranks: Mapping[str, int], key: jax.Array) -> HTTensor:
    """The same tensor with larger ranks: new columns of frames are random, what reads them is 0.

    So the tensor stays, and yet the gradient of what reads them does not vanish.
    """
    tree, cores = tensor.tree, {}
    for n, node in enumerate(tree.nodes):
        core, drawn = tensor.cores[node], jax.random.fold_in(key, n)
        if not tree.is_leaf(node):
            children = [ranks[child] for child in tree.children(node)]
            core = _padded(core, (*core.shape[:-2], *children))
        if node != tree.root:
            # Leaves (n, r) hold their columns last, transfer tensors (r, r_left, r_right) first.
            flat = core if tree.is_leaf(node) else core.reshape(len(core), -1).T
            flat = _columns(flat, ranks[node], drawn)
            core = flat if tree.is_leaf(node) else flat.T.reshape(-1, *core.shape[1:])
        cores[node] = core
    return HTTensor(cores, tree)


def _columns(frame: Float[Array, "n r"], count: int, key: jax.Array) -> Float[Array, "n s"]:
    """A frame with more columns, drawn at random and of unit norm."""
    more = max(count - frame.shape[1], 0)
    new = jax.random.normal(key, (frame.shape[0], more), frame.dtype)
    return jnp.concatenate([frame, new / jnp.linalg.norm(new, axis=0, keepdims=True)], axis=1)


def _padded(core: Array, shape: tuple[int, ...]) -> Array:
    return jnp.pad(core, [(0, large - small) for small, large in zip(core.shape, shape)])


def _continued(squares: np.ndarray, shape: tuple[int, ...], node: str) -> np.ndarray:
    """A spectrum and a few values more, as its last two let expect; a leaf has no more than n."""
    ratio = squares[-1] / squares[-2] if len(squares) > 1 and squares[-2] > 0 else 0.5
    more = squares[-1] * ratio ** np.arange(1, GROWTH + 1)
    most = shape[int(node.removeprefix("leaf_"))] if node.startswith("leaf_") else None
    return np.concatenate([squares, more])[:most]
