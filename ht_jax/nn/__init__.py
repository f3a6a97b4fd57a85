"""Flax NNX layers and recurrent cells whose weights are tensor networks."""

from ht_jax.nn.cells import GRUCell, LSTMCell, RecurrentCell, SimpleCell
from ht_jax.nn.linear import TensorDense
from ht_jax.nn.named import FDHTLSTMCell, HTDense, HTLSTMCell
from ht_jax.nn.rnn import RNN, Bidirectional, Stacked

__all__ = [
    "RNN",
    "Bidirectional",
    "FDHTLSTMCell",
    "GRUCell",
    "HTDense",
    "HTLSTMCell",
    "LSTMCell",
    "RecurrentCell",
    "SimpleCell",
    "Stacked",
    "TensorDense",
]
