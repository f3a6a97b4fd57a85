"""How many numbers a model holds, and how many its recurrent matrices would hold when dense.

With gates g, inputs I and hidden H the dense matrices are I x gH and H x gH; a format stands in for
one of them or for both.
"""

import dataclasses
import math
from typing import Protocol

import jax
from flax import nnx

_GATES = {"lstm": 4, "gru": 3, "simple": 1}


class Format(Protocol):
    """What is asked of a weight format here."""

    @property
    def num_params(self) -> int:
        """How many numbers its cores hold."""
        ...

    def with_gates(self, gates: int) -> "Format":
        """The same format with the gates folded in."""
        ...


@dataclasses.dataclass(frozen=True)
class Counts:
    """Numbers of a model.

    Args:
        params: In the whole model.
        matrix_params: In the recurrent matrices, as stored.
        dense_matrix_params: In the same matrices when dense.
    """

    params: int
    matrix_params: int
    dense_matrix_params: int

    @property
    def compression_ratio(self) -> float:
        """Dense numbers over stored ones, of the matrices that the formats replace or all."""
        return self.dense_matrix_params / self.matrix_params


def count_params(model: nnx.Module) -> int:
    """Counts the numbers in all parameters of a module."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def count_matrices(
    cell: str,
    features: int,
    hidden: int,
    *,
    input: Format | None = None,
    recurrent: Format | None = None,
    joint: Format | None = None,
) -> tuple[int, int]:
    """Counts the numbers of the matrices that formats replace; of all where none does.

    Args:
        cell: "lstm", "gru" or "simple".
        features: Inputs of the cell.
        hidden: Hidden features of the cell.
        input: Format of the input-to-hidden matrix.
        recurrent: Format of the hidden-to-hidden matrix.
        joint: Format of both.

    Returns:
        The numbers stored and the numbers when dense.

    >>> count_matrices("lstm", 57600, 256)
    (59244544, 59244544)
    """
    gates = _GATES[cell]
    rows = {"input": features, "recurrent": hidden, "joint": features + hidden}
    formats = {"input": input, "recurrent": recurrent, "joint": joint}
    used = {name: fmt for name, fmt in formats.items() if fmt is not None}
    if not used:
        return (rows["joint"] * gates * hidden,) * 2
    stored = sum(fmt.with_gates(gates).num_params for fmt in used.values())
    return stored, sum(rows[name] * gates * hidden for name in used)
