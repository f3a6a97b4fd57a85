"""Recurrent layers whose weights are tensor networks, for JAX and Flax."""


from ht_jax import models as models
from ht_jax import nn as nn
from ht_jax.formats import HT as HT
from ht_jax.formats import Dense as Dense
from ht_jax.formats import Format as Format
from ht_jax.formats import ModeFormat as ModeFormat
from ht_jax.formats import RankWarning as RankWarning
from ht_jax.formats import Weight as Weight
from ht_jax.formats import apply as apply
from ht_jax.formats import parse_format as parse_format
from ht_jax.network import TensorNetwork as TensorNetwork
from ht_jax.schedule import Schedule as Schedule
from ht_jax.schedule import plan as plan
from ht_jax.tree import DimensionTree as DimensionTree

__version__ = "0.1.0"
