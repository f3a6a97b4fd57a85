"""Monarch matrices as a format: what somebody outside the library would write."""

import dataclasses

import jax.numpy as jnp
import numpy as np

import ht_jax as ht
from ht_jax.formats import Fit


@dataclasses.dataclass(frozen=True, repr=False)
class Monarch(ht.ModeFormat):
    """Two block-diagonal matrices with a permutation between them (Dao et al. 2022, section 3).

    With x as a matrix (a, b) and y as (c, d), `y[c, d] = sum_a left[d, a, c] sum_b right[a, b, d]
    x[a, b]`: `right` is block-diagonal over a, `left` over d.
    """

    papers = ("@inproceedings{dao2022monarch,\n  title = {Monarch},\n  year = {2022},\n}",)

    def __post_init__(self):
        super().__post_init__()
        if len(self.in_modes) != 2 or len(self.out_modes) != 2:
            raise ValueError(f"Monarch takes two modes a side, not {self.in_modes}")

    def network(self):
        size = dict(zip("abcd", (*self.in_modes, *self.out_modes)))
        return ht.TensorNetwork.of({"right": "abd", "left": "dac"}, size, "ab", "cd")

    def from_dense(self, kernel, *, tol=None, rank=None, key=None):
        """The nearest Monarch matrix: a rank-1 approximation of each of its (b, c) slices."""
        if tol is not None or rank is not None or self.padding != (0, 0):
            raise ValueError(f"{self} has no rank to choose, and takes no padding")
        full = np.asarray(kernel, np.float64).reshape(*self.in_modes, *self.out_modes)
        u, s, vh = np.linalg.svd(full.transpose(0, 3, 1, 2), full_matrices=False)
        right = u[..., 0].transpose(0, 2, 1) * s[..., 0][:, None]
        cores = {"right": right, "left": vh[:, :, 0].transpose(1, 0, 2)}
        dtype = jnp.asarray(kernel).dtype
        weight = ht.Weight({name: jnp.asarray(c, dtype) for name, c in cores.items()}, self)
        missed = np.sqrt(np.sum(s[..., 1:] ** 2) / np.sum(s**2))
        return weight, Fit(float(missed))
