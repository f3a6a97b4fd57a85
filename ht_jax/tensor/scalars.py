"""A tensor and a number: quotients, sums, powers; and what to call for other entry-wise functions.

A number is added as a tensor of rank 1 of ones, so a sum has one rank more at every node.
"""

from __future__ import annotations

import dataclasses
import functools
import numbers
from typing import TYPE_CHECKING, Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from ht_jax.tensor.arithmetic import add, multiply, scale
from ht_jax.tensor.cores import expected_shape
from ht_jax.tensor.linalg import backend

if TYPE_CHECKING:
    from ht_jax.tensor.ht_tensor import HTTensor

_POWERS = range(1, 5)  # ranks are multiplied that many times


def is_number(value: Any) -> bool:
    """Whether a value is one number, of Python, NumPy or JAX, traced or not.

    Raises:
        ValueError: it is an array.
    """
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        if value.ndim:
            raise ValueError(
                f"a tensor meets an array of shape {value.shape}, not a number: "
                "HTTensor.from_dense(array, tree=t.tree) makes a tensor of it"
            )
        return jnp.issubdtype(value.dtype, np.number) or value.dtype == bool
    return isinstance(value, numbers.Number)


def divide(x: HTTensor, divisor: Any) -> HTTensor:
    """The tensor over a number: the root is divided.

    Raises:
        ZeroDivisionError: the divisor is a zero of Python or NumPy.
    """
    if isinstance(divisor, numbers.Number) and divisor == 0:
        raise ZeroDivisionError(f"a tensor of shape {x.shape} divided by {divisor}")
    x = _complex_if(x, divisor)
    root = x.cores[x.tree.root]
    divided = root / backend(root, divisor).asarray(divisor, dtype=x.dtype)
    return dataclasses.replace(x, cores={**x.cores, x.tree.root: divided})


def shift(x: HTTensor, number: Any) -> HTTensor:
    """The tensor with a number added to every entry; ranks rise by 1, unless it is Python's 0."""
    if isinstance(number, numbers.Number) and number == 0:
        return x
    x = _complex_if(x, number)
    xp, ranks = backend(*x.cores.values()), dict.fromkeys(x.tree.nodes, 1)
    shapes = {node: expected_shape(node, x.tree, x.shape, ranks) for node in x.tree.nodes}
    ones = {node: xp.ones(shape, x.dtype) for node, shape in shapes.items()}
    return add(x, scale(dataclasses.replace(x, cores=ones), number))


def _complex_if(x: HTTensor, number: Any) -> HTTensor:
    return scale(x, 1 + 0j) if jnp.iscomplexobj(number) else x


def power(x: HTTensor, exponent: Any) -> HTTensor:
    """The element-wise power by multiplication; ranks are raised to it.

    Raises:
        ValueError: the exponent is not one of 1, 2, 3, 4.
    """
    if not isinstance(exponent, int | float | np.number) or exponent not in _POWERS:
        raise ValueError(
            f"t ** {exponent!r}: the powers 1 to 4 are formed exactly; for others multiply and "
            "truncate in turn, ht.tensor.truncate_product(y, t, tol=...), after "
            "ht.tensor.reciprocal(t, tol=...) for negative ones"
        )
    return functools.reduce(multiply, [x] * int(exponent))


def no_quotient(*_: Any) -> NoReturn:
    """Raises TypeError: the reciprocal of a tensor is an iteration that needs a tolerance."""
    raise TypeError(
        "an element-wise quotient by a tensor t needs a tolerance: multiply by "
        "ht.tensor.reciprocal(t, tol=...)"
    )


def no_absolute_value(*_: Any) -> NoReturn:
    """Raises TypeError: the absolute value of a tensor is an iteration that needs a tolerance."""
    raise TypeError(
        "abs(t), entry by entry, needs a tolerance: ht.tensor.maximum(t, -t, tol=...); "
        "the size of the whole tensor is ht.tensor.norm(t)"
    )
