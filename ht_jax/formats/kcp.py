"""KCP: the Kronecker CP format of KCP-RNN (arXiv 2008.09342).

`kernel = sum_k A_k (x) B_k`, Kronecker products of tensors over all in and out modes, with A_k and
B_k in CP form of rank r; each mode s = p q splits into p for A_k and q for B_k, p slow and q fast.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ht_jax.formats.base import Fit, ModeFormat, as_int, at_least_one, sizes
from ht_jax.formats.cp import cp_network
from ht_jax.formats.fitting import as_tensor, check_kernel, fit, refuse_tol, tell_rank
from ht_jax.formats.multistart import alternate, fit_network
from ht_jax.formats.ranks import bounded
from ht_jax.formats.svd import project
from ht_jax.formats.weight import Weight
from ht_jax.network import TensorNetwork
from ht_jax.tensor import linalg

Split = tuple[int, int]


@dataclasses.dataclass(frozen=True, repr=False)
class KCP(ModeFormat):
    """A sum of `terms` Kronecker products of two CP tensors.

    Cores: for in mode k = p q `a_in_k` (terms, rank, p) and `b_in_k` (terms, rank, q), for
    out modes `a_out_k` and `b_out_k`. The rank index of the A side and that of the B side are
    two, so that a schedule may go factor by factor or multiply out either side first.
    Over-full ranks are kept, with a `RankWarning`.

    Args:
        in_modes, out_modes: any number of each.
        rank: CP rank r of every A_k and B_k.
        terms: number of Kronecker products.
        splits: a pair (p, q) for every in mode, then every out mode; by default as even as
            possible, the smaller first: 8 = 2 * 4, 16 = 4 * 4.
        gate_split: the pair for the first out mode once gates are folded into it; by default
            it is split afresh.
        in_features, out_features, gates: see `ModeFormat`.

    Raises:
        ValueError: a rank or a number of terms below 1, or splits of the wrong number or that
            do not multiply to their mode.

    Example:
        >>> fmt = KCP((8, 20, 20, 18), (4, 4, 4, 4), rank=2, terms=2)
        >>> fmt.with_gates(4).num_params
        212
    """

    papers: ClassVar[tuple[str, ...]] = ("wang2023kcp",)
    recurrent_papers: ClassVar[tuple[str, ...]] = ("wang2023kcp",)

    rank: int
    terms: int
    splits: tuple[Split, ...] | None = None
    gate_split: Split | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        as_int(self, "rank")
        as_int(self, "terms")
        if self.gate_split is not None:
            object.__setattr__(self, "gate_split", _pair("gate_split", self.gate_split))
        self._set_splits()
        self._check_ranks()

    def _set_splits(self) -> None:
        modes = self.in_modes + self.out_modes
        if self.splits is None:
            return
        splits = tuple(_pair("splits", split) for split in self.splits)
        if len(splits) != len(modes):
            raise ValueError(
                f"splits {splits} are {len(splits)}: give one pair for each of the "
                f"{len(modes)} modes {modes}, inputs then outputs"
            )
        for split, mode in zip(splits, modes):
            check_split("splits", split, mode)
        object.__setattr__(self, "splits", None if splits == _even(modes) else splits)

    def _check_ranks(self) -> None:
        most = max(math.prod(side) // max(side) for side in zip(*self.mode_splits))
        tell_rank(self, "the rank", self.rank, most, clipped=False)
        most = min(math.prod(side) for side in zip(*self.mode_splits))
        tell_rank(self, "the number of terms", self.terms, most, clipped=False)

    @functools.cached_property
    def mode_splits(self) -> tuple[Split, ...]:
        """The pair (p, q) of every mode, inputs then outputs."""
        return self.splits or _even(self.in_modes + self.out_modes)

    def with_gates(self, gates: int) -> Self:
        """See `Format.with_gates`: the first out mode, with the gates in it, is split by
        `gate_split` or else afresh; a single gate changes nothing."""
        at_least_one("gates", gates)
        if gates == 1:
            return self
        first, splits = gates * self.out_modes[0], list(self.mode_splits)
        splits[len(self.in_modes)] = self.gate_split or even_split(first)
        check_split("gate_split", splits[len(self.in_modes)], first)
        return dataclasses.replace(
            self,
            out_modes=(first, *self.out_modes[1:]),
            out_features=gates * self.out_features,
            gates=gates * self.gates,
            splits=tuple(splits),
            gate_split=None,
        )

    def network(self) -> TensorNetwork:
        """For every mode the factor of A, then that of B."""
        modes = [("in", "i", k) for k in range(len(self.in_modes))]
        modes += [("out", "o", k) for k in range(len(self.out_modes))]
        cores, size = {}, {"term": self.terms, "a": self.rank, "b": self.rank}
        opened: dict[str, list[str]] = {"i": [], "o": []}
        for (side, letter, k), split in zip(modes, self.mode_splits):
            for part, half, n in zip("ab", "pq", split):
                index = f"{letter}{k}{half}"
                cores[f"{part}_{side}_{k}"] = ("term", part, index)
                size[index] = n
                opened[letter].append(index)
        return TensorNetwork.of(cores, size, opened["i"], opened["o"])

    def from_dense(
        self,
        kernel: Float[Array, "in_features out_features"],
        *,
        tol: float | None = None,
        rank: int | None = None,
        key: jax.Array | None = None,
    ) -> tuple[Weight, Fit]:
        """Alternating least squares, started from the Kronecker rearrangement and at random: see
        `Format.from_dense`. Rank and terms are given, not found: `tol` is refused."""
        refuse_tol(self, tol)
        kernel = check_kernel(kernel, self, iterative=True)
        fmt = bounded(self, rank)
        key = jax.random.key(0) if key is None else key
        x = as_tensor(kernel, fmt)

        def start():
            return _rearranged_start(x, fmt, key)

        cores, starts = fit_network(fmt.network(), x, key, [start])
        return fit(Weight(cores, fmt), kernel, starts)


def even_split(mode: int) -> Split:
    """The split of a mode into two factors as even as possible, the smaller first.

    >>> even_split(8), even_split(20), even_split(18), even_split(7)
    ((2, 4), (4, 5), (3, 6), (1, 7))
    """
    p = next(p for p in range(math.isqrt(mode), 0, -1) if mode % p == 0)
    return p, mode // p


def check_split(name: str, split: Split, mode: int) -> None:
    """Raises ValueError unless the split multiplies to the mode."""
    if math.prod(split) != mode:
        raise ValueError(
            f"{name}: {split} multiplies to {math.prod(split)}, but its mode is {mode}; "
            f"{even_split(mode)} would do"
        )


def _even(modes: Sequence[int]) -> tuple[Split, ...]:
    return tuple(even_split(mode) for mode in modes)


def _pair(name: str, split: Any) -> Split:
    pair = sizes(name, split)
    if len(pair) != 2:
        raise ValueError(f"{name}: {split} is not a pair (p, q)")
    return pair


def _rearranged_start(x: Float[Array, "*modes"], fmt: KCP, key: jax.Array) -> dict[str, Array]:
    """A_k and B_k from the SVD of the rearranged kernel, each fitted by a CP tensor of its own.

    The kernel (p_1, q_1, p_2, q_2, ...) rearranged to (p.., q..) is `sum_k vec(A_k) vec(B_k)^T`
    (Van Loan and Pitsianis 1993).
    """
    p, q = zip(*fmt.mode_splits)
    order = [*range(0, x.ndim, 2), *range(1, x.ndim, 2)]
    matrix = linalg.on_host(x.transpose(order).reshape(math.prod(p), math.prod(q)))
    a, b, _ = project(matrix, bound=fmt.terms)
    start: dict[str, Array] = {}
    for part, modes, vectors in (("a", p, a.T), ("b", q, b)):
        net = cp_network(modes[: len(fmt.in_modes)], modes[len(fmt.in_modes) :], fmt.rank)
        keys = jax.random.split(jax.random.fold_in(key, ord(part)), fmt.terms)
        padded = jnp.zeros((fmt.terms, vectors.shape[1]), x.dtype).at[: len(vectors)].set(vectors)
        found = [alternate(net, v.reshape(modes), k) for v, k in zip(padded, keys)]
        for name in net.indices:
            start[f"{part}_{name}"] = jnp.stack([cores[name].T for cores in found])
    return start
