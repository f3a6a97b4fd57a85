"""The numbers of one recurrent cell, and the layer that holds them.

All libraries put the gates of a cell side by side, in orders of their own
(`ht_jax.nn.GATE_ORDER`); here they are in the order of this one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from ht_jax import nn
from ht_jax.export.files import fill

CELLS: dict[str, type[nn.RecurrentCell]] = {
    "lstm": nn.LSTMCell,
    "gru": nn.GRUCell,
    "simple": nn.SimpleCell,
}
KIND_OF_GATES = {4: "lstm", 3: "gru", 1: "simple"}


class CellWeights(NamedTuple):
    """The numbers of one cell, gates in this library's order.

    Attributes:
        kind: "lstm", "gru" or "simple".
        input: input-to-hidden kernel.
        recurrent: hidden-to-hidden kernel.
        bias: of all gates; its forget gate has no 1 added.
        candidate_bias: of a GRU's hidden candidate, inside the reset gate's product.

    Example:
        >>> import jax.numpy as jnp
        >>> weights = CellWeights("simple", np.ones((5, 3)), np.eye(3), np.zeros(3))
        >>> layer_of(weights)(jnp.ones((2, 7, 5))).shape
        (2, 7, 3)
    """

    kind: str
    input: Float[np.ndarray, "in_features gated"]
    recurrent: Float[np.ndarray, "hidden gated"]
    bias: Float[np.ndarray, " gated"]
    candidate_bias: Float[np.ndarray, " hidden"] | None = None


def layer_of(weights: CellWeights) -> nn.RNN:
    """The layer that holds these numbers.

    Args:
        weights: of the cell.

    Raises:
        ValueError: shapes that do not fit together, or numbers that are not finite.

    Example:
        >>> layer_of(CellWeights("gru", np.ones((5, 9)), np.ones((3, 9)), np.ones(9))).cell.gates
        3
    """
    in_features, hidden = weights.input.shape[0], weights.recurrent.shape[0]
    cell = CELLS[weights.kind]
    dtype = jax.dtypes.canonicalize_dtype(weights.input.dtype)
    arrays = {
        "cell.input.cores.kernel": weights.input,
        "cell.input.bias": weights.bias,
        "cell.recurrent.cores.kernel": weights.recurrent,
    }
    if weights.kind == "gru":
        own = weights.candidate_bias
        arrays["cell.candidate_bias"] = np.zeros(hidden, dtype) if own is None else own
    layer = nnx.eval_shape(
        lambda: nn.RNN(cell(in_features, hidden, param_dtype=dtype, rngs=nnx.Rngs(0)))
    )
    fill(layer, arrays)
    return layer


def stacked(layers: list[Any]) -> Any:
    """One layer as it is, several as `nn.Stacked`."""
    return layers[0] if len(layers) == 1 else nn.Stacked(layers)
