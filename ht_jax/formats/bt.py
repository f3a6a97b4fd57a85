"""BT: the block-term format of BT-LSTM (Ye et al., CVPR 2018), after De Lathauwer 2008.

`kernel = sum_n core_n x_1 F_{n,1} x_2 ... x_d F_{n,d}`: N Tucker terms over the paired modes, each
with a core (R, ..., R) and factors F_{n,k} (m_k, n_k, R).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
from jaxtyping import Array, Float

from ht_jax.formats.base import Fit, ModeFormat, as_int, check_paired
from ht_jax.formats.fitting import as_tensor, check_kernel, fit, refuse_tol, tell_rank
from ht_jax.formats.multistart import fit_network
from ht_jax.formats.ranks import bounded
from ht_jax.formats.weight import Weight
from ht_jax.network import Indices, TensorNetwork


@dataclasses.dataclass(frozen=True, repr=False)
class BT(ModeFormat):
    """A sum of `terms` Tucker terms over the paired modes (m_k, n_k).

    Cores: `factor_k` (terms, m_k, n_k, rank), `core` (terms, rank, ..., rank). A rank above
    m_k n_k is kept, with a `RankWarning`.

    Args:
        in_modes, out_modes: as many of each; factor k holds in mode k and out mode k.
        rank: rank R of every factor.
        terms: number N of terms.
        in_features, out_features, gates: see `ModeFormat`.

    Raises:
        ValueError: unequal numbers of modes, or a rank or a number of terms below 1.

    Example:
        >>> BT((8, 20, 20, 18), (4, 4, 4, 4), rank=4, terms=2).with_gates(4).num_params
        3392
    """

    papers: ClassVar[tuple[str, ...]] = ("delathauwer2008",)
    recurrent_papers: ClassVar[tuple[str, ...]] = ("ye2018bt",)

    rank: int
    terms: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_paired(self.in_modes, self.out_modes)
        as_int(self, "rank")
        as_int(self, "terms")
        self._check_rank()

    def _check_rank(self) -> None:
        most = min(m * n for m, n in zip(self.in_modes, self.out_modes))
        tell_rank(self, "the rank", self.rank, most, clipped=False)

    def network(self) -> TensorNetwork:
        """The factors, then the Tucker core; the term is an index of all of them."""
        count = range(len(self.in_modes))
        cores: dict[str, Indices] = {
            f"factor_{k}": ("term", f"i{k}", f"o{k}", f"r{k}") for k in count
        }
        cores["core"] = ("term", *(f"r{k}" for k in count))
        size = {"term": self.terms} | {f"r{k}": self.rank for k in count}
        size |= {f"i{k}": m for k, m in enumerate(self.in_modes)}
        size |= {f"o{k}": n for k, n in enumerate(self.out_modes)}
        return TensorNetwork.of(cores, size, [f"i{k}" for k in count], [f"o{k}" for k in count])

    def from_dense(
        self,
        kernel: Float[Array, "in_features out_features"],
        *,
        tol: float | None = None,
        rank: int | None = None,
        key: jax.Array | None = None,
    ) -> tuple[Weight, Fit]:
        """Alternating least squares from random starts: see `Format.from_dense`. Rank and terms
        are given, not found: `tol` is refused."""
        refuse_tol(self, tol)
        kernel = check_kernel(kernel, self, iterative=True)
        fmt = bounded(self, rank)
        key = jax.random.key(0) if key is None else key
        cores, starts = fit_network(fmt.network(), as_tensor(kernel, fmt), key)
        return fit(Weight(cores, fmt), kernel, starts)
