"""Recurrent layers whose weights are tensor networks, for JAX and Flax."""

__version__ = "0.1.0"
