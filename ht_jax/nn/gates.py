"""Gate orders: how other libraries lay out the gates of a matrix, and the way between them.

All of them put the gates of a cell side by side in one matrix, each H columns wide, but not in
the same order. The reset gate is r, the update gate s (called z elsewhere), the candidate n.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Shaped

Library = Literal["ht_jax", "torch", "flax", "keras"]

# "flax" is OptimizedLSTMCell and GRUCell; "keras" a GRU with reset_after=True.
GATE_ORDER: dict[str, dict[Library, str]] = {
    "lstm": {"ht_jax": "ifgo", "torch": "ifgo", "flax": "ifgo", "keras": "ifgo"},
    "gru": {"ht_jax": "rsn", "torch": "rsn", "flax": "rsn", "keras": "srn"},
    "simple": {"ht_jax": "n", "torch": "n", "flax": "n", "keras": "n"},
}


def reorder_gates(
    array: Shaped[Array, "*rows gated"], cell: str, source: Library, target: Library
) -> Shaped[Array, "*rows gated"]:
    """A kernel or bias with its gates in the order of another library.

    Args:
        array: the last axis is the gates side by side; a PyTorch weight comes transposed.
        cell: "lstm", "gru" or "simple".
        source: whose order `array` has.
        target: whose order the result has.

    Raises:
        ValueError: an unknown cell or library, or a last axis that the gates do not divide.

    Example:
        >>> reorder_gates(jnp.arange(6), "gru", "keras", "ht_jax")
        Array([2, 3, 0, 1, 4, 5], dtype=int...)
    """
    if cell not in GATE_ORDER or not {source, target} <= set(GATE_ORDER[cell]):
        raise ValueError(
            f"no gate order is known for {cell!r} from {source!r} to {target!r}: "
            f"cells are {list(GATE_ORDER)}, libraries {list(GATE_ORDER['lstm'])}"
        )
    ours, theirs = GATE_ORDER[cell][source], GATE_ORDER[cell][target]
    if array.shape[-1] % len(ours):
        raise ValueError(f"{array.shape[-1]} columns do not divide into the {len(ours)} gates")
    blocks = jnp.split(array, len(ours), axis=-1)
    return jnp.concatenate([blocks[ours.index(gate)] for gate in theirs], axis=-1)
