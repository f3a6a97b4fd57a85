"""Tucker: a small core with one factor for each mode.

`kernel = core x_1 A_1 ... x_m A_m x_{m+1} B_1 ... x_{m+n} B_n` with a factor for every in mode and
every out mode (Tucker 1966; De Lathauwer, De Moor and Vandewalle 2000).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ht_jax.formats.base import Fit, ModeFormat, at_least_one
from ht_jax.formats.fitting import as_tensor, check_kernel, fit, tell_rank
from ht_jax.formats.ranks import per_edge, set_ranks
from ht_jax.formats.svd import budget, leading, of_order_one, project
from ht_jax.formats.weight import Weight
from ht_jax.network import Indices, TensorNetwork
from ht_jax.tensor import linalg

SWEEPS = 50  # of orthogonal iteration, at most
TRACED_SWEEPS = 3


@dataclasses.dataclass(frozen=True, repr=False)
class Tucker(ModeFormat):
    """Tucker form over separate in and out modes, whose numbers may differ.

    Cores: `in_k` (m_k, r), `out_k` (n_k, r), `core` with one axis for each of them, inputs
    then outputs. A rank above the size of its mode is clipped to it.

    Args:
        in_modes, out_modes: any number of each.
        rank: rank of every mode, or one for each, inputs then outputs.
        in_features, out_features, gates: see `ModeFormat`.

    Raises:
        ValueError: ranks below 1 or of the wrong number.

    Example:
        >>> Tucker((8, 20, 20, 18), (4, 4, 4, 4), rank=2).with_gates(4).num_params
        444
    """

    papers: ClassVar[tuple[str, ...]] = ("kolda2009",)

    rank: int | tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_ranks()

    def _check_ranks(self) -> None:
        modes = self.in_modes + self.out_modes
        set_ranks(self, "rank", len(modes), "modes (inputs, then outputs)")
        asked = per_edge(self.rank, len(modes))
        for k, (rank, most) in enumerate(zip(asked, self.ranks)):
            tell_rank(self, f"rank {k}", rank, most, clipped=True)

    @functools.cached_property
    def ranks(self) -> tuple[int, ...]:
        """Rank of every mode, inputs then outputs, clipped to its size."""
        modes = self.in_modes + self.out_modes
        return tuple(min(r, n) for r, n in zip(per_edge(self.rank, len(modes)), modes))

    def network(self) -> TensorNetwork:
        """The factors, inputs then outputs, then the core."""
        inputs = [f"i{k}" for k in range(len(self.in_modes))]
        outputs = [f"o{k}" for k in range(len(self.out_modes))]
        cores: dict[str, Indices] = {f"in_{i[1:]}": (i, f"r{i}") for i in inputs}
        cores |= {f"out_{o[1:]}": (o, f"r{o}") for o in outputs}
        cores["core"] = tuple(f"r{index}" for index in inputs + outputs)
        size = dict(zip(cores["core"], self.ranks))
        size |= dict(zip(inputs + outputs, self.in_modes + self.out_modes))
        return TensorNetwork.of(cores, size, inputs, outputs)

    def from_dense(
        self,
        kernel: Float[Array, "in_features out_features"],
        *,
        tol: float | None = None,
        rank: int | None = None,
        key: jax.Array | None = None,
    ) -> tuple[Weight, Fit]:
        """Sequentially truncated HOSVD, then orthogonal iteration at the ranks found (HOOI): see
        `Format.from_dense`. With neither `tol` nor `rank` the format's own ranks bound it."""
        del key
        kernel = check_kernel(kernel, self, tol=tol if rank is None else None)
        bounds = list(self.ranks) if tol is None and rank is None else None
        if rank is not None:
            at_least_one("rank", rank)
            bounds = [rank] * len(self.ranks)
        x, scale = of_order_one(linalg.on_host(as_tensor(kernel, self)))
        frames = _hooi(x, _st_hosvd(x, tol, bounds))
        fmt = dataclasses.replace(self, rank=tuple(u.shape[1] for u in frames))
        parts = [*frames, _projected(x, frames) * scale]
        named = {n: jnp.asarray(core) for n, core in zip(fmt.network().cores, parts)}
        return fit(Weight(named, fmt), kernel, tol=tol if rank is None else None)


def _st_hosvd(
    x: Float[Array, "*modes"], tol: float | None, bounds: list[int] | None
) -> list[Array]:
    """Frames of the sequentially truncated HOSVD (Vannieuwenhoven et al. 2012), mode by mode."""
    left = None if tol is None else budget(x, tol)
    frames = []
    for k in range(x.ndim):  # each step projects the leading axis and moves it to the end
        share = None if left is None else left / (x.ndim - k)
        u, rest, spent = project(
            x.reshape(x.shape[0], -1), share, None if bounds is None else bounds[k]
        )
        left = None if left is None else max(left - spent, 0.0)
        x = linalg.backend(x).moveaxis(rest.reshape(-1, *x.shape[1:]), 0, -1)
        frames.append(u)
    return frames


def _hooi(x: Float[Array, "*modes"], frames: list[Array]) -> list[Array]:
    """Higher-order orthogonal iteration, until the core's norm grows no more.

    Each frame anew, the others fixed; under a trace a fixed number of times.
    """
    if all(u.shape[0] == u.shape[1] for u in frames):
        return frames
    norm = 0.0
    for _ in range(TRACED_SWEEPS if linalg.is_traced(x) else SWEEPS):
        frames = list(frames)
        for k, u in enumerate(frames):
            frames[k] = leading(_projected(x, frames, skip=k), k, u.shape[1])
        # the norm of the core: what it gains, the error loses
        grown = linalg.backend(x).linalg.norm(_projected(x, frames))
        if not linalg.is_traced(grown):
            if float(grown) <= norm * (1 + 1e-9):
                break
            norm = float(grown)
    return frames


def _projected(x: Float[Array, "*modes"], frames: list[Array], skip: int | None = None) -> Array:
    """`x` in the coordinates of all frames but one, the most reducing ones first."""
    xp = linalg.backend(x)
    order = sorted(range(x.ndim), key=lambda k: frames[k].shape[1] / frames[k].shape[0])
    for k in order:
        if k != skip:
            x = xp.moveaxis(xp.tensordot(frames[k].conj(), x, ((0,), (k,))), 0, k)
    return x
