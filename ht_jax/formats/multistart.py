"""Starts of the iterative fits: given ones, random ones, and the best so far with a part redrawn.

Alternating steps end in local minima in which most terms of a sum are right and one is not: there a
new start throws everything away, while redrawing one term of the best cores mends it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ht_jax.formats import contracting as tensors
from ht_jax.formats.als import descend
from ht_jax.formats.contracting import Cores
from ht_jax.formats.refine import refine
from ht_jax.network import TensorNetwork

Start = Callable[[], Cores]

STARTS = 24  # in all, at most
PATIENCE = 7  # starts in a row that may improve the error by less than 1 %


def fit_network(
    net: TensorNetwork, x: Float[Array, "*modes"], key: jax.Array, starts: Sequence[Start] = ()
) -> tuple[Cores, int]:
    """The cores whose contraction is nearest to a dense tensor, as far as they can be found.

    Each start is swept until it stagnates (`als.py`), then refined (`refine.py`), and
    the best one is refined to the end.

    Args:
        net: the network.
        x: the tensor, one axis for each open index, inputs then outputs.
        key: for the random starts.
        starts: functions that make cores to start from; others follow.

    Returns:
        The best cores found, and from how many starts. A start that meets the tensor to
        rounding is the last one.
    """
    norm = jnp.linalg.norm(x)
    if not float(norm) > 0:
        return {name: jnp.zeros(net.shape(name), x.dtype) for name in net.indices}, 0
    x, rounding = tensors.laid_out(net, x / norm), 100 * float(jnp.finfo(x.dtype).eps)
    best, least, tried, improved = {}, math.inf, 0, 0
    steps = 100 if net.num_params < 1000 else 10  # their matrix is dense
    while tried < STARTS and tried - improved <= PATIENCE and not least < rounding:
        cores = _start(net, jax.random.fold_in(key, tried), x.dtype, starts, tried, best)
        cores, error = refine(net, x, *descend(net, x, cores), settled=3e-3, steps=steps)
        tried += 1
        improved = tried if error < 0.99 * least else improved
        if error < least or not best:
            best, least = cores, error
    best, _ = refine(net, x, best, least)
    return tensors.scaled(net, best, norm), tried


def alternate(
    net: TensorNetwork, x: Float[Array, "*modes"], key: jax.Array, sweeps: int = 20
) -> Cores:
    """A few sweeps from one random start; arguments as for `fit_network`."""
    norm = jnp.maximum(jnp.linalg.norm(x), jnp.finfo(x.dtype).tiny)
    cores, _ = descend(net, tensors.laid_out(net, x / norm), draw(net, key, x.dtype), sweeps)
    return tensors.scaled(net, cores, norm)


def draw(net: TensorNetwork, key: jax.Array, dtype: Any) -> Cores:
    """Gaussian cores."""
    keys = jax.random.split(key, len(net.cores))
    return {name: jax.random.normal(k, net.shape(name), dtype) for name, k in zip(net.cores, keys)}


def _start(net, key, dtype, starts: Sequence[Start], number: int, best: Cores) -> Cores:
    """The given starts, then random ones and, two times of three, the best cores redrawn.

    The random ones stay in because terms that diverge and cancel are not mended by redrawing.
    """
    if number < len(starts):
        return starts[number]()
    if not best or (number - len(starts)) % 3 == 0 or not terms(net):
        return draw(net, key, dtype)
    return redrawn(net, key, best)


def terms(net: TensorNetwork) -> tuple[str, ...]:
    """The indices that count terms of a sum: more than two cores carry them."""
    counts = tensors.shared_by(net)
    return tuple(i for i, n in counts.items() if n > 2 and net.size[i] > 1)


def redrawn(net: TensorNetwork, key: jax.Array, cores: Cores) -> Cores:
    """The cores, with one value of one of their term indices, or of several, drawn anew."""
    pick_core, pick_index, pick_value, key = jax.random.split(key, 4)
    sets = [tuple(i for i in at if i in terms(net)) for _, at in net.operands]
    among = _choose(pick_core, [indices for indices in sets if indices])
    among = _choose(pick_index, [among, *((i,) for i in among)])
    values = jax.random.split(pick_value, len(among))
    picked = {i: _choose(v, range(net.size[i])) for i, v in zip(among, values)}
    cores, new = tensors.balanced(net, cores), draw(net, key, next(iter(cores.values())).dtype)
    for name, at in net.operands:
        if picked.keys() <= {*at}:
            part, core = tuple(picked.get(i, slice(None)) for i in at), cores[name]
            size = jnp.sqrt(jnp.mean(core**2) / jnp.mean(new[name][part] ** 2))
            cores[name] = core.at[part].set(size * new[name][part])
    return cores


def _choose(key: jax.Array, among: Sequence):
    return among[int(jax.random.randint(key, (), 0, len(among)))]
