# %% [markdown]
# # Hierarchical Tucker, by pictures
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ht-jax/ht_jax/blob/main/notebooks/02_pictures_of_hierarchical_tucker.ipynb)
#
# A matrix is cut into modes, its modes are paired off by a tree, and every edge of the tree gets a
# rank. This notebook shows what that means: trees, networks, singular values, and what truncation
# costs.

# %%
import subprocess
import sys

if "google.colab" in sys.modules:  # Colab's jax and flax are older: they go up together
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
# `HT` below turns 57,600 inputs into 256 outputs. The matrix is seen as a tensor with five modes
# of sizes 8 x 4, 10 x 4, ...: one size from the input, one from the output.

# %%
fmt = ht.HT(in_modes=(8, 10, 10, 9, 8), out_modes=(4, 4, 2, 4, 2), leaf_rank=4, rank=5)
print(plot.draw_tree(fmt))

# %%
plot.plot_tree(fmt)

# %% [markdown]
# Every node holds an array, a *core*. An edge is an index that two cores share and that is summed;
# blue legs take the input, vermilion legs leave the output. The number in a core is how many
# numbers it holds: 861 in all, for a matrix of 14,745,600.

# %%
plot.plot_network(fmt)

# %% [markdown]
# Other formats are other networks, and nothing else. Here a tensor ring and a KCP:

# %%
plot.plot_network(ht.TR((4, 2, 5, 8, 6, 5, 3, 2), (4, 4, 2, 4, 2), rank=5, closing_rank=10))

# %%
plot.plot_network(ht.KCP((8, 20, 20, 18), (4, 4, 4, 4), rank=2, terms=2))

# %% [markdown]
# ## Singular values say which ranks are needed
#
# A function of five variables on a grid: a tensor of 100,000 numbers, smooth, hence of low rank.

# %%
grid = np.linspace(0.1, 1, 10)
axes = np.meshgrid(*[grid] * 5, indexing="ij")
values = 1 / np.sqrt(sum(axis**2 for axis in axes))
tensor = ht.HTTensor.from_dense(jnp.asarray(values, jnp.float32), tol=1e-6)
print(tensor)

# %% [markdown]
# At every node of the tree the tensor is a matrix, the modes below against all others. Its singular
# values fall fast; the rank of the node is how many were kept.

# %%
plot.plot_singular_values(tensor)

# %% [markdown]
# ## Truncation: the error that you ask for
#
# `truncate` keeps a relative tolerance, measured on the whole tensor, with as few numbers as it
# finds.

# %%
rows = {}
for tol in (1e-1, 1e-2, 1e-3, 1e-4):
    small = ht.truncate(tensor, tol=tol)
    error = np.linalg.norm(small.to_dense() - values) / np.linalg.norm(values)
    rows[f"tol {tol:.0e}"] = (small.num_params, -np.log10(error))
    print(f"tol {tol:.0e}: {small.num_params:5d} numbers, error {error:.1e}")

# %%
plot.plot_pareto(rows, cost="numbers", value="correct digits")

# %% [markdown]
# The algebra stays in the format: sums and products of tensors have ranks that add and multiply,
# and truncation brings them back.

# %%
double = tensor + tensor
for each in (tensor, double, ht.truncate(double, tol=1e-6)):
    print("largest rank", max(each.ranks.values()))

# %% [markdown]
# ## From a matrix to a weight
#
# `from_dense` of a format does the same for a matrix that you have, such as a trained kernel. A
# random kernel has no such structure; one that a tensor network made is found again.

# %%
shape = ht.HT((8, 6, 5), (4, 3, 2), leaf_rank=4, rank=3)
kernel = shape.init(jax.random.key(0)).to_dense()
noisy = kernel + 0.02 * jnp.std(kernel) * jax.random.normal(jax.random.key(1), kernel.shape)
weight, fit = shape.from_dense(noisy)
print(f"{weight.format.num_params} numbers for {kernel.size}, error {fit.relative_error:.3f}")
plot.plot_singular_values(shape.from_dense(noisy, tol=1e-3)[0], profile=False)
