"""CP: the canonical polyadic format, the sum of `rank` outer products of vectors.

`kernel[(i_1 .. i_m), (o_1 .. o_n)] = sum_r A_1[i_1, r] ... A_m[i_m, r] B_1[o_1, r] ... B_n[o_n, r]`
(Kolda and Bader 2009, section 3).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ht_jax.formats.base import Fit, ModeFormat, as_int
from ht_jax.formats.fitting import as_tensor, check_kernel, fit, refuse_tol, tell_rank
from ht_jax.formats.multistart import fit_network
from ht_jax.formats.ranks import bounded
from ht_jax.formats.svd import leading
from ht_jax.formats.weight import Weight
from ht_jax.network import TensorNetwork
from ht_jax.tensor import linalg


@dataclasses.dataclass(frozen=True, repr=False)
class CP(ModeFormat):
    """Canonical polyadic form over separate in and out modes, whose numbers may differ.

    Cores: `in_k` (m_k, rank), `out_k` (n_k, rank), with one rank index in all of them. The
    modes are not paired: each has a factor of its own. A rank above what any tensor of this
    shape needs is kept, with a `RankWarning`.

    Args:
        in_modes, out_modes: any number of each.
        rank: number of outer products.
        in_features, out_features, gates: see `ModeFormat`.

    Raises:
        ValueError: a rank below 1.

    Example:
        >>> CP((8, 20, 20, 18), (4, 4, 4, 4), rank=8).with_gates(4).num_params
        752
    """

    papers: ClassVar[tuple[str, ...]] = ("kolda2009",)

    rank: int

    def __post_init__(self) -> None:
        super().__post_init__()
        as_int(self, "rank")
        self._check_rank()

    def _check_rank(self) -> None:
        modes = self.in_modes + self.out_modes
        most = math.prod(modes) // max(modes)
        tell_rank(self, "the rank", self.rank, most, clipped=False)

    def network(self) -> TensorNetwork:
        """The factors, inputs then outputs."""
        return cp_network(self.in_modes, self.out_modes, self.rank)

    def from_dense(
        self,
        kernel: Float[Array, "in_features out_features"],
        *,
        tol: float | None = None,
        rank: int | None = None,
        key: jax.Array | None = None,
    ) -> tuple[Weight, Fit]:
        """Alternating least squares, started from singular vectors and at random: see
        `Format.from_dense`. The rank is given, not found: `tol` is refused."""
        refuse_tol(self, tol)
        kernel = check_kernel(kernel, self, iterative=True)
        fmt = bounded(self, rank)
        key = jax.random.key(0) if key is None else key
        x, net = as_tensor(kernel, fmt), fmt.network()

        def start():
            return dict(zip(net.indices, _singular_start(x, fmt.rank, key)))

        cores, starts = fit_network(net, x, key, [start])
        return fit(Weight(cores, fmt), kernel, starts)


def cp_network(in_modes: Sequence[int], out_modes: Sequence[int], rank: int) -> TensorNetwork:
    """The network of a CP tensor: factors `in_k`, `out_k` that share one rank index."""
    inputs = [f"i{k}" for k in range(len(in_modes))]
    outputs = [f"o{k}" for k in range(len(out_modes))]
    cores = {f"in_{i[1:]}": (i, "r") for i in inputs}
    cores |= {f"out_{o[1:]}": (o, "r") for o in outputs}
    size = {"r": rank, **dict(zip(inputs + outputs, (*in_modes, *out_modes)))}
    return TensorNetwork.of(cores, size, inputs, outputs)


def _singular_start(x: Float[Array, "*modes"], rank: int, key: jax.Array) -> list[Array]:
    """For each mode the leading singular vectors, and random ones where they are too few."""
    start = []
    for axis, n in enumerate(x.shape):
        u = jnp.asarray(leading(linalg.on_host(x), axis, min(rank, n)))
        noise = jax.random.normal(jax.random.fold_in(key, axis), (n, rank - u.shape[1]), x.dtype)
        start.append(jnp.concatenate([u, noise / math.sqrt(n)], axis=1))
    return start
