"""Formats: how a matrix is held as the cores of a tensor network."""

from ht_jax.formats.base import Fit, Format, ModeFormat, Restricted
from ht_jax.formats.dense import Dense
from ht_jax.formats.fitting import RankWarning
from ht_jax.formats.ht import HT
from ht_jax.formats.parse import parse_format
from ht_jax.formats.weight import Weight, apply, squared_norm

__all__ = [
    "HT",
    "Dense",
    "Fit",
    "Format",
    "ModeFormat",
    "RankWarning",
    "Restricted",
    "Weight",
    "apply",
    "parse_format",
    "squared_norm",
]
