"""Two layers on the same sequences: their outputs, and the gradients with respect to the inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.research.outcome import Outcome

Function = Callable[[jax.Array], list[jax.Array]]


def compare(theirs: Function, ours: Function, x: Any, description: str, seed: int) -> Outcome:
    """What the comparison of all outputs, and of the gradients for one cotangent, showed.

    Args:
        theirs: the other library's function of the inputs.
        ours: the converted one, which returns as many arrays.
        x: the inputs.
        description: of the case.
        seed: of the cotangent.

    Returns:
        "exact" within 1e-5 in float32, and within 16 roundings in half precision.
    """
    wanted, their_gradient = _with_gradient(theirs, x, seed)
    found, our_gradient = _with_gradient(ours, x, seed)
    worst = 0.0
    for n, (a, b) in enumerate(zip([*wanted, their_gradient], [*found, our_gradient], strict=True)):
        name = f"output {n}" if n < len(wanted) else "gradient"
        if a.shape != b.shape or a.dtype != b.dtype:
            shapes = f"{b.dtype}{b.shape}, not {a.dtype}{a.shape}"
            return Outcome("different", np.inf, f"{description}: {name} is {shapes}")
        scaled = _difference(a, b)
        worst = max(worst, scaled)
        if not scaled <= 1e-5:
            return Outcome("different", worst, f"{description}: {name} by {scaled:.1e}")
    return Outcome("exact", worst, description)


def _with_gradient(function: Function, x: Any, seed: int) -> Any:
    """The outputs, and the gradient of their sum with random weights."""

    @jax.jit  # one compilation, not one for each operation
    def both(x: jax.Array) -> Any:
        draw = np.random.default_rng(seed)
        outputs, pullback = jax.vjp(function, x)
        cotangents = [jnp.asarray(draw.normal(size=y.shape), y.dtype) for y in outputs]
        return outputs, pullback(cotangents)[0]

    return both(x)


def _difference(a: jax.Array, b: jax.Array) -> float:
    """The largest difference relative to the scale; 1e-5 stands for 16 roundings of a half."""
    unit = 1.0 if a.dtype.itemsize > 2 else 16 * float(jnp.finfo(a.dtype).eps) / 1e-5
    wide, other = (np.asarray(y, np.float64) for y in (a, b))
    return float(np.abs(wide - other).max(initial=0) / max(1, np.abs(wide).max(initial=0)) / unit)
