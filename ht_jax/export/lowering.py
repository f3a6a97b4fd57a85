"""A traced function in fewer kinds of operation, for converters that do not take all of JAX's.

Calls are inlined, scans run forward, and products of fixed sizes are matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from jax import lax
from jax.extend import core
from jaxtyping import Array

_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # where the primitives of calls hold their function
_CALLS = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat2"}


def simplified(closed: core.ClosedJaxpr) -> Callable[..., list[Array]]:
    """The function of a jaxpr, which leaves fewer kinds of operation in the next one.

    Args:
        closed: what `jax.make_jaxpr` made of a function.

    Returns:
        A function of the same arrays, which gives the list of its outputs.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> total = lambda x: lax.scan(lambda c, x: (c + x, c), 0.0, x, reverse=True)
        >>> function = simplified(jax.make_jaxpr(total)(jnp.arange(3.0)))
        >>> [y.tolist() for y in function(jnp.arange(3.0))]
        [3.0, [3.0, 2.0, 0.0]]
    """
    return lambda *args: _run(closed.jaxpr, closed.consts, args)


def _run(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
    value = lambda atom: atom.val if isinstance(atom, core.Literal) else known[atom]  # noqa: E731
    for eqn in jaxpr.eqns:
        results = _operation(eqn, [value(atom) for atom in eqn.invars])
        known |= zip(eqn.outvars, results, strict=True)
    return [value(atom) for atom in jaxpr.outvars]


def _operation(eqn: Any, args: list[Any]) -> Sequence[Any]:
    name, params = eqn.primitive.name, eqn.params
    if name in _CALLS:
        return _called(params, args)
    if name == "scan":
        return _scan(params, args)
    if name == "dot_general" and _is_fixed(args):
        return [_matrix_product(*args, **params)]
    results = eqn.primitive.bind(*args, **params)
    return results if eqn.primitive.multiple_results else [results]


def _called(params: Any, args: Sequence[Any]) -> list[Any]:
    body = next(params[name] for name in _BODIES if name in params)
    return _run(getattr(body, "jaxpr", body), getattr(body, "consts", ()), args)


def _scan(params: Any, args: list[Any]) -> list[Any]:
    """A scan that runs forward: from the last to the first, its sequences are turned round."""
    num_consts, num_carry = _arity(params)
    consts, carry = args[:num_consts], args[num_consts : num_consts + num_carry]
    xs = args[num_consts + num_carry :]
    turned = (lambda x: lax.rev(x, (0,))) if params["reverse"] else (lambda x: x)

    def body(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        results = _called(params, [*consts, *carry, *x])
        return results[: len(carry)], results[len(carry) :]

    length = None if xs else params["length"]  # that of xs, which may be a name
    carry, ys = lax.scan(body, carry, [turned(x) for x in xs], length, unroll=params["unroll"])
    return [*carry, *(turned(y) for y in ys)]


def _arity(params: Any) -> tuple[int, int]:
    """How many arguments of a scan are constants, and how many are its carry."""
    if "num_consts" in params:  # until JAX 0.10
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()
    return len(consts), len(carry)


def _is_fixed(args: Sequence[Any]) -> bool:
    return all(isinstance(size, int) for x in args for size in x.shape)


def _matrix_product(
    a: Array, b: Array, *, dimension_numbers: Any, precision: Any, **options: Any
) -> Array:
    """`lax.dot_general` as one of (groups, rows, inner) and (groups, inner, cols)."""
    (a_inner, b_inner), (a_groups, b_groups) = dimension_numbers
    rows = [n for n in range(a.ndim) if n not in (*a_inner, *a_groups)]
    cols = [n for n in range(b.ndim) if n not in (*b_inner, *b_groups)]
    a = lax.transpose(a, (*a_groups, *rows, *a_inner))
    b = lax.transpose(b, (*b_groups, *b_inner, *cols))
    groups, rows = a.shape[: len(a_groups)], a.shape[len(a_groups) : a.ndim - len(a_inner)]
    inner, cols = a.shape[a.ndim - len(a_inner) :], b.shape[len(b_groups) + len(b_inner) :]
    sizes = [math.prod(part) for part in (groups, rows, inner, cols)]
    a, b = lax.reshape(a, sizes[:3]), lax.reshape(b, (sizes[0], *sizes[2:]))
    y = lax.dot_general(a, b, (((2,), (1,)), ((0,), (0,))), precision, **options)
    return lax.reshape(y, (*groups, *rows, *cols))
