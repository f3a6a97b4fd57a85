"""Integer inputs: how frames of whole numbers are read, and the product that starts from them.

`x * scale + offset` is never formed: the product is that of `x - shift`, whole numbers still, with
`shift` the one nearest to the zero of the reading; what is left of the offset is a constant row.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Num

Arithmetic = Literal["float", "split", "bfloat16"]
ARITHMETICS: tuple[Arithmetic, ...] = ("float", "split", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Reading:
    """How integers are read: as `x * scale + offset`.

    Args:
        scale: factor of an input.
        offset: what is added to it.
        arithmetic: of the first product. "float" converts the inputs to the cores' dtype. The
            other two keep them as bfloat16, which holds the 256 values of a byte exactly:
            "split" takes the cores as a sum of two bfloat16 numbers (relative error about 1e-5),
            "bfloat16" as one (about 1e-2). Sums are float32.

    Raises:
        ValueError: another arithmetic, or a scale of 0.

    Example:
        >>> import ht_jax as ht, jax, jax.numpy as jnp
        >>> weight = ht.HT((8, 6), (4, 4), rank=3).init(jax.random.key(0))
        >>> pixels = jnp.arange(48, dtype=jnp.uint8)[None]
        >>> y = ht.apply(weight, pixels, reading=Reading(scale=1 / 255, offset=-0.5))
        >>> bool(jnp.allclose(y, (pixels / 255 - 0.5) @ weight.to_dense(), atol=1e-5))
        True
    """

    scale: float = 1.0
    offset: float = 0.0
    arithmetic: Arithmetic = "float"

    def __post_init__(self) -> None:
        if self.arithmetic not in ARITHMETICS:
            raise ValueError(f"arithmetic {self.arithmetic!r} is not one of {ARITHMETICS}")
        if not self.scale:
            raise ValueError(f"scale {self.scale!r} would hide the input: give another than 0")

    def of(self, source: Any, target: Any) -> Loader:
        """What loads inputs of an integer dtype `source` for cores of a dtype `target`.

        Raises:
            ValueError: "split" or "bfloat16" for integers that bfloat16 would round.
        """
        info, arithmetic = jnp.iinfo(source), self.arithmetic
        if arithmetic != "float" and info.bits > 8:
            raise ValueError(
                f"arithmetic {arithmetic!r} takes inputs of one byte, not {source}: "
                "bfloat16 would round them; use 'float'"
            )
        if target == jnp.bfloat16 and info.bits <= 8:
            arithmetic = "bfloat16"
        shift = min(max(round(-self.offset / self.scale), int(info.min)), int(info.max))
        rest = self.offset / self.scale + shift
        return Loader(shift, rest, target if arithmetic == "float" else jnp.bfloat16, arithmetic)


@dataclasses.dataclass(frozen=True)
class Loader:
    """Turns integers into the floats that the first product takes.

    Attributes:
        shift: the integer that is read as nearly 0.
        rest: what the shifted inputs still lack, before the scale.
        dtype: of the floats.
        arithmetic: of the first product.
    """

    shift: int
    rest: float
    dtype: Any
    arithmetic: Arithmetic

    def __call__(self, x: Integer[Array, "rows cols"]) -> Float[Array, "rows cols"]:
        """`x - shift`, exactly.

        The barrier keeps XLA:CPU from fusing the conversion into the matrix product, which then
        runs at half its speed.
        """
        x = x.astype(self.dtype)
        x = x - jnp.asarray(self.shift, self.dtype) if self.shift else x
        return jax.lax.optimization_barrier(x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def exact_product(
    x: Num[Array, "rows inner"], v: Float[Array, "inner cols"], arithmetic: Arithmetic
) -> Float[Array, "rows cols"]:
    """`x @ v` for bfloat16 `x` that holds whole numbers, summed in float32.

    Its reverse-mode rule gives no gradient for `x`, and one for `v` in the same arithmetic.
    """
    parts = _parts(v, arithmetic)
    y = _dot(x, jnp.concatenate(parts, axis=1))
    return _summed(y, len(parts), 1).astype(v.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def exact_transposed_product(
    x: Num[Array, "rows inner"], g: Float[Array, "rows cols"], arithmetic: Arithmetic
) -> Float[Array, "inner cols"]:
    """`x.T @ g`: the transpose of `exact_product`, and transposed by it."""
    # XLA:CPU takes a bfloat16 product whose operand it has to transpose itself in float32, or
    # not at all: a small product with the identity transposes exactly, and the barriers keep
    # both transpositions out of the large product.
    barrier = jax.lax.optimization_barrier
    turned = _dot(jnp.eye(g.shape[1], dtype=jnp.float32), g.astype(jnp.float32), 1)
    parts = _parts(turned, arithmetic)
    v = barrier(_dot(barrier(jnp.concatenate(parts)), x))
    return _summed(v, len(parts), 0).T.astype(g.dtype)


def _rule(product, transposed):
    def forward(x: Array, v: Array, arithmetic: Arithmetic):
        return product(x, v, arithmetic), x

    def backward(arithmetic: Arithmetic, x: Array, g: Array):
        return None, transposed(x, g, arithmetic)

    product.defvjp(forward, backward)


_rule(exact_product, exact_transposed_product)
_rule(exact_transposed_product, exact_product)


def _parts(a: Array, arithmetic: Arithmetic) -> list[Array]:
    """`a` as one bfloat16 array, or as two whose sum it nearly is."""
    high = a.astype(jnp.bfloat16)
    if arithmetic == "bfloat16":
        return [high]
    return [high, (a - high.astype(a.dtype)).astype(jnp.bfloat16)]


def _summed(a: Array, parts: int, axis: int) -> Array:
    """The sum of the blocks; adding slices is twice as fast on a CPU as reducing an axis."""
    return functools.reduce(operator.add, jnp.split(a, parts, axis=axis))


def _dot(a: Array, b: Array, axis: int = 0) -> Array:
    contracting = (((1,), (axis,)), ((), ()))
    return jax.lax.dot_general(a, b, contracting, preferred_element_type=jnp.float32)
