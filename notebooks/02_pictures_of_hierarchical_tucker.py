# %% [markdown]
# # Hierarchical Tucker in pictures
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ht-jax/ht_jax/blob/main/notebooks/02_pictures_of_hierarchical_tucker.ipynb)
#
# Split the rows and the columns of a matrix into several short axes, the *modes*; group the modes
# by a binary tree; give every edge of the tree a *rank*: that is the hierarchical Tucker format, HT.
# This notebook draws it: trees, networks, singular values, and what truncation costs.

# %%
import subprocess
import sys

if "google.colab" in sys.modules:  # Colab ships an older jax and flax: upgrade them together
    package = "ht_jax[train] @ git+https://github.com/ht-jax/ht_jax"
    install = ["pip", "install", "--quiet", "--upgrade", "jax", "jaxlib", "flax", package]
    subprocess.run([sys.executable, "-m", *install], check=True)

# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 100, "bbox_inches": "tight"}

# %%
import jax
import jax.numpy as jnp
import numpy as np

import ht_jax as ht
from ht_jax import plot

# %% [markdown]
# ## A format is a tree with ranks
#
# The format below takes 57,600 inputs to 256 outputs. The matrix is seen as a tensor with five modes
# of sizes 8 x 4, 10 x 4, ...: a factor of the input size by one of the output size. A node is named
# after its modes: `node_0_2` holds modes 0 to 2.

# %%
fmt = ht.HT(in_modes=(8, 10, 10, 9, 8), out_modes=(4, 4, 2, 4, 2), leaf_rank=4, rank=5)
print(plot.draw_tree(fmt))

# %% [markdown]
# The same as a picture: the number on an edge is the rank of the node below it.

# %%
plot.plot_tree(fmt)

# %% [markdown]
# Every node holds an array, a *core*. An edge is an index that two cores share and sum over, of the
# size written on it; blue legs are indices of the input, vermilion legs those of the output. A circle
# shows how many numbers its core holds: 861 in all, for a matrix of 14,745,600. (An LSTM needs four
# such matrices, one a gate; `fmt.with_gates(4)` holds them in 1,245.)

# %%
plot.plot_network(fmt)

# %% [markdown]
# Another format is just another network. In a tensor ring (TR) the cores form a ring, those of the
# input above and those of the output below; `closing_rank` is the rank of the edge that closes it.

# %%
plot.plot_network(ht.TR((4, 2, 5, 8, 6, 5, 3, 2), (4, 4, 2, 4, 2), rank=5, closing_rank=10))

# %% [markdown]
# KCP splits every mode in two (8 = 2 * 4) and sums `terms` Kronecker products of two CP tensors. A
# white circle is an index that many cores share: one for the terms, one for the rank of either factor.

# %%
plot.plot_network(ht.KCP((8, 20, 20, 18), (4, 4, 4, 4), rank=2, terms=2))

# %% [markdown]
# ## Singular values say which ranks are needed
#
# The function 1 / |x| of five variables, on a grid of ten points each: a tensor of 100,000 numbers.
# It is smooth, so low ranks describe it well.

# %%
grid = np.linspace(0.1, 1, 10)
axes = np.meshgrid(*[grid] * 5, indexing="ij")
values = 1 / np.sqrt(sum(axis**2 for axis in axes))
tensor = ht.HTTensor.from_dense(jnp.asarray(values, jnp.float32), tol=1e-6)
print(tensor)

# %% [markdown]
# Every node of the tree splits the modes into those below it and all others, which makes a matrix of
# the tensor. Its singular values fall fast; the rank r of the node is how many were kept.

# %%
plot.plot_singular_values(tensor)

# %% [markdown]
# ## Truncation: you choose the error
#
# `ht.truncate` lowers the ranks as far as a relative error of the whole tensor allows.

# %%
rows = {}
for tol in (1e-1, 1e-2, 1e-3, 1e-4):
    small = ht.truncate(tensor, tol=tol)
    error = np.linalg.norm(small.to_dense() - values) / np.linalg.norm(values)
    rows[f"tol {tol:.0e}"] = (small.num_params, -np.log10(error))
    print(f"tol {tol:.0e}: {small.num_params:5d} numbers, error {error:.1e}")

# %%
plot.plot_pareto(rows, cost="numbers in the tensor", value="correct digits: -log10(error)")

# %% [markdown]
# Arithmetic stays in the format. The ranks of two tensors add in their sum and multiply in their
# product; truncation brings them down again.

# %%
for name, result in {"t": tensor, "t + t": tensor + tensor, "t * t": tensor * tensor}.items():
    small = ht.truncate(result, tol=1e-5)
    print(
        f"{name:5s} largest rank {max(result.ranks.values())}, truncated {max(small.ranks.values())}"
    )

# %% [markdown]
# ## From a matrix to a weight
#
# A format's `from_dense` decomposes a matrix that you have, such as a trained kernel, and returns the
# weight and how well it fits. Here the matrix is made by a network of ranks 4 and 3, plus 2 % noise:
# the fit leaves out most of the noise, and comes closer to the clean matrix than the noisy one is.

# %%
shape = ht.HT((8, 6, 5), (4, 3, 2), leaf_rank=4, rank=3)
kernel = shape.init(jax.random.key(0)).to_dense()
noisy = kernel + 0.02 * jnp.std(kernel) * jax.random.normal(jax.random.key(1), kernel.shape)
weight, fit = shape.from_dense(noisy)
error = np.linalg.norm(weight.to_dense() - kernel) / np.linalg.norm(kernel)
print(f"{weight.format.num_params} numbers for {kernel.size:,}")
print(f"relative error {fit.relative_error:.3f} to the noisy matrix, {error:.3f} to the clean one")

# %% [markdown]
# With a tight tolerance `from_dense` picks the ranks itself. Its singular values show the ranks that
# made the matrix: 4 at leaves 0 and 1, 3 at the others, then a plateau of noise.

# %%
plot.plot_singular_values(shape.from_dense(noisy, tol=1e-3)[0], profile=False)
