"""LowRank: a product of two thin matrices, the baseline that every tensor format has to beat.

`kernel = u v` with u (in_features, r) and v (r, out_features).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ht_jax.formats.base import Fit, as_int, at_least_one
from ht_jax.formats.dense import Unsplit
from ht_jax.formats.fitting import check_kernel, fit, tell_rank
from ht_jax.formats.svd import budget, of_order_one, project
from ht_jax.formats.weight import Weight
from ht_jax.network import TensorNetwork
from ht_jax.tensor import linalg


@dataclasses.dataclass(frozen=True, repr=False)
class LowRank(Unsplit):
    """A kernel of bounded rank; the sizes are not cut into modes.

    Cores: `u` (in_features, r), `v` (r, out_features). A rank above the smaller of the two
    sizes is kept, with a `RankWarning`.

    Args:
        in_features: length of the input.
        out_features: length of the output.
        rank: the inner size r.
        gates: number of equal blocks that the outputs consist of; `with_gates` sets it.

    Raises:
        ValueError: a size or a rank below 1.

    Example:
        >>> LowRank(57_600, 256, rank=1).with_gates(4).num_params
        58624
    """

    in_features: int
    out_features: int
    rank: int
    gates: int = dataclasses.field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        self._check_sizes()
        as_int(self, "rank")
        self._check_rank()

    def _check_rank(self) -> None:
        most = min(self.in_features, self.out_features)
        tell_rank(self, "the rank", self.rank, most, clipped=False)

    def network(self) -> TensorNetwork:
        """The cores `u` and `v`."""
        size = {"i": self.in_features, "r": self.rank, "o": self.out_features}
        return TensorNetwork.of({"u": ("i", "r"), "v": ("r", "o")}, size, ("i",), ("o",))

    def from_dense(
        self,
        kernel: Float[Array, "in_features out_features"],
        *,
        tol: float | None = None,
        rank: int | None = None,
        key: jax.Array | None = None,
    ) -> tuple[Weight, Fit]:
        """Truncated SVD, the best there is: see `Format.from_dense`. `u` has orthonormal
        columns; with neither `tol` nor `rank` the format's own rank bounds it."""
        del key
        kernel = check_kernel(kernel, self, tol=tol)
        bound = self.rank if tol is None and rank is None else rank
        if bound is not None:
            at_least_one("rank", bound)
        x, scale = of_order_one(linalg.on_host(kernel))
        u, v, _ = project(x, None if tol is None else budget(x, tol), bound)
        fmt = dataclasses.replace(self, rank=u.shape[1])
        cores = {"u": jnp.asarray(u), "v": jnp.asarray(v * scale)}
        return fit(Weight(cores, fmt), kernel, tol=tol if rank is None else None)
