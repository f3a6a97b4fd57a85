"""Flax NNX layers and recurrent cells whose weights are tensor networks."""

from ht_jax.nn.cells import GRUCell, LSTMCell, RecurrentCell, SimpleCell
from ht_jax.nn.cnn import SmallCNN
from ht_jax.nn.embed import TensorEmbed
from ht_jax.nn.frozen import freeze
from ht_jax.nn.gates import GATE_ORDER, reorder_gates
from ht_jax.nn.linear import TensorDense
from ht_jax.nn.named import (
    BTLSTMCell,
    FDHTGRUCell,
    FDHTLSTMCell,
    HTDense,
    HTGRUCell,
    HTLSTMCell,
    KCPGRUCell,
    KCPLSTMCell,
    TRLSTMCell,
    TTGRUCell,
    TTLSTMCell,
)
from ht_jax.nn.rnn import RNN, Bidirectional, Stacked

__all__ = [
    "GATE_ORDER",
    "RNN",
    "BTLSTMCell",
    "Bidirectional",
    "FDHTGRUCell",
    "FDHTLSTMCell",
    "GRUCell",
    "HTDense",
    "HTGRUCell",
    "HTLSTMCell",
    "KCPGRUCell",
    "KCPLSTMCell",
    "LSTMCell",
    "RecurrentCell",
    "SimpleCell",
    "SmallCNN",
    "Stacked",
    "TRLSTMCell",
    "TTGRUCell",
    "TTLSTMCell",
    "TensorDense",
    "TensorEmbed",
    "freeze",
    "reorder_gates",
]
