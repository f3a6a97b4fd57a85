"""The systems of the papers by name: short constructors of the general layers and cells.

A private class for each format turns its arguments into the format and puts it in its `place`;
a named cell is that class before a cell of `cells.py`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from flax import nnx

from ht_jax.formats import BT, HT, KCP, TR, TT, Format
from ht_jax.nn.cells import GRUCell, LSTMCell, RecurrentCell
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


class _Placed(RecurrentCell):
    """A cell with one format, in its `place`: "input", "recurrent" or "joint"."""

    place: ClassVar[str] = "input"

    def _build(self, in_features: int, hidden_features: int, fmt: Format, options: Any) -> None:
        formats: dict[str, Any] = {self.place: fmt}
        super().__init__(in_features, hidden_features, **formats, **options)


class _HTCell(_Placed):
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
        self._build(in_features, hidden_features, fmt, options)


class _TTCell(_Placed):
    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        in_modes: Modes,
        out_modes: Modes,
        rank: Any,
        **options: Any,
    ):
        self._build(in_features, hidden_features, TT(in_modes, out_modes, rank), options)


class _TRCell(_Placed):
    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        in_modes: Modes,
        out_modes: Modes,
        rank: Any,
        closing_rank: int | None = None,
        **options: Any,
    ):
        fmt = TR(in_modes, out_modes, rank, closing_rank)
        self._build(in_features, hidden_features, fmt, options)


class _BTCell(_Placed):
    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        in_modes: Modes,
        out_modes: Modes,
        rank: int,
        terms: int,
        **options: Any,
    ):
        self._build(in_features, hidden_features, BT(in_modes, out_modes, rank, terms), options)


class _KCPCell(_Placed):
    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        in_modes: Modes,
        out_modes: Modes,
        rank: int,
        terms: int,
        splits: Any = None,
        gate_split: Any = None,
        **options: Any,
    ):
        fmt = KCP(in_modes, out_modes, rank, terms, splits, gate_split)
        self._build(in_features, hidden_features, fmt, options)


class HTLSTMCell(_HTCell, LSTMCell):
    """HT-LSTM (arXiv 2005.04366): the input-to-hidden matrix in HT form, the other one dense.

    Args:
        in_features, hidden_features: sizes of the cell.
        in_modes, out_modes, rank, leaf_rank, tree: see `HT`; without the gates.
        options: `recurrent`, `dtype`, `param_dtype`, `precision`, `rngs`; see `LSTMCell`.

    Example:
        >>> modes = {"in_modes": (8, 10, 10, 9, 8), "out_modes": (4, 4, 2, 4, 2)}
        >>> cell = HTLSTMCell(57_600, 256, **modes, leaf_rank=4, rank=5, rngs=nnx.Rngs(0))
        >>> cell.input.format.num_params
        1245
    """


class HTGRUCell(_HTCell, GRUCell):
    """HT-GRU: the input-to-hidden matrix of a GRU in HT form. Args: as for `HTLSTMCell`.

    Example:
        >>> modes = {"in_modes": (8, 6), "out_modes": (4, 4)}
        >>> cell = HTGRUCell(48, 16, **modes, leaf_rank=3, rank=3, rngs=nnx.Rngs(0))
        >>> cell.input.format.num_params
        369
    """


class FDHTLSTMCell(_HTCell, LSTMCell):
    """FDHT-LSTM (arXiv 2104.05758): one HT tensor for all eight matrices, over [x; h].

    Args: as for `HTLSTMCell`; the in modes cover in_features + hidden_features.

    Example:
        >>> modes = {"in_modes": (16, 16, 16), "out_modes": (8, 16, 16)}
        >>> cell = FDHTLSTMCell(2048, 2048, **modes, leaf_rank=3, rank=5, rngs=nnx.Rngs(0))
        >>> cell.joint.format.num_params
        3132
    """

    place = "joint"


class FDHTGRUCell(_HTCell, GRUCell):
    """FDHT-GRU: one HT tensor for all six matrices of a GRU. Args: as for `FDHTLSTMCell`.

    Example:
        >>> modes = {"in_modes": (8, 8), "out_modes": (4, 4)}
        >>> FDHTGRUCell(48, 16, **modes, leaf_rank=3, rank=3, rngs=nnx.Rngs(0)).joint.format.gates
        3
    """

    place = "joint"


class TTLSTMCell(_TTCell, LSTMCell):
    """TT-LSTM (Yang, Krompass and Tresp, ICML 2017): the input-to-hidden matrix as a train.

    Args:
        in_features, hidden_features: sizes of the cell.
        in_modes, out_modes, rank: see `TT`; without the gates.
        options: as for `HTLSTMCell`.

    Example:
        >>> modes = {"in_modes": (8, 20, 20, 18), "out_modes": (4, 4, 4, 4)}
        >>> TTLSTMCell(57_600, 256, **modes, rank=4, rngs=nnx.Rngs(0)).input.format.num_params
        3360
    """


class TTGRUCell(_TTCell, GRUCell):
    """TT-GRU (ICML 2017): the input-to-hidden matrix as a train. Args: as for `TTLSTMCell`.

    Example:
        >>> modes = {"in_modes": (8, 6), "out_modes": (4, 4)}
        >>> TTGRUCell(48, 16, **modes, rank=3, rngs=nnx.Rngs(0)).input.format.out_modes
        (12, 4)
    """


class TRLSTMCell(_TRCell, LSTMCell):
    """TR-LSTM (Pan et al., AAAI 2019): the input-to-hidden matrix as a tensor ring.

    Args:
        in_features, hidden_features: sizes of the cell.
        in_modes, out_modes, rank, closing_rank: see `TR`; without the gates.
        options: as for `HTLSTMCell`.

    Example:
        >>> modes = {"in_modes": (8, 6), "out_modes": (4, 4)}
        >>> TRLSTMCell(48, 16, **modes, rank=2, rngs=nnx.Rngs(0)).input.format.num_params
        136
    """


class BTLSTMCell(_BTCell, LSTMCell):
    """BT-LSTM (Ye et al., CVPR 2018): the input-to-hidden matrix as a sum of Tucker terms.

    Args:
        in_features, hidden_features: sizes of the cell.
        in_modes, out_modes, rank, terms: see `BT`; without the gates.
        options: as for `HTLSTMCell`.

    Example:
        >>> modes = {"in_modes": (8, 6), "out_modes": (4, 4)}
        >>> BTLSTMCell(48, 16, **modes, rank=2, terms=2, rngs=nnx.Rngs(0)).input.format.num_params
        616
    """


class KCPLSTMCell(_KCPCell, LSTMCell):
    """KCP-LSTM (arXiv 2008.09342): the input-to-hidden matrix as Kronecker products of CPs.

    Args:
        in_features, hidden_features: sizes of the cell.
        in_modes, out_modes, rank, terms, splits, gate_split: see `KCP`; without the gates.
        options: as for `HTLSTMCell`.

    Example:
        >>> modes = {"in_modes": (8, 6), "out_modes": (4, 4)}
        >>> KCPLSTMCell(48, 16, **modes, rank=2, terms=1, rngs=nnx.Rngs(0)).input.format.num_params
        46
    """


class KCPGRUCell(_KCPCell, GRUCell):
    """KCP-GRU (arXiv 2008.09342): as `KCPLSTMCell`, for a GRU. Args: as for `KCPLSTMCell`.

    Example:
        >>> modes = {"in_modes": (8, 6), "out_modes": (4, 4)}
        >>> KCPGRUCell(48, 16, **modes, rank=2, terms=1, rngs=nnx.Rngs(0)).input.format.gates
        3
    """
