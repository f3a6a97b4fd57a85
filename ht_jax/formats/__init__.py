"""Formats: how a matrix is held as the cores of a tensor network."""

from ht_jax.formats.base import Fit, Format, ModeFormat, Restricted
from ht_jax.formats.bt import BT
from ht_jax.formats.cp import CP
from ht_jax.formats.dense import Dense
from ht_jax.formats.fitting import RankWarning
from ht_jax.formats.ht import HT
from ht_jax.formats.kcp import KCP
from ht_jax.formats.low_rank import LowRank
from ht_jax.formats.parse import parse_format
from ht_jax.formats.tr import TR
from ht_jax.formats.tt import TT
from ht_jax.formats.tucker import Tucker
from ht_jax.formats.weight import Prepared, Weight, apply, squared_norm

__all__ = [
    "BT",
    "CP",
    "HT",
    "KCP",
    "TR",
    "TT",
    "Dense",
    "Fit",
    "Format",
    "LowRank",
    "ModeFormat",
    "Prepared",
    "RankWarning",
    "Restricted",
    "Tucker",
    "Weight",
    "apply",
    "parse_format",
    "squared_norm",
]
