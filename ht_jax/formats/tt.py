"""TT: the Tensor Train of TT-LSTM (Yang, Krompass and Tresp, ICML 2017), after Oseledets 2011.

`kernel[(i_1 .. i_d), (o_1 .. o_d)] = G_1[i_1, o_1] G_2[i_2, o_2] ... G_d[i_d, o_d]`, a product of
matrices (r_{k-1}, r_k) with r_0 = r_d = 1.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ht_jax.formats.base import Fit, ModeFormat, at_least_one, check_paired
from ht_jax.formats.fitting import check_kernel, fit, mode_pairs, tell_rank
from ht_jax.formats.ranks import per_edge, set_ranks
from ht_jax.formats.svd import of_order_one, tt_svd
from ht_jax.formats.weight import Weight
from ht_jax.network import TensorNetwork
from ht_jax.tensor import linalg


@dataclasses.dataclass(frozen=True, repr=False)
class TT(ModeFormat):
    """Tensor Train over the paired modes (m_k, n_k).

    Cores: `core_k` (r_{k-1}, m_k, n_k, r_k); the first and the last lack the axis of size 1.
    A rank above what the unfolding at its edge can have is clipped to it.

    Args:
        in_modes, out_modes: as many of each; core k holds in mode k and out mode k.
        rank: rank of every inner edge, or one for each of the d - 1.
        in_features, out_features, gates: see `ModeFormat`.

    Raises:
        ValueError: unequal numbers of modes, or ranks below 1 or of the wrong number.

    Example:
        >>> TT((8, 20, 20, 18), (4, 4, 4, 4), rank=4).with_gates(4).num_params
        3360
    """

    papers: ClassVar[tuple[str, ...]] = ("oseledets2011",)
    recurrent_papers: ClassVar[tuple[str, ...]] = ("yang2017tt",)

    rank: int | tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_paired(self.in_modes, self.out_modes)
        self._check_ranks()

    def _check_ranks(self) -> None:
        set_ranks(self, "rank", len(self.in_modes) - 1, "inner edges")
        asked = per_edge(self.rank, len(self.in_modes) - 1)
        for k, (rank, most) in enumerate(zip(asked, self.ranks), start=1):
            tell_rank(self, f"rank {k}", rank, most, clipped=True)

    @functools.cached_property
    def ranks(self) -> tuple[int, ...]:
        """Rank of every inner edge, clipped to the smaller side of its unfolding."""
        pairs = [m * n for m, n in zip(self.in_modes, self.out_modes)]
        before = itertools.accumulate(pairs[:-1], lambda a, b: a * b)
        asked = per_edge(self.rank, len(pairs) - 1)
        return tuple(min(r, b, math.prod(pairs) // b) for r, b in zip(asked, before))

    def network(self) -> TensorNetwork:
        """The cores, first to last."""
        count = range(len(self.in_modes))
        cores = {f"core_{k}": (*self._edge(k), f"i{k}", f"o{k}", *self._edge(k + 1)) for k in count}
        size = {f"r{k}": rank for k, rank in enumerate(self.ranks, start=1)}
        size |= {f"i{k}": m for k, m in enumerate(self.in_modes)}
        size |= {f"o{k}": n for k, n in enumerate(self.out_modes)}
        return TensorNetwork.of(cores, size, [f"i{k}" for k in count], [f"o{k}" for k in count])

    def _edge(self, k: int) -> tuple[str, ...]:
        """Index name of the edge before core k; the two ends have none."""
        return () if k in (0, len(self.in_modes)) else (f"r{k}",)

    def from_dense(
        self,
        kernel: Float[Array, "in_features out_features"],
        *,
        tol: float | None = None,
        rank: int | None = None,
        key: jax.Array | None = None,
    ) -> tuple[Weight, Fit]:
        """TT-SVD (Oseledets 2011, algorithm 1): see `Format.from_dense`. With neither `tol` nor
        `rank` the format's own ranks bound it."""
        del key
        kernel = check_kernel(kernel, self, tol=tol if rank is None else None)
        bounds = list(self.ranks) if tol is None and rank is None else None
        if rank is not None:
            at_least_one("rank", rank)
            bounds = [rank] * len(self.ranks)
        pairs = [m * n for m, n in zip(self.in_modes, self.out_modes)]
        x, scale = of_order_one(linalg.on_host(mode_pairs(kernel, self).reshape(pairs)))
        *cores, last = tt_svd(x, tol=tol, ranks=bounds)
        cores = [jnp.asarray(core) for core in (*cores, last * scale)]
        found = tuple(core.shape[-1] for core in cores[:-1])
        fmt = dataclasses.replace(self, rank=found or 1)
        net = fmt.network()
        named = {name: core.reshape(net.shape(name)) for core, name in zip(cores, net.cores)}
        return fit(Weight(named, fmt), kernel, tol=tol if rank is None else None)
