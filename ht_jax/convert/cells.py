"""The parameters of one recurrent cell, and the layer that holds them.

All libraries put the gates of a cell side by side, in orders of their own
(`ht_jax.nn.GATE_ORDER`); here they are in the order of this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
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
    """The parameters of one cell, gates in this library's order, all of one dtype.

    Attributes:
        kind: "lstm", "gru" or "simple".
        input: input-to-hidden kernel.
        recurrent: hidden-to-hidden kernel.
        bias: of all gates; its forget gate has no 1 added.
        candidate_bias: of a GRU's hidden candidate, inside the reset gate's product.
        dtype: of the computation; by default that of the inputs and parameters.

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
    dtype: Any = None


def layer_of(weights: CellWeights, **options: Any) -> nn.RNN:
    """The layer that holds these parameters.

    Args:
        weights: of the cell.
        options: of `nn.RNN`.

    Raises:
        ValueError: shapes or dtypes that do not fit together, parameters that are not finite, or
            float64 ones that JAX would round.

    Example:
        >>> layer_of(CellWeights("gru", np.ones((5, 9)), np.ones((3, 9)), np.ones(9))).cell.gates
        3
    """
    in_features, hidden = weights.input.shape[0], weights.recurrent.shape[0]
    cell = CELLS[weights.kind]
    arrays = {
        "cell.input.cores.kernel": weights.input,
        "cell.input.bias": weights.bias,
        "cell.recurrent.cores.kernel": weights.recurrent,
    }
    if weights.kind == "gru":
        own = weights.candidate_bias
        own = np.zeros(hidden, weights.input.dtype) if own is None else own
        arrays["cell.candidate_bias"] = own
    dtypes = {"dtype": weights.dtype, "param_dtype": dtype_of(arrays)}
    layer = nnx.eval_shape(
        lambda: nn.RNN(cell(in_features, hidden, **dtypes, rngs=nnx.Rngs(0)), **options)
    )
    fill(layer, arrays)
    return layer


def dtype_of(arrays: Mapping[str, np.ndarray]) -> np.dtype:
    """The dtype of the first array, in which JAX holds all of them as they are.

    Args:
        arrays: by name.

    Raises:
        ValueError: one is not of floats, or would be rounded.
    """
    held = jax.dtypes.canonicalize_dtype(next(iter(arrays.values())).dtype)
    for name, array in arrays.items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"{name} has dtype {array.dtype}: floats are read")
        if array.dtype != held and not _equal(array, array.astype(held)):
            raise ValueError(
                f"{name} is {array.dtype} and would be rounded to {held}: cast all parameters to "
                "one dtype (float64 needs jax_enable_x64)"
            )
    return held


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.all((a == b.astype(a.dtype)) | (a != a)))


def one_or_both(cells: Sequence[CellWeights], *, time_major: bool = False) -> Any:
    """A layer of one cell, or a Bidirectional of two.

    Args:
        cells: that which runs forward, and that which runs backward if there is one.
        time_major: whether inputs are (time, batch, features).
    """
    layers = [layer_of(cell, time_major=time_major) for cell in cells]
    if len(layers) == 1:
        return layers[0]
    return nn.Bidirectional(*layers, time_major=time_major)


def stacked(layers: Sequence[Any]) -> Any:
    """One layer as it is, several as `nn.Stacked`.

    Args:
        layers: the first one first.

    Raises:
        ValueError: there is none.
    """
    if not layers:
        raise ValueError("there is no layer to convert: give at least one")
    return layers[0] if len(layers) == 1 else nn.Stacked(layers)
