"""How many numbers a model holds, and how many its recurrent matrices would hold when dense.

With gates g, inputs I and hidden H the dense matrices are I x gH and H x gH; a format stands in for
one of them or for both.
"""

import dataclasses
import math
from collections.abc import Collection
from typing import Any

import jax
from flax import nnx

from ht_jax.nn import RecurrentCell


@dataclasses.dataclass(frozen=True)
class Counts:
    """Numbers of a model.

    Args:
        params: In the whole model.
        matrix_params: In the recurrent matrices that formats hold (in all where none does).
        dense_matrix_params: In the same matrices when dense.
    """

    params: int
    matrix_params: int
    dense_matrix_params: int

    @property
    def compression_ratio(self) -> float:
        """Dense numbers over stored ones."""
        return self.dense_matrix_params / self.matrix_params


def count(model: nnx.Module, cell: RecurrentCell, compressed: Collection[str]) -> Counts:
    """Counts the numbers of a model.

    Args:
        model: The whole model.
        cell: Its recurrent cell.
        compressed: Which of "input", "recurrent" and "joint" a format holds; without any, the
            dense matrices are counted.

    Returns:
        The counts.

    >>> from ht_jax.nn import LSTMCell
    >>> cell = LSTMCell(6, 2, rngs=nnx.Rngs(0))
    >>> count(cell, cell, ())
    Counts(params=72, matrix_params=64, dense_matrix_params=64)
    """
    inputs, hidden = cell.in_features, cell.hidden_features
    rows = {"input": inputs, "recurrent": hidden, "joint": inputs + hidden}
    names = compressed or ("input", "recurrent")
    stored = sum(_size(getattr(cell, name).weight) for name in names)
    dense = sum(rows[name] * cell.gates * hidden for name in names)
    return Counts(_size(nnx.state(model, nnx.Param)), stored, dense)


def _size(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
