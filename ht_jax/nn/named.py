"""The systems of the papers by name: short constructors of the general layers and cells."""

from __future__ import annotations

from typing import Any

from flax import nnx

from ht_jax.formats import HT
from ht_jax.nn.cells import LSTMCell
from ht_jax.nn.linear import TensorDense

Modes = tuple[int, ...]


class HTDense(TensorDense):
    """A linear layer in hierarchical Tucker form.

    Args:
        in_features, out_features: sizes of the layer.
        in_modes, out_modes, rank, leaf_rank, tree: see `HT`; modes may multiply to more than
            the features, then zeros are padded.
        options: `use_bias`, `dtype`, `param_dtype`, `precision`, `rngs`; see `TensorDense`.

    Example:
        >>> from flax import nnx
        >>> HTDense(48, 16, in_modes=(8, 6), out_modes=(4, 4), rank=3, rngs=nnx.Rngs(0)).format
        HT(in_modes=(8, 6), out_modes=(4, 4), rank=3)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        in_modes: Modes,
        out_modes: Modes,
        rank: Any,
        leaf_rank: Any = None,
        tree: Any = None,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        fmt = HT(in_modes, out_modes, leaf_rank=leaf_rank, rank=rank, tree=tree)
        super().__init__(fmt.sized(in_features, out_features), rngs=rngs, **options)


class HTLSTMCell(LSTMCell):
    """HT-LSTM (arXiv 2005.04366): the input-to-hidden matrix in HT form, the other one dense.

    Args:
        in_features, hidden_features: sizes of the cell.
        in_modes, out_modes, rank, leaf_rank, tree: see `HT`.
        options: `dtype`, `param_dtype`, `precision`, `rngs`; see `LSTMCell`.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        in_modes: Modes,
        out_modes: Modes,
        rank: Any,
        leaf_rank: Any = None,
        tree: Any = None,
        **options: Any,
    ):
        fmt = HT(in_modes, out_modes, leaf_rank=leaf_rank, rank=rank, tree=tree)
        super().__init__(in_features, hidden_features, input=fmt, **options)


class FDHTLSTMCell(LSTMCell):
    """FDHT-LSTM (arXiv 2104.05758): one HT tensor for all eight matrices, over [x; h].

    Args: as for `HTLSTMCell`; the in modes cover in_features + hidden_features.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        in_modes: Modes,
        out_modes: Modes,
        rank: Any,
        leaf_rank: Any = None,
        tree: Any = None,
        **options: Any,
    ):
        fmt = HT(in_modes, out_modes, leaf_rank=leaf_rank, rank=rank, tree=tree)
        super().__init__(in_features, hidden_features, joint=fmt, **options)
