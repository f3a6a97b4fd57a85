"""Training on the manifold of fixed ranks: the HT matrices of a model move by Riemannian steps.

The optimizer sees, in place of each core's gradient, the Riemannian one, whose scale does not
depend on how the matrix is cut into cores; the other parameters it sees as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from ht_jax import nn
from ht_jax.compression.adapt import as_tensor
from ht_jax.compression.paths import as_weight
from ht_jax.compression.sites import owner
from ht_jax.formats import HT, Weight
from ht_jax.summary import walk
from ht_jax.tensor import HTTensor, orthogonalize
from ht_jax.tensor.riemannian import gauged, horizontal, retract


def orthonormal(model: nnx.Module) -> nnx.Module:
    """A copy of a model whose HT matrices, the same ones, have orthonormal frames."""
    model = nnx.clone(model)
    for layer, fmt in _layers(model).values():
        layer.hold(as_weight(orthogonalize(as_tensor(layer.weight)), fmt))
    return model


def on_manifold(
    model: nnx.Module, optimizer: optax.GradientTransformation
) -> optax.GradientTransformation:
    """An optimizer for a model's parameters that keeps its HT matrices orthonormal.

    Args:
        model: what `orthonormal` gave; its parameters as a pure dict are what is optimized.
        optimizer: any; its state is kept in the coordinates of the cores.

    Returns:
        The transformation, whose state is that of `optimizer`.

    Example:
        >>> import ht_jax as ht
        >>> layer = ht.nn.TensorDense(ht.HT((4, 4), (3, 3), rank=2), rngs=nnx.Rngs(0))
        >>> optimizer = on_manifold(orthonormal(layer), optax.sgd(0.1))
    """
    formats = {path: fmt for path, (_, fmt) in _layers(model).items()}

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        points = _tensors(params, formats)
        slopes = _tensors(updates, formats)
        found = {path: horizontal(points[path], slopes[path]) for path in points}
        steps, state = optimizer.update(_with(updates, found, formats), state, params)
        directions = _tensors(steps, formats)
        moved = {path: retract(x, gauged(x, directions[path])) for path, x in points.items()}
        changes = {path: jax.tree.map(jnp.subtract, moved[path], points[path]) for path in moved}
        return _with(steps, changes, formats), state

    return optax.GradientTransformation(optimizer.init, update)


def _layers(model: nnx.Module) -> dict[str, tuple[nn.TensorDense, HT]]:
    return {
        path: (module, module.format)
        for path, module in walk(model)
        if isinstance(module, nn.TensorDense) and isinstance(module.format, HT)
    }


def _tensors(params: Any, formats: Mapping[str, HT]) -> dict[str, HTTensor]:
    """The HT matrices among parameters, by path."""
    return {
        path: as_tensor(Weight(dict(owner(params, path)["cores"]), fmt))
        for path, fmt in formats.items()
    }


def _with(params: Any, tensors: Mapping[str, HTTensor], formats: Mapping[str, HT]) -> Any:
    """The parameters with other cores in their HT matrices."""
    params = jax.tree.map(lambda a: a, params)
    for path, tensor in tensors.items():
        owner(params, path)["cores"] = as_weight(tensor, formats[path]).cores
    return params
