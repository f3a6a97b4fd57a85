"""Dense: the matrix itself, as a network of one core. The yardstick of all other formats."""

from __future__ import annotations

import dataclasses
from typing import Self

import jax
from jaxtyping import Array, Float

from ht_jax.formats.base import Fit, Format, as_int, at_least_one, check_gates
from ht_jax.formats.fitting import check_kernel
from ht_jax.formats.weight import Weight
from ht_jax.network import TensorNetwork


class Unsplit(Format):
    """What formats share that do not cut the input and the output into modes."""

    @property
    def in_modes(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The whole input, as one mode."""
        return (self.in_features,)

    @property
    def out_modes(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The whole output, as one mode."""
        return (self.out_features,)

    def _check_sizes(self) -> None:
        for name in ("in_features", "out_features"):
            as_int(self, name)
        check_gates(self, self.out_features)

    def with_gates(self, gates: int) -> Self:
        """See `Format.with_gates`."""
        at_least_one("gates", gates)
        outputs = gates * self.out_features
        return dataclasses.replace(self, out_features=outputs, gates=gates * self.gates)

    def sized(self, in_features: int, out_features: int) -> Self:
        """See `Format.sized`; a matrix without modes cannot be padded."""
        if (in_features, out_features) != (self.in_features, self.out_features):
            raise ValueError(f"{self} is not of size {(in_features, out_features)}")
        return self


@dataclasses.dataclass(frozen=True, repr=False)
class Dense(Unsplit):
    """A kernel (in_features, out_features) that is held as it is.

    Example:
        >>> Dense(784, 10).num_params
        7840
    """

    in_features: int
    out_features: int
    gates: int = dataclasses.field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        self._check_sizes()

    def network(self) -> TensorNetwork:
        """One core, `kernel`."""
        sizes = {"i": self.in_features, "o": self.out_features}
        return TensorNetwork.of({"kernel": ("i", "o")}, sizes, ("i",), ("o",))

    def from_dense(
        self,
        kernel: Float[Array, "in_features out_features"],
        *,
        tol: float | None = None,
        rank: int | None = None,
        key: jax.Array | None = None,
    ) -> tuple[Weight, Fit]:
        """The kernel, unchanged."""
        del tol, rank, key
        return Weight({"kernel": check_kernel(kernel, self)}, self), Fit(0.0)
