"""Element-wise functions by iterations of truncated products.

Newton-Schulz: `y <- y (2 - x y)` for 1 / x, `s <- s (3 - s^2) / 2` for the sign; squaring a
normalised tensor again and again leaves its entry of largest size (Espig, Hackbusch, Litvinenko,
Matthies and Zander 2013). Ranks of the results may be high where the functions are not smooth.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ht_jax.tensor.arithmetic import distance, norm
from ht_jax.tensor.construct import ones
from ht_jax.tensor.ht_tensor import HTTensor
from ht_jax.tensor.truncate import truncate, truncate_product, truncate_sum


def square(x: HTTensor, **limits: Any) -> HTTensor:
    """The element-wise square, truncated: see `truncate` for the limits.

    >>> float(square(3 * ones((2, 2)), max_rank=1)[0, 0])
    9.00
    """
    return truncate_product(x, x, **limits)


def reciprocal(
    x: HTTensor, *, tol: float = 1e-6, max_rank: int | None = None, iterations: int = 50
) -> HTTensor:
    """The element-wise 1 / x of a tensor whose entries all have one sign.

    Args:
        x: real tensor.
        tol: relative error |x y - 1| / |1| to reach.
        max_rank: bound on the ranks of the iterates.
        iterations: at most so many.

    Raises:
        ValueError: the iteration does not converge: an entry is (nearly) zero, signs differ, or
            max_rank is too small.

    >>> float(reciprocal(4 * ones((2, 2)), tol=1e-4)[0, 0])
    0.25
    """
    limits = {"tol": tol / 10, "max_rank": max_rank}
    one = ones(x.shape, tree=x.tree, dtype=x.dtype)
    y, error = one / largest_entry(x)[1], np.inf
    for _ in range(iterations):
        product = truncate_product(x, y, **limits)
        error = float(distance(product, one) / norm(one))
        if error <= tol:
            return y
        if not error < 1e3:
            break
        y = truncate_product(y, truncate_sum([2 * one, -product], **limits), **limits)
    raise ValueError(
        f"no reciprocal to tol={tol}: x y differs from 1 by {error:.1e} after {iterations} "
        f"iterations; entries must have one sign and stay away from 0 (max_rank={max_rank})"
    )


def largest_entry(
    x: HTTensor, *, max_rank: int = 10, iterations: int = 40
) -> tuple[tuple[int, ...], Any]:
    """Index and value of an entry of (nearly) largest absolute value; of zero, its first entry.

    Args:
        x: the tensor.
        max_rank: bound on the ranks of the powers; small ones are fast and nearly always enough.
        iterations: squarings at most; twenty tell apart entries that differ by 1e-5.

    >>> import jax.numpy as jnp
    >>> from ht_jax.tensor import sum_of_functions
    >>> index, value = largest_entry(sum_of_functions([jnp.arange(3.0), jnp.arange(4.0)]))
    >>> index, round(value, 3)
    ((2, 3), 5.0)
    """
    size = norm(x)
    if size == 0:
        return (0,) * len(x.shape), 0.0
    y = truncate(x / size, max_rank=max_rank)
    for _ in range(iterations):
        y = truncate_product(y, y, max_rank=max_rank)
        y = y / norm(y)
        if all(_concentration(np.asarray(y.cores[leaf])) > 0.999 for leaf in y.tree.leaves):
            break
    y = truncate(y, max_rank=1)
    index = tuple(int(abs(np.asarray(y.cores[f])).argmax(0).ravel()[0]) for f in y.tree.leaves)
    return index, np.asarray(x[index]).item()


def _concentration(frame: np.ndarray) -> float:
    weight = (abs(frame) ** 2).reshape(len(frame), -1).sum(1)
    return float(weight.max() / weight.sum())


def sign(
    x: HTTensor, *, tol: float = 1e-6, max_rank: int | None = None, iterations: int = 60
) -> HTTensor:
    """The element-wise sign of a real tensor without entries near zero.

    Raises:
        ValueError: the iteration does not converge.

    >>> float(sign(-3 * ones((2, 2)), tol=1e-4)[0, 0])
    -1.00
    """
    limits = {"tol": tol / 10, "max_rank": max_rank}
    one = ones(x.shape, tree=x.tree, dtype=x.dtype)
    largest = abs(largest_entry(x)[1])
    if largest == 0:
        raise ValueError("the zero tensor has no sign: entries must stay away from 0")
    s, error = x / largest, np.inf
    for _ in range(iterations):
        squared = truncate_product(s, s, **limits)
        error = float(distance(squared, one) / norm(one))
        if error <= tol:
            return s
        s = truncate_product(s, truncate_sum([1.5 * one, -0.5 * squared], **limits), **limits)
    raise ValueError(
        f"no sign to tol={tol}: its square differs from 1 by {error:.1e} after {iterations} "
        f"iterations; entries must stay away from 0 (max_rank={max_rank})"
    )


def maximum(
    x: HTTensor, y: HTTensor, *, tol: float = 1e-6, max_rank: int | None = None
) -> HTTensor:
    """The element-wise maximum `(x + y + |x - y|) / 2` of real tensors that nowhere (nearly) meet.

    Raises:
        ValueError: the iteration for the sign of x - y does not converge.

    >>> float(maximum(ones((2, 2)), 3 * ones((2, 2)), tol=1e-4)[0, 0])
    3.00
    """
    limits = {"tol": tol / 4, "max_rank": max_rank}
    difference = truncate_sum([x, -y], **limits)
    size = truncate_product(difference, sign(difference, tol=tol / 4, max_rank=max_rank), **limits)
    return truncate_sum([x / 2, y / 2, size / 2], **limits)
