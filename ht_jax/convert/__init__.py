"""Recurrent layers of other libraries as layers of this one, with the same outputs.

What comes out is dense; `ht_jax.compress` takes it from there.
"""

from ht_jax.convert.cells import CellWeights as CellWeights
from ht_jax.convert.cells import layer_of as layer_of
from ht_jax.convert.of_flax import from_flax as from_flax
from ht_jax.convert.of_keras import from_keras as from_keras
from ht_jax.convert.of_linen import from_linen as from_linen
from ht_jax.convert.of_torch import from_torch as from_torch
