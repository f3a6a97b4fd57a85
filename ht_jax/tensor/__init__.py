"""Hierarchical Tucker tensors and their algebra."""

from ht_jax.tensor.hsvd import hsvd

__all__ = ["hsvd"]
