"""A schedule: the pairwise contractions that apply a network to an input, in order.

It is data, not code: static, hashable, readable as JSON, explained as a table of matrix
products. `lower.py` runs it, `cost.py` prices it, `search.py` finds it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from ht_jax.network import Indices, TensorNetwork
from ht_jax.schedule.reading import Arithmetic

# Names that begin with @ are the schedule's own: no core or index of a network has one.
INPUT = "@x"  # operand name of the input; its slowest index is BATCH
BATCH = "@batch"
VERSION = 2  # of the JSON
Mode = Literal["train", "infer"]


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a schedule is wanted for; hashable, so that it keys what was found.

    Attributes:
        network: what is contracted.
        batch: rows of input.
        dtype: name of the dtype of the cores, such as "float32".
        mode: "train" weighs forward and backward together, "infer" the forward pass alone.
        arithmetic: in which integer inputs are read; None for inputs that are floats.
        device: kind of device: "cpu", "gpu" or "tpu".

    Example:
        >>> import ht_jax as ht
        >>> problem = ht.TT((4, 4), (2, 2), rank=2).problem(8, mode="infer")
        >>> problem.batch, problem.dtype, list(problem.network.indices)
        (8, 'float32', ['core_0', 'core_1'])
    """

    network: TensorNetwork
    batch: int
    dtype: str = "float32"
    mode: Mode = "train"
    arithmetic: Arithmetic | None = None
    device: str = "cpu"

    def schedule(self, steps: Sequence[Step], found_by: str) -> Schedule:
        """A schedule for this problem, not priced yet."""
        about = self.network, self.batch, self.dtype, self.mode
        return Schedule(*about, tuple(steps), found_by, self.arithmetic)


class Planned(Protocol):
    """What can be planned: a format, which tells the problem that it poses."""

    def problem(
        self,
        batch: int,
        *,
        dtype: Any = ...,
        mode: Mode = ...,
        arithmetic: Arithmetic | None = ...,
    ) -> Problem:
        """The problem of `batch` rows."""
        ...


@dataclasses.dataclass(frozen=True)
class Step:
    """One pairwise contraction: `out[indices] = sum left * right`.

    An index of `left` or `right` that is absent from `indices` is summed.

    Example:
        >>> import ht_jax as ht
        >>> ht.plan(ht.LowRank(48, 16, rank=2), batch=4).steps[0].indices
        ('@batch', 'r')
    """

    left: str
    right: str
    out: str
    indices: Indices


@dataclasses.dataclass(frozen=True)
class Product:
    """The matrix product that a step amounts to: `groups` x (rows, inner) @ (inner, cols)."""

    groups: Indices
    rows: Indices
    inner: Indices
    cols: Indices
    left: Indices
    right: Indices

    @classmethod
    def of(cls, left: Indices, right: Indices, kept: Indices) -> Product:
        """Sorts the indices of the two operands by the part that they play."""
        shared = [i for i in left if i in right]
        return cls(
            groups=tuple(i for i in shared if i in kept),
            rows=tuple(i for i in left if i not in right and i in kept),
            inner=tuple(i for i in shared if i not in kept),
            cols=tuple(i for i in right if i not in left and i in kept),
            left=left,
            right=right,
        )

    @property
    def indices(self) -> Indices:
        """Index order in which the product leaves its result."""
        return self.groups + self.rows + self.cols

    @property
    def transposes_left(self) -> bool:
        """Whether the left operand has to be laid out anew before it is a matrix."""
        order = [i for i in self.left if i in self.groups + self.rows + self.inner]
        return tuple(order) != self.groups + self.rows + self.inner

    @property
    def transposes_right(self) -> bool:
        """Whether the right operand has to be laid out anew before it is a matrix."""
        order = tuple(i for i in self.right if i in self.groups + self.inner + self.cols)
        return order != self.groups + self.inner + self.cols


