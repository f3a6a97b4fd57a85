"""Tensor networks: which cores there are, which indices they carry, and what is left open.

A network says nothing about values and nothing about the order of contraction. It is the
one thing that a format hands to the planner, so any format that can name its indices is
planned, applied, counted and sliced by the same code.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

Indices = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class TensorNetwork:
    """A linear map from `inputs` to `outputs`, written as a network of cores.

    An index that stands in two cores is a bond and is summed. An index that stands in more
    (the rank of a CP format, the terms of a block-term format) is summed over all of them at
    once. Use `TensorNetwork.of`, which checks what it is given.

    Args:
        cores: pairs of a core's name and its index names, slowest axis first.
        sizes: pairs of an index name and its size.
        inputs: the input indices, slowest first: together they are the input, row-major.
        outputs: the output indices, likewise.

    Example:
        >>> net = TensorNetwork.of({"u": "ir", "v": "ro"}, {"i": 6, "r": 2, "o": 4}, "i", "o")
        >>> net.in_size, net.out_size, net.indices["v"]
        (6, 4, ('r', 'o'))
    """

    cores: tuple[tuple[str, Indices], ...]
    sizes: tuple[tuple[str, int], ...]
    inputs: Indices
    outputs: Indices

    @classmethod
    def of(
        cls,
        cores: Mapping[str, Sequence[str]],
        sizes: Mapping[str, int],
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> TensorNetwork:
        """Builds a network from plain mappings.

        Raises:
            ValueError: a name begins with @, an index has no size, an open index stands in no
                core, a core carries
                an index twice, or an index is both input and output.

        Example:
            >>> net = TensorNetwork.of({"u": "ir", "v": "ro"}, {"i": 6, "r": 2, "o": 4}, "i", "o")
            >>> net.num_params, net.shape("u")
            (20, (6, 2))
        """
        named = tuple((name, tuple(indices)) for name, indices in cores.items())
        used = dict.fromkeys(index for _, indices in named for index in indices)
        net = cls(named, tuple((i, sizes.get(i, 0)) for i in used), tuple(inputs), tuple(outputs))
        net._check()
        return net

    def _check(self) -> None:
        for name in (*self.indices, *self.size):
            if name.startswith("@"):
                raise ValueError(f"{name!r} begins with @, which is kept for schedules")
        for index, size in self.sizes:
            if size < 1:
                raise ValueError(f"index {index!r} has size {size}: every index needs a size >= 1")
        for name, indices in self.cores:
            if len(set(indices)) != len(indices):
                raise ValueError(f"core {name!r} carries an index twice: {indices}")
        opened = Counter(self.inputs + self.outputs)
        for index, count in opened.items():
            if count > 1 or index not in self.size:
                raise ValueError(
                    f"open index {index!r} must be one input or one output, carried by a core"
                )

    @functools.cached_property
    def size(self) -> dict[str, int]:
        """Size of every index."""
        return dict(self.sizes)

    @functools.cached_property
    def indices(self) -> dict[str, Indices]:
        """Index names of every core."""
        return dict(self.cores)

    def shape(self, core: str) -> tuple[int, ...]:
        """Shape of a core."""
        return tuple(self.size[i] for i in self.indices[core])

    def volume(self, indices: Sequence[str]) -> int:
        """Product of the sizes of `indices`."""
        return math.prod(self.size[i] for i in indices)

    @functools.cached_property
    def num_params(self) -> int:
        """Numbers in all cores together."""
        return sum(self.volume(indices) for _, indices in self.cores)

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
        """The network of `slices(start, stop)`: the same cores, cut along their input axes."""
        cut, _ = self.slices(start, stop)
        sizes = tuple((i, cut[i][1] - cut[i][0] if i in cut else s) for i, s in self.sizes)
        return dataclasses.replace(self, sizes=sizes)
