"""Tensor networks: which operands there are, which indices they carry, and what is left open.

A network says nothing about values. It is the one thing that a format hands to the planner, so any
format that can name its indices is planned, applied, counted and sliced by the same code.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

Indices = tuple[str, ...]
Tensor = tuple[Array, Indices]  # an array with the names of its axes


@dataclasses.dataclass(frozen=True)
class TensorNetwork:
    """A linear map from `inputs` to `outputs`, written as a network of operands.

    An index that two operands carry is a bond and is summed. An index that more of them carry
    (the rank of a CP format, the terms of a block-term format) is summed over all of them at
    once. Every operand is a core of its own, unless `shared` says that it is the core of
    another operand. Use `TensorNetwork.of`, which checks what it is given.

    Args:
        operands: pairs of an operand's name and its index names, slowest axis first.
        sizes: pairs of an index name and its size.
        inputs: the input indices, slowest first: together they are the input, row-major.
        outputs: the output indices, likewise.
        shared: pairs of an operand and the operand whose core it is.

    Example:
        >>> net = TensorNetwork.of({"u": "ir", "v": "ro"}, {"i": 6, "r": 2, "o": 4}, "i", "o")
        >>> net.in_size, net.out_size, net.indices["v"]
        (6, 4, ('r', 'o'))
    """

    operands: tuple[tuple[str, Indices], ...]
    sizes: tuple[tuple[str, int], ...]
    inputs: Indices
    outputs: Indices
    shared: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        operands: Mapping[str, Sequence[str]],
        sizes: Mapping[str, int],
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        shared: Mapping[str, str] | None = None,
    ) -> TensorNetwork:
        """Builds a network from plain mappings.

        Raises:
            ValueError: a name begins with @, an index has no size, an open index is carried by no
                operand, an operand carries an index twice, an index is both input and output, or
                operands that share a core differ in shape.

        Example:
            >>> net = TensorNetwork.of({"u": "ir", "v": "ro"}, {"i": 6, "r": 2, "o": 4}, "i", "o")
            >>> net.num_params, net.shape("u")
            (20, (6, 2))
        """
        named = tuple((name, tuple(indices)) for name, indices in operands.items())
        used = dict.fromkeys(index for _, indices in named for index in indices)
        size = tuple((i, sizes.get(i, 0)) for i in used)
        net = cls(named, size, tuple(inputs), tuple(outputs), tuple((shared or {}).items()))
        net._check()
        return net

    def _check(self) -> None:
        for name in (*self.indices, *self.size):
            if name.startswith("@"):
                raise ValueError(f"{name!r} begins with @, which is kept for schedules")
        for index, size in self.sizes:
            if size < 1:
                raise ValueError(f"index {index!r} has size {size}: every index needs a size >= 1")
        for name, indices in self.operands:
            if len(set(indices)) != len(indices):
                raise ValueError(f"operand {name!r} carries an index twice: {indices}")
        opened = Counter(self.inputs + self.outputs)
        for index, count in opened.items():
            if count > 1 or index not in self.size:
                raise ValueError(
                    f"open index {index!r} must be one input or one output, carried by an operand"
                )
        for name, other in self.shared:
            if not {name, other} <= set(self.indices) or other in dict(self.shared):
                raise ValueError(f"{name!r} cannot share the core of {other!r}: not both own one")
            if self.shape(name) != self.shape(other):
                raise ValueError(
                    f"{name!r} of shape {self.shape(name)} cannot share the core of {other!r} of "
                    f"shape {self.shape(other)}"
                )

    @functools.cached_property
    def size(self) -> dict[str, int]:
        """Size of every index."""
        return dict(self.sizes)

    @functools.cached_property
    def indices(self) -> dict[str, Indices]:
        """Index names of every operand."""
        return dict(self.operands)

    @functools.cached_property
    def cores(self) -> tuple[str, ...]:
        """Names of the cores: the operands that share no other's."""
        return tuple(name for name in self.indices if name not in dict(self.shared))

    def shape(self, operand: str) -> tuple[int, ...]:
        """Shape of an operand."""
        return tuple(self.size[i] for i in self.indices[operand])

    def volume(self, indices: Sequence[str]) -> int:
        """Product of the sizes of `indices`."""
        return math.prod(self.size[i] for i in indices)

    @functools.cached_property
    def num_params(self) -> int:
        """Parameters in all cores together."""
        return sum(self.volume(self.indices[name]) for name in self.cores)

    @functools.cached_property
    def in_size(self) -> int:
        """Product of the input indices."""
        return self.volume(self.inputs)

    @functools.cached_property
    def out_size(self) -> int:
        """Product of the output indices."""
        return self.volume(self.outputs)

    def slices(self, start: int, stop: int) -> tuple[dict[str, tuple[int, int]], int]:
        """The smallest slice of the input indices that covers the inputs [start, stop).

        Leading indices are cut to a single value as long as the range fits into one of their
        slabs; the first index that it does not fit is cut to the slabs that it touches.

        Returns:
            `{index: (first, last + 1)}` for the indices that are cut, and the flat position
            of the slice's first input, which is at most `start`.

        >>> net = TensorNetwork.of({"u": "ab", "v": "abo"}, {"a": 9, "b": 10, "o": 2}, "ab", "o")
        >>> net.slices(80, 83)
        ({'a': (8, 9), 'b': (0, 3)}, 80)
        """
        if not 0 <= start < stop <= self.in_size:
            raise ValueError(f"inputs [{start}, {stop}) do not lie within [0, {self.in_size})")
        cut: dict[str, tuple[int, int]] = {}
        first, slab = 0, self.in_size
        for index in self.inputs:
            slab //= self.size[index]
            cut[index] = (start - first) // slab, -(-(stop - first) // slab)
            first += cut[index][0] * slab
            if cut[index][1] - cut[index][0] > 1:
                break
        return {i: (a, b) for i, (a, b) in cut.items() if b - a < self.size[i]}, first

    def restrict(self, start: int, stop: int) -> TensorNetwork:
        """The network of `slices(start, stop)`: operands cut along their input axes.

        No core is shared there, since operands may be cut in different ways.
        """
        cut, _ = self.slices(start, stop)
        sizes = tuple((i, cut[i][1] - cut[i][0] if i in cut else s) for i, s in self.sizes)
        return dataclasses.replace(self, sizes=sizes, shared=())

    def arrays(self, cores: Mapping[str, Any]) -> dict[str, Any]:
        """The array of every operand, given those of the cores."""
        shared = dict(self.shared)
        return {name: cores[shared.get(name, name)] for name in self.indices}

    def tensors(self, cores: Mapping[str, Array]) -> list[Tensor]:
        """Every operand as an array with the names of its axes."""
        return list(zip(self.arrays(cores).values(), self.indices.values()))

    def contract(
        self,
        cores: Mapping[str, Array],
        kept: Sequence[str],
        *,
        precision: jax.lax.PrecisionLike = None,
    ) -> Array:
        """The product of all operands, summed over all indices but those of `kept`.

        Args:
            cores: the arrays by name.
            kept: indices that the result has as its axes, in this order.
            precision: of the matrix products, as in `jax.lax.dot_general`.

        Example:
            >>> net = TensorNetwork.of({"u": "ir", "v": "ro"}, {"i": 6, "r": 2, "o": 4}, "i", "o")
            >>> net.contract({"u": jnp.ones((6, 2)), "v": jnp.ones((2, 4))}, "oi").shape
            (4, 6)
        """
        return contract(self.tensors(cores), kept, precision=precision)


def contract(
    tensors: Sequence[Tensor], kept: Sequence[str], *, precision: jax.lax.PrecisionLike = None
) -> Array:
    """The product of tensors, summed over all indices but those of `kept`, which keep its order.

    Example:
        >>> contract([(jnp.ones((2, 3)), ("a", "b")), (jnp.ones(3), ("b",))], ("a",)).tolist()
        [3.0, 3.0]
    """
    operands = interleaved(tensors, kept)
    return jnp.einsum(*operands, optimize="greedy", precision=precision)  # pyright: ignore[reportUnknownMemberType]


def interleaved(tensors: Sequence[tuple[Any, Sequence[str]]], kept: Sequence[str]) -> list[Any]:
    """The arguments of `einsum` with indices as integers: letters would be too few.

    Example:
        >>> interleaved([("u", "ir"), ("v", "ro")], "io")
        ['u', [0, 1], 'v', [1, 2], [0, 2]]
    """
    number = {i: n for n, i in enumerate(dict.fromkeys(i for _, at in tensors for i in at))}
    operands = [part for array, at in tensors for part in (array, [number[i] for i in at])]
    return [*operands, [number[i] for i in kept]]
