"""How many numbers a model holds, and how many its recurrent matrices would hold when dense.

With gates g, inputs I and hidden H the dense matrices are I x gH and H x gH; a format stands in for
one of them or for both.
"""

import dataclasses
from collections.abc import Collection

from flax import nnx

from ht_jax.nn import RecurrentCell
from ht_jax.summary import summary


@dataclasses.dataclass(frozen=True)
class Counts:
    """Numbers of a model.

    Args:
        params: In the whole model.
        matrix_params: In the recurrent matrices that formats hold (in all where none does).
        dense_matrix_params: In the same matrices when dense.

    Example:
        >>> counts = Counts(params=264_413, matrix_params=1_245, dense_matrix_params=58_982_400)
        >>> counts.compression_ratio
        47375.4
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
    names = compressed or ("input", "recurrent")
    layers = [layer for layer in summary(cell, batch=None).layers if layer.path in names]
    return Counts(
        summary(model, batch=None).params,
        sum(layer.matrix_params for layer in layers),
        sum(layer.dense_params for layer in layers),
    )
