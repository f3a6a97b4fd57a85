"""Contractions of a network with a dense tensor that has its open indices: what fitting needs.

A tensor here is an array with the names of its axes. `merged` multiplies a group of cores into one
tensor, whose boundary is what the group leaves open or shares with the rest. Every operand is a
core of its own here: methods that fit one core after the other do not know of shared ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ht_jax.network import Indices, Tensor, TensorNetwork, contract

Cores = dict[str, Array]


def opened(net: TensorNetwork, group: Sequence[str]) -> Indices:
    """The open indices of a group of cores, in the order in which these carry them."""
    carried = dict.fromkeys(i for name in group for i in net.indices[name])
    return tuple(i for i in carried if i in net.inputs or i in net.outputs)


def shared(net: TensorNetwork, group: Sequence[str]) -> Indices:
    """The indices of a group of cores that other cores carry as well."""
    outside = {i for name, at in net.operands if name not in group for i in at}
    carried = dict.fromkeys(i for name in group for i in net.indices[name])
    return tuple(i for i in carried if i in outside)


def boundary(net: TensorNetwork, group: Sequence[str]) -> Indices:
    """The indices that a group of cores keeps when it is multiplied into one tensor."""
    kept = {*opened(net, group), *shared(net, group)}
    return tuple(dict.fromkeys(i for c in group for i in net.indices[c] if i in kept))


def merged(net: TensorNetwork, group: Sequence[str], cores: Mapping[str, Array]) -> Tensor:
    """A group of cores, multiplied into one tensor with the group's boundary."""
    kept = boundary(net, group)
    return contract([(cores[c], net.indices[c]) for c in group], kept), kept


def cut(net: TensorNetwork, group: Sequence[str]) -> int:
    """Where to halve a group so that the two parts' open indices span as little as possible."""
    spans = [
        net.volume(opened(net, group[:k])) + net.volume(opened(net, group[k:]))
        for k in range(1, len(group))
    ]
    return 1 + spans.index(min(spans))


def laid_out(net: TensorNetwork, x: Inexact[Array, "*modes"]) -> Inexact[Array, "*modes"]:
    """`x`, inputs then outputs, with its axes in the order in which the cores carry them."""
    axes = (*net.inputs, *net.outputs)
    return x.transpose([axes.index(i) for i in opened(net, tuple(net.indices))])


def formed(net: TensorNetwork, cores: Mapping[str, Array]) -> Inexact[Array, "*modes"]:
    """The dense tensor that the cores stand for, its axes as those of `laid_out`."""
    names = tuple(net.indices)
    half = cut(net, names) if len(names) > 1 else 0
    parts = [merged(net, part, cores) for part in (names[:half], names[half:]) if part]
    return contract(parts, opened(net, names))


def balanced(net: TensorNetwork, cores: Cores) -> Cores:
    """The same tensor from cores whose norms agree, slice by slice of every bond, then in all."""
    bonds = [i for i in shared_by(net) if i not in (*net.inputs, *net.outputs)]
    for index in bonds:
        axes = {name: at.index(index) for name, at in net.operands if index in at}
        norms = [_slice_norms(cores[name], axis) for name, axis in axes.items()]
        mean = jnp.exp(sum(jnp.log(n) for n in norms) / len(norms))
        factors = dict(zip(axes, (mean / n for n in norms)))
        cores = cores | {c: _times(cores[c], f, axes[c]) for c, f in factors.items()}
    norms = {name: jnp.maximum(jnp.linalg.norm(c), _tiny(c)) for name, c in cores.items()}
    mean = jnp.exp(sum(jnp.log(n) for n in norms.values()) / len(norms))
    return {name: core * (mean / norms[name]) for name, core in cores.items()}


def shared_by(net: TensorNetwork) -> dict[str, int]:
    """How many cores carry each index that more than one of them does."""
    counts = Counter(i for _, at in net.operands for i in at)
    return {i: n for i, n in counts.items() if n > 1}


def scaled(net: TensorNetwork, cores: Cores, factor: Array) -> Cores:
    """Balanced cores whose tensor is `factor` times that of `cores`."""
    share = factor ** (1 / len(cores))
    return {name: core * share for name, core in balanced(net, cores).items()}


def _slice_norms(core: Array, axis: int) -> Array:
    other = tuple(k for k in range(core.ndim) if k != axis)
    return jnp.maximum(jnp.sqrt(jnp.sum(core**2, axis=other)), _tiny(core))


def _times(core: Array, factor: Array, axis: int) -> Array:
    return core * factor.reshape([-1 if k == axis else 1 for k in range(core.ndim)])


def _tiny(core: Array) -> float:
    return math.sqrt(float(jnp.finfo(core.dtype).tiny))