# The types of a schedule's fields, which a file may have otherwise.
_FIELDS: dict[Any, tuple[str, ...]] = {
    int: ("batch", "tile", "remat"),
    str: ("dtype", "mode", "found_by"),
    (str, type(None)): ("arithmetic",),
    (int, float): ("flops", "backward_flops", "bytes_moved", "peak_bytes", "seconds"),
}


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The order in which a network is contracted with `batch` rows of input.

    Attributes:
        network: what is contracted.
        batch: rows of input that the schedule was made for (it runs with any number).
        dtype: name of the dtype that the cost was estimated for.
        mode: "train" (forward and backward weighed together) or "infer" (forward alone).
        steps: the contractions. The last one leaves (batch, *network.outputs) in some order.
            Of a step that involves the input, that operand stands left.
        arithmetic: in which integer inputs are read; None where the inputs are floats.
        tile: rows that are contracted at a time; 0 for all at once.
        remat: whether the backward pass of a tiled run contracts again what it needs, in place
            of keeping it.
        found_by: the search that proposed it.
        flops: multiplications and additions of one forward pass.
        backward_flops: those of the backward pass with respect to the cores.
        bytes_moved: bytes read and written by a forward pass, transposes included.
        peak_bytes: largest sum of live intermediate arrays; in "train" mode what the backward
            pass needs stays alive. The input, the cores and their gradients are not counted.
        seconds: modelled time of what `mode` says, for the device kind it was planned for.

    Example:
        >>> import ht_jax as ht
        >>> schedule = ht.plan(ht.HT((8, 6), (4, 4), rank=3), batch=4)
        >>> len(schedule.steps), schedule.flops
        (3, 7344.0)
        >>> Schedule.from_json(schedule.to_json()) == schedule
        True
    """

    network: TensorNetwork
    batch: int
    dtype: str
    mode: Mode
    steps: tuple[Step, ...]
    found_by: str = "given"
    arithmetic: Arithmetic | None = None
    tile: int = 0
    remat: bool = False
    flops: float = 0.0
    backward_flops: float = 0.0
    bytes_moved: float = 0.0
    peak_bytes: float = 0.0
    seconds: float = 0.0

    @functools.cached_property
    def operands(self) -> dict[str, Indices]:
        """Index names of every operand: the input, the cores and what the steps make."""
        named = {INPUT: (BATCH, *self.network.inputs), **self.network.indices}
        for step in self.steps:
            named[step.out] = step.indices
        return named

    @functools.cached_property
    def size(self) -> dict[str, int]:
        """Size of every index, the batch included."""
        return {BATCH: self.batch, **self.network.size}

    def volume(self, indices: Indices) -> int:
        """Product of the sizes of `indices`, the batch included."""
        return math.prod(self.size[i] for i in indices)

    @functools.cached_property
    def products(self) -> tuple[Step, ...]:
        """The steps that involve the input, one after the other."""
        return tuple(step for step in self.steps if BATCH in self.operands[step.left])

    @functools.cached_property
    def merges(self) -> tuple[Step, ...]:
        """The steps that involve cores alone."""
        return tuple(step for step in self.steps if BATCH not in self.operands[step.left])

    def tile_of(self, rows: int) -> int:
        """How many of `rows` rows are contracted at a time: a divisor of them if one is near."""
        if not self.tile or not isinstance(rows, int) or rows <= self.tile:
            return rows
        whole = (n for n in range(self.tile, self.tile // 2, -1) if rows % n == 0)
        return next(whole, self.tile)

    def product(self, step: Step) -> Product:
        """The matrix product that `step` amounts to."""
        named = self.operands
        return Product.of(named[step.left], named[step.right], step.indices)

    def to_json(self) -> str:
        """The schedule as JSON text; `Schedule.from_json` reads it back."""
        return json.dumps({"version": VERSION, **dataclasses.asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: the text is not JSON of a known version, or it is not a schedule.
        """
        try:
            return cls._from_fields(json.loads(text))
        except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"this is not the JSON of a schedule: {error}") from error

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Schedule:
        version = fields.pop("version")
        if version not in (1, VERSION):
            raise ValueError(
                f"schedule version {version} is not known; this library reads 1 to {VERSION}"
            )
        network = fields.pop("network")
        if version == 1:  # of its names two have changed
            network["operands"] = network.pop("cores")
            fields["arithmetic"] = fields.pop("reading")
        net = TensorNetwork.of(
            dict(network["operands"]),
            dict(network["sizes"]),
            network["inputs"],
            network["outputs"],
            shared=dict(network.get("shared", ())),
        )
        steps = tuple(Step(**{**s, "indices": tuple(s["indices"])}) for s in fields.pop("steps"))
        return cls(network=net, steps=steps, **fields)._checked()

    def _checked(self) -> Schedule:
        """Raises ValueError unless the steps use every operand once and end in the output."""
        for kinds, names in _FIELDS.items():
            for name in names:
                if not isinstance(getattr(self, name), kinds):
                    raise ValueError(f"{name} {getattr(self, name)!r} is not of {kinds}")
        open_operands = {INPUT: self.operands[INPUT], **self.network.indices}
        for step in self.steps:
            if step.left not in open_operands or step.right not in open_operands:
                raise ValueError(f"step {step} uses an operand that is not there")
            if not isinstance(step.out, str):
                raise ValueError(f"step {step} makes an operand that has no name")
            if BATCH in open_operands[step.right]:
                raise ValueError(f"step {step} has the input's operand on the right")
            made = set(open_operands.pop(step.left)) | set(open_operands.pop(step.right, ()))
            if not set(step.indices) <= made:
                raise ValueError(f"step {step} leaves an index that neither operand carries")
            awaited = {BATCH, *self.network.outputs}.union(*open_operands.values())
            if early := made & awaited - set(step.indices):
                raise ValueError(f"step {step} sums {sorted(early)}, which other operands carry")
            open_operands[step.out] = step.indices
        left = list(open_operands.values())
        if len(left) != 1 or set(left[0]) != {BATCH, *self.network.outputs}:
            raise ValueError(f"the steps leave the operands {left}, not the output alone")
        return self

    def explain(self) -> str:
        """The schedule as a table, one matrix product a line.

        >>> import ht_jax as ht
        >>> fmt = ht.HT(in_modes=(8, 6), out_modes=(4, 4), leaf_rank=2, rank=2)
        >>> print(ht.plan(fmt, batch=4).explain())
        48 -> 16, 4 rows, float32, train...
        """
        head = (
            f"{self.network.in_size} -> {self.network.out_size}, {self.batch} rows, {self.dtype}, "
            f"{self.mode}{self._tiling()}: {self.flops:.3g} flops forward, "
            f"{self.backward_flops:.3g} backward, peak {self.peak_bytes / 1e6:.3g} MB, "
            f"modelled {self.seconds * 1e3:.3g} ms (found by {self.found_by})"
        )
        names = [f"{_shown(step.left)} * {_shown(step.right)}" for step in self.steps]
        width = max([len(name) for name in names], default=0)
        lines = [self._line(step, name.ljust(width)) for step, name in zip(self.steps, names)]
        return "\n".join([head, *lines])

    def _tiling(self) -> str:
        if not self.tile:
            return ""
        return f", {self.tile} rows at a time" + (", contracted again backward" * self.remat)

    def _line(self, step: Step, name: str) -> str:
        product = self.product(step)
        rows, inner, cols, groups = (
            functools.reduce(lambda n, i: n * self.size[i], part, 1)
            for part in (product.rows, product.inner, product.cols, product.groups)
        )
        many = f"{groups} x " if groups > 1 else ""
        shape = f"{many}({rows}, {inner}) @ ({inner}, {cols})"
        sides = {"left": product.transposes_left, "right": product.transposes_right}
        anew = " and ".join(side for side, transposed in sides.items() if transposed)
        note = f"  {anew} laid out anew" if anew else ""
        indices = ", ".join(map(_shown, step.indices))
        return f"  {name}  {shape:<34} -> {_shown(step.out)}[{indices}]{note}"


def _shown(name: str) -> str:
    return name.removeprefix("@")
