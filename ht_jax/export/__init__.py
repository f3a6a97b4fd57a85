"""Export: a model as a file, and a model that runs where there is no JAX.

`save` and `load` are safetensors with the model's description; `numpy` adds the program of a
runtime that needs NumPy alone; `stablehlo` and `onnx` are for other runtimes.
"""

from ht_jax.export.description import build as build
from ht_jax.export.description import describe as describe
from ht_jax.export.files import Storage as Storage
from ht_jax.export.files import load as load
from ht_jax.export.files import read_card as read_card
from ht_jax.export.files import save as save
from ht_jax.export.program import copy_runtime as copy_runtime
from ht_jax.export.program import numpy as numpy
from ht_jax.export.to_onnx import onnx as onnx
from ht_jax.export.to_stablehlo import load_stablehlo as load_stablehlo
from ht_jax.export.to_stablehlo import stablehlo as stablehlo
from ht_jax.export.tracing import stream as stream
