"""The Format protocol: a static, hashable description of how a matrix is held as cores.

A format names its network; planning, counting, initialisation, padding, gates and slicing
follow from it here. To add a format, subclass `ModeFormat` and write `network`.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from ht_jax import schedule as schedules
from ht_jax.formats.weight import Weight, squared_norm
from ht_jax.network import TensorNetwork


class Fit(NamedTuple):
    """What `from_dense` reports.

    Attributes:
        relative_error: measured ||kernel - weight||_F / ||kernel||_F.
        restarts: how many starts an iterative method took; 0 for direct ones.

    Example:
        >>> import jax.numpy as jnp, ht_jax as ht
        >>> _, info = ht.LowRank(6, 4, rank=1).from_dense(jnp.ones((6, 4)))
        >>> info.relative_error < 1e-6, info.restarts
        (True, 0)
    """

    relative_error: float
    restarts: int = 0


class Format(abc.ABC):
    """How a matrix (in_features, out_features) is held as cores: static and hashable.

    Subclasses are frozen dataclasses. The matrix may be smaller than the network's modes say:
    then the inputs are padded with zeros and the outputs cropped, gate by gate.

    Attributes:
        papers: what `ht_jax.cite` names for the format: keys of `papers.bib`, or BibTeX entries.
        recurrent_papers: for recurrent networks that hold their input-to-hidden matrix in it.
        joint_papers: for those that hold both matrices as one.

    Example:
        >>> import ht_jax as ht
        >>> fmt = ht.TT((8, 6), (4, 4), rank=2)
        >>> isinstance(fmt, Format), fmt.num_params, fmt.compression_ratio
        (True, 112, 6.9)
        >>> fmt == ht.parse_format(repr(fmt))
        True
    """

    in_modes: tuple[int, ...]
    out_modes: tuple[int, ...]
    in_features: int
    out_features: int
    gates: int = 1  # equal blocks of outputs, each cropped for itself
    in_offset: int = 0  # zeros that stand before the inputs; the others stand behind
    papers: ClassVar[tuple[str, ...]] = ()
    recurrent_papers: ClassVar[tuple[str, ...]] = ()
    joint_papers: ClassVar[tuple[str, ...]] = ()
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @abc.abstractmethod
    def network(self) -> TensorNetwork:
        """The cores' names, indices and sizes; input and output indices slowest first."""

    @abc.abstractmethod
    def with_gates(self, gates: int) -> Self:
        """The format of `gates` such matrices side by side, as one matrix.

        The gate is the slowest part of the output: column `g * out_features + o`.
        """

    def sized(self, in_features: int, out_features: int) -> Self:
        """The format for a matrix of these sizes, padded if its modes multiply to more.

        Raises:
            ValueError: the modes multiply to less.
        """
        if (in_features, out_features) == (self.in_features, self.out_features):
            return self
        if self.gates != 1:
            raise ValueError(f"{self} has gates: size it before with_gates")
        with warnings.catch_warnings(action="ignore"):  # its ranks have been told already
            return dataclasses.replace(self, in_features=in_features, out_features=out_features)

    @property
    def num_params(self) -> int:
        """Numbers in all cores together."""
        return self.network().num_params

    @property
    def compression_ratio(self) -> float:
        """Numbers of the dense kernel for each number held here."""
        return self.in_features * self.out_features / self.num_params

    def init(self, key: jax.Array, dtype: Any = jnp.float32) -> Weight:
        """Draws Gaussian cores and rescales them to the Frobenius norm of a dense layer.

        The norm is the realised one, contracted from the drawn cores: of a few cores the
        expected one misses by factors. Outputs of unit-normal inputs have unit variance,
        as with LeCun's initialisation of a dense layer.

        Args:
            key: a PRNG key.
            dtype: of the cores.
        """
        return _init(self, key, jnp.dtype(dtype))

    def from_dense(
        self,
        kernel: Float[Array, "in_features out_features"],
        *,
        tol: float | None = None,
        rank: int | None = None,
        key: jax.Array | None = None,
    ) -> tuple[Weight, Fit]:
        """The weight in this format, or in one of other ranks, that is nearest to `kernel`.

        Args:
            kernel: the dense matrix.
            tol: relative Frobenius error to keep, with ranks as small as that allows.
            rank: bound on every rank in place of the format's own. Beside `tol` it wins: read
                the error that is left from the `Fit`.
            key: for formats whose method starts at random.

        Returns:
            The weight (its format holds the ranks that were found) and a measured `Fit`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no decomposition from a dense matrix")

    def restrict(self, start: int, stop: int) -> Restricted:
        """The format of the kernel's rows [start, stop): the same cores, sliced."""
        return Restricted(self, start, stop)

    def problem(
        self,
        batch: int,
        *,
        dtype: Any = jnp.float32,
        mode: schedules.Mode = "train",
        arithmetic: schedules.Arithmetic | None = None,
    ) -> schedules.Problem:
        """What a schedule is wanted for when `batch` rows meet this format on the default device.

        Under `jax.export` with a symbolic batch, that of a single row.
        """
        rows = max(batch, 1) if isinstance(batch, int) else 1
        kind, dtype = jax.default_backend(), jnp.dtype(dtype).name
        return schedules.Problem(self.network(), rows, dtype, mode, arithmetic, kind)

    def plan(self, batch: int, **options: Any) -> schedules.Schedule:
        """The schedule that `apply` uses for `batch` rows; arguments as for `problem`."""
        return schedules.best(self.problem(batch, **options))

    @property
    def padding(self) -> tuple[int, int]:
        """Zeros that stand before and behind the inputs in the network's modes."""
        return self.in_offset, self.network().in_size - self.in_offset - self.in_features

    def crop_outputs(
        self, y: Shaped[Array, "batch out_size"]
    ) -> Shaped[Array, "batch out_features"]:
        """`y` without the outputs that the network's modes have too many, gate by gate."""
        if y.shape[-1] == self.out_features:
            return y
        y = y.reshape(*y.shape[:-1], self.gates, y.shape[-1] // self.gates)
        y = y[..., : self.out_features // self.gates]
        return y.reshape(*y.shape[:-2], self.out_features)

    def input_mask(self) -> np.ndarray | None:
        """Which of the network's inputs are in use; None where all are."""
        used = np.zeros(self.network().in_size, bool)
        used[self.in_offset : self.in_offset + self.in_features] = True
        return None if used.all() else used

    def output_mask(self) -> np.ndarray | None:
        """Which of the network's outputs are in use; None where all are."""
        used = np.zeros((self.gates, self.network().out_size // self.gates), bool)
        used[:, : self.out_features // self.gates] = True
        return None if used.all() else used.reshape(-1)

    def __repr__(self) -> str:
        """The format as `parse_format` reads it: fields that are at their default are left out."""
        shown = [f"{name}={value!r}" for name, value in self._shown_fields()]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _shown_fields(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default and not self._is_implied(field.name):
                yield field.name, value

    def _is_implied(self, name: str) -> bool:
        return False


@dataclasses.dataclass(frozen=True, repr=False)
class ModeFormat(Format):
    """A format that cuts input and output into modes.

    Args:
        in_modes: sizes that multiply to in_features, or to more (zero padding).
        out_modes: likewise for out_features.
        in_features: length of the input; by default the product of in_modes.
        out_features: length of the output; by default the product of out_modes.
        gates: number of equal blocks that the outputs consist of; `with_gates` sets it.

    Raises:
        ValueError: a mode below 1, or modes that multiply to less than the features.

    Example:
        >>> import ht_jax as ht
        >>> fmt = ht.TT((8, 6), (4, 4), rank=2, in_features=45)  # 3 zeros are padded
        >>> fmt.padding, fmt.with_gates(4).out_modes
        ((0, 3), (16, 4))
    """

    in_modes: tuple[int, ...]
    out_modes: tuple[int, ...]
    in_features: int = dataclasses.field(default=None, kw_only=True)  # pyright: ignore
    out_features: int = dataclasses.field(default=None, kw_only=True)  # pyright: ignore
    gates: int = dataclasses.field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        for side in ("in", "out"):
            modes = sizes(f"{side}_modes", getattr(self, f"{side}_modes"))
            object.__setattr__(self, f"{side}_modes", modes)
            if getattr(self, f"{side}_features") is None:
                object.__setattr__(self, f"{side}_features", math.prod(modes))
            as_int(self, f"{side}_features")
            features = getattr(self, f"{side}_features")
            check_covers(f"{side}_modes", modes, f"{side}_features", features)
        check_gates(self, math.prod(self.out_modes))

    def with_gates(self, gates: int) -> Self:
        """See `Format.with_gates`: the gate is folded into the first output mode."""
        at_least_one("gates", gates)
        first, *rest = self.out_modes
        return dataclasses.replace(
            self,
            out_modes=(gates * first, *rest),
            out_features=gates * self.out_features,
            gates=gates * self.gates,
        )

    def _is_implied(self, name: str) -> bool:
        modes = {"in_features": self.in_modes, "out_features": self.out_modes}
        return name in modes and math.prod(modes[name]) == getattr(self, name)


@dataclasses.dataclass(frozen=True, repr=False)
class Restricted(Format):
    """Rows [start, stop) of another format's matrix, held as its cores, sliced.

    Where the range does not fill the slabs that it touches, the input is padded with zeros
    on both sides; the product is that of the rows asked for, exactly.

    Example:
        >>> import ht_jax as ht
        >>> rows = ht.TT((8, 6), (4, 4), rank=2).restrict(6, 18)
        >>> rows.in_features, rows.in_modes
        (12, (2, 6))
    """

    base: Format
    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop <= self.base.in_features:
            raise ValueError(
                f"rows [{self.start}, {self.stop}) do not lie within the "
                f"{self.base.in_features} rows of {self.base}"
            )

    @property
    def padded_range(self) -> tuple[int, int]:
        """The rows counted in the inputs of the base's network."""
        return self.base.in_offset + self.start, self.base.in_offset + self.stop

    @property
    def in_features(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Number of rows."""
        return self.stop - self.start

    @property
    def out_features(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Number of columns, those of the base."""
        return self.base.out_features

    @property
    def gates(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Blocks of columns, those of the base."""
        return self.base.gates

    @property
    def in_offset(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Rows of the touched slabs that stand before the range."""
        start, stop = self.padded_range
        return start - self.base.network().slices(start, stop)[1]

    @property
    def in_modes(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Sizes of the sliced input indices."""
        net = self.network()
        return tuple(net.size[i] for i in net.inputs)

    @property
    def out_modes(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Output modes, those of the base."""
        return self.base.out_modes

    def network(self) -> TensorNetwork:
        """The base's network, its input indices cut to the slabs that the rows touch."""
        return self.base.network().restrict(*self.padded_range)

    def sized(self, in_features: int, out_features: int) -> Self:
        """See `Format.sized`; a slice cannot be padded."""
        if (in_features, out_features) != (self.in_features, self.out_features):
            raise ValueError(f"{self} is not of size {(in_features, out_features)}")
        return self

    def with_gates(self, gates: int) -> Self:
        """The same rows of the base with gates."""
        return dataclasses.replace(self, base=self.base.with_gates(gates))


def sizes(name: str, values: Any) -> tuple[int, ...]:
    """`values` as a tuple of ints >= 1, or a ValueError that quotes them."""
    values = tuple(values) if isinstance(values, Sequence | np.ndarray) else (values,)
    good = all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values)
    if not values or not good or min(values) < 1:
        raise ValueError(f"{name} {values} must be whole numbers, one or more, each at least 1")
    return tuple(int(v) for v in values)


def at_least_one(name: str, value: Any) -> int:
    """`value` as an int, or a ValueError that quotes it unless it is one >= 1."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} {value!r} must be a whole number, at least 1")
    return int(value)


def check_format(name: str, fmt: Any) -> Format:
    """`fmt`, or a TypeError that quotes it unless it is a format; a text, say, is not."""
    if not isinstance(fmt, Format):
        raise TypeError(
            f"{name} {fmt!r} is not a format: give one such as ht.HT(...); "
            "ht.parse_format reads a text"
        )
    return fmt


def as_int(fmt: Any, name: str) -> None:
    """Makes the field `name` of a format an int >= 1, or raises a ValueError that quotes it."""
    object.__setattr__(fmt, name, at_least_one(name, getattr(fmt, name)))


def check_gates(fmt: Any, out_size: int) -> None:
    """Raises ValueError unless the gates divide the outputs, with padding and without."""
    as_int(fmt, "gates")
    if fmt.out_features % fmt.gates or out_size % fmt.gates:
        raise ValueError(
            f"{fmt.out_features} outputs (padded to {out_size}) do not divide into {fmt.gates} "
            "gates: describe one gate and call with_gates"
        )


def check_paired(in_modes: tuple[int, ...], out_modes: tuple[int, ...]) -> None:
    """Raises ValueError unless there are as many output as input modes."""
    if len(in_modes) != len(out_modes):
        raise ValueError(
            f"in_modes {in_modes} are {len(in_modes)} but out_modes {out_modes} are "
            f"{len(out_modes)}: this format pairs them; fill up with modes of 1"
        )


def check_covers(modes_name: str, modes: tuple[int, ...], name: str, features: int) -> None:
    """Raises ValueError unless `modes` multiply to `features` or more."""
    if math.prod(modes) < features:
        raise ValueError(
            f"{modes_name} {modes} multiply to {math.prod(modes)}, which is below {name} "
            f"{features}: give modes that multiply to {features} or a little more "
            "(the rest is padded with zeros)"
        )


@functools.partial(jax.jit, static_argnums=(0, 2))
def _init(fmt: Format, key: jax.Array, dtype: Any) -> Weight:
    wide = jnp.dtype(jnp.float32) if dtype.itemsize < 4 else dtype
    weight = _draw(fmt, key, wide)
    # The factor is near 1; every operand takes an equal share of it.
    share = (fmt.out_features / squared_norm(weight)) ** (0.5 / len(fmt.network().operands))
    return jax.tree.map(lambda core: (core * share).astype(dtype), weight)


def _draw(fmt: Format, key: jax.Array, dtype: Any) -> Weight:
    """Gaussian cores, equally scaled, whose kernel has an expected squared norm of its columns."""
    net = fmt.network()
    terms = sum(math.log(size) for _, size in net.sizes)
    scale = math.exp((math.log(net.out_size) - terms) / (2 * len(net.operands)))
    # One draw for all cores: each draw of its own would add half a second of compilation.
    drawn = scale * jax.random.normal(key, (net.num_params,), dtype)
    shapes = {name: net.shape(name) for name in net.cores}
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])
    parts = jnp.split(drawn, ends[:-1])
    return Weight({n: part.reshape(s) for part, (n, s) in zip(parts, shapes.items())}, fmt)
