"""TR: the Tensor Ring of TR-LSTM (Pan et al., AAAI 2019), after Zhao et al. 2016.

`kernel[(i_1 .. i_m), (o_1 .. o_n)] = trace(A_1[i_1] ... A_m[i_m] B_1[o_1] ... B_n[o_n])`, a product
of matrices (r_k, r_{k+1}) around a ring of all modes, inputs then outputs.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ht_jax.formats.base import Fit, ModeFormat, as_int, sizes
from ht_jax.formats.fitting import as_tensor, check_kernel, fit, refuse_tol, tell_rank
from ht_jax.formats.multistart import fit_network
from ht_jax.formats.ranks import bounded, per_edge, set_ranks
from ht_jax.formats.svd import project, tt_svd
from ht_jax.formats.weight import Weight
from ht_jax.network import TensorNetwork
from ht_jax.tensor import linalg


@dataclasses.dataclass(frozen=True, repr=False)
class TR(ModeFormat):
    """Tensor Ring over separate in and out modes, whose numbers may differ.

    Cores: `in_k` (r, m_k, r'), then `out_k` (r, n_k, r'), each with the edge to its predecessor
    first; the last one's second edge closes the ring. Ranks are never clipped: one that its
    neighbours cannot use is kept, with a `RankWarning`.

    Args:
        in_modes, out_modes: any number of each.
        rank: rank of every edge, or one for each, the edge closing last -> first FIRST.
        closing_rank: rank of the closing edge, if it differs and `rank` is an int.
        in_features, out_features, gates: see `ModeFormat`.

    Raises:
        ValueError: ranks below 1 or of the wrong number, or `closing_rank` beside a tuple.

    Example:
        >>> fmt = TR((4, 2, 5, 8, 6, 5, 3, 2), (4, 4, 2, 4, 2), rank=5, closing_rank=10)
        >>> fmt.with_gates(4).num_params
        1725
        >>> TR((64, 32), (32, 64), rank=(40, 60, 48, 48)).with_gates(4).num_params
        663552
    """

    papers: ClassVar[tuple[str, ...]] = ("zhao2016",)
    recurrent_papers: ClassVar[tuple[str, ...]] = ("pan2019tr",)

    rank: int | tuple[int, ...]
    closing_rank: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_ranks()

    def _check_ranks(self) -> None:
        if self.closing_rank is not None:
            as_int(self, "closing_rank")
            if not isinstance(self.rank, int | np.integer):
                raise ValueError(
                    f"rank {self.rank} lists every edge, the closing one first: "
                    f"leave closing_rank={self.closing_rank} out, or give rank as one int"
                )
        self._set_closing()
        set_ranks(self, "rank", self._num_modes, "ring edges (the closing one first)")
        for k, (rank, most) in enumerate(zip(self.ranks, self._usable())):
            tell_rank(self, f"ring rank {k}", rank, most, clipped=False)

    def _set_closing(self) -> None:
        """One int for the closing edge and one for all others, where that is all there is."""
        if isinstance(self.rank, int | np.integer):
            closing = None if self.closing_rank == self.rank else self.closing_rank
            object.__setattr__(self, "closing_rank", closing)
            return
        rank = sizes("rank", self.rank)
        if len(rank) == self._num_modes and len(set(rank[1:])) == 1:
            object.__setattr__(self, "rank", rank[1])
            object.__setattr__(self, "closing_rank", None if rank[0] == rank[1] else rank[0])

    @property
    def _num_modes(self) -> int:
        return len(self.in_modes) + len(self.out_modes)

    @functools.cached_property
    def ranks(self) -> tuple[int, ...]:
        """Rank of every ring edge: edge k stands before core k, edge 0 closes the ring."""
        ranks = per_edge(self.rank, self._num_modes)
        return ranks if self.closing_rank is None else (self.closing_rank, *ranks[1:])

    def _usable(self) -> list[int]:
        """The rank of each edge that the cores on its two sides could use."""
        modes, ranks = self.in_modes + self.out_modes, self.ranks
        after = [n * ranks[(k + 1) % len(modes)] for k, n in enumerate(modes)]
        before = [modes[k - 1] * ranks[k - 1] for k in range(len(modes))]
        return [min(a, b) for a, b in zip(after, before)]

    def network(self) -> TensorNetwork:
        """The cores around the ring, inputs then outputs."""
        inputs = [f"i{k}" for k in range(len(self.in_modes))]
        outputs = [f"o{k}" for k in range(len(self.out_modes))]
        names = [f"in_{i[1:]}" for i in inputs] + [f"out_{o[1:]}" for o in outputs]
        size = dict(zip(inputs + outputs, self.in_modes + self.out_modes))
        size |= {f"r{k}": rank for k, rank in enumerate(self.ranks)}
        cores = {
            name: (f"r{k}", mode, f"r{(k + 1) % len(names)}")
            for k, (name, mode) in enumerate(zip(names, inputs + outputs))
        }
        return TensorNetwork.of(cores, size, inputs, outputs)

    def from_dense(
        self,
        kernel: Float[Array, "in_features out_features"],
        *,
        tol: float | None = None,
        rank: int | None = None,
        key: jax.Array | None = None,
    ) -> tuple[Weight, Fit]:
        """Alternating least squares, started from TR-SVD and at random: see
        `Format.from_dense`. The ranks are given, not found: `tol` is refused."""
        refuse_tol(self, tol)
        kernel = check_kernel(kernel, self, iterative=True)
        fmt = bounded(self, rank, closing_rank=None)
        key = jax.random.key(0) if key is None else key
        x, net = as_tensor(kernel, fmt), fmt.network()

        def start():
            return dict(zip(net.indices, _tr_svd(x, fmt.ranks, key)))

        cores, starts = fit_network(net, x, key, [start])
        return fit(Weight(cores, fmt), kernel, starts)


def _tr_svd(x: Float[Array, "*modes"], ranks: tuple[int, ...], key: jax.Array) -> list[Array]:
    """TR-SVD (Zhao et al. 2016, algorithm 1) with given ranks; it is far from the best.

    The first SVD makes the closing edge and the one behind the first core at once. What the
    tensor's unfoldings cannot fill is filled with small random numbers.
    """
    n, closing, second = x.shape[0], ranks[0], ranks[1]
    u, rest, _ = project(linalg.on_host(x.reshape(n, -1)), bound=closing * second)
    u = _filled(u, (n, closing * second), key).reshape(n, closing, second)
    rest = _filled(rest, (closing * second, rest.shape[1]), key).reshape(closing, -1)
    modes = [*x.shape[1:]]  # the closing edge goes to the end of the train, into the last mode
    modes[-1] *= closing
    modes[0] *= second
    train = tt_svd(linalg.on_host(rest.T.reshape(modes)), ranks=ranks[2:], first=second)
    train[-1] = train[-1].reshape(train[-1].shape[0], x.shape[-1], closing)
    edges = [*ranks, closing]
    train = [
        _filled(core, (edges[k], core.shape[1], edges[k + 1]), key)
        for k, core in enumerate(train, start=1)
    ]
    return [u.transpose(1, 0, 2), *train]


def _filled(core: Array, shape: tuple[int, ...], key: jax.Array) -> Array:
    """`core`, made as large as `shape` with random numbers a tenth of its own."""
    core = jnp.asarray(core)
    if core.shape == shape:
        return core
    noise = jax.random.normal(key, shape, core.dtype) * (0.1 * jnp.sqrt(jnp.mean(core**2)))
    return noise.at[tuple(slice(0, n) for n in core.shape)].set(core)
