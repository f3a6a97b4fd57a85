"""Dense: the matrix itself, as a network of one core. The yardstick of all other formats."""

from __future__ import annotations

import dataclasses
from typing import Self

import jax.numpy as jnp

from ht_jax.formats.base import Fit, Format, at_least_one
from ht_jax.formats.weight import Weight
from ht_jax.network import TensorNetwork


@dataclasses.dataclass(frozen=True, repr=False)
class Dense(Format):
    """A kernel (in_features, out_features) that is held as it is.

    Example:
        >>> Dense(784, 10).num_params
        7840
    """

    in_features: int
    out_features: int
    gates: int = dataclasses.field(default=1, kw_only=True)

    def __post_init__(self):
        at_least_one("in_features", self.in_features)
        at_least_one("out_features", self.out_features)

    @property
    def in_modes(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The whole input, as one mode."""
        return (self.in_features,)

    @property
    def out_modes(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The whole output, as one mode."""
        return (self.out_features,)

    def network(self) -> TensorNetwork:
        """One core, `kernel`."""
        sizes = {"i": self.in_features, "o": self.out_features}
        return TensorNetwork.of({"kernel": ("i", "o")}, sizes, ("i",), ("o",))

    def with_gates(self, gates: int) -> Self:
        """See `Format.with_gates`."""
        return dataclasses.replace(
            self, out_features=gates * self.out_features, gates=gates * self.gates
        )

    def sized(self, in_features: int, out_features: int) -> Self:
        """See `Format.sized`; a dense matrix cannot be padded."""
        if (in_features, out_features) != (self.in_features, self.out_features):
            raise ValueError(f"{self} is not of size {(in_features, out_features)}")
        return self

    def from_dense(self, kernel, *, tol=None, rank=None, key=None) -> tuple[Weight, Fit]:
        """The kernel, unchanged."""
        del tol, rank, key
        check_kernel(kernel, self)
        return Weight({"kernel": jnp.asarray(kernel)}, self), Fit(0.0)


def check_kernel(kernel, fmt: Format) -> None:
    """Raises ValueError unless `kernel` has the shape of `fmt`'s matrix."""
    if kernel.shape != (fmt.in_features, fmt.out_features):
        raise ValueError(
            f"the kernel has shape {kernel.shape}, but {fmt} holds "
            f"{(fmt.in_features, fmt.out_features)}"
        )
