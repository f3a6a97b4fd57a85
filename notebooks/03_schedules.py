# %% [markdown]
# # Why small was slow, and what a schedule is
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ht-jax/ht_jax/blob/main/notebooks/03_schedules.ipynb)
#
# A tensor network of 1,245 numbers can be slower than the matrix of 59 million that it replaces, or
# much faster: the order in which its cores are multiplied decides. Such an order is a *schedule*.
# This notebook shows the schedules that are found, what a cost model predicts, and what a clock says.

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
import time

import jax
import jax.numpy as jnp

import ht_jax as ht
from ht_jax import plot, schedule

fmt = ht.HT((8, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5).with_gates(4)
ROWS = 96  # 16 clips of 6 frames
print(f"{fmt.in_features:,} -> {fmt.out_features:,} in {fmt.num_params:,} numbers")

# %% [markdown]
# ## One network, many orders
#
# `ht.plan` returns the schedule that the cost model prices lowest, by flops, bytes moved, and how well
# the shape of each product suits the device. `schedule.ranked` lists all candidates, the best first.
# Some come from cotengra, which minimises flops or memory; others multiply the cores into a few
# groups (`6 + 3 cores`: two groups) and the input with one group after the other.

# %%
problem = fmt.problem(ROWS, mode="infer")  # "infer": the forward pass; "train": both
found = schedule.ranked(problem)
for plan in found:
    print(f"{1e3 * plan.seconds:6.2f} ms modelled {plan.flops / 1e6:8,.0f} Mflop  {plan.found_by}")

# %% [markdown]
# The best of them as a list of matrix products: `(rows, inner) @ (inner, columns)`, and the indices
# of the result. "Laid out anew" marks an operand that is transposed first.

# %%
print(found[0].explain())

# %% [markdown]
# And as a tree. Cores are multiplied with each other as long as that pays (yellow), then the input
# passes through (blue). A larger node moves more bytes.

# %%
plot.plot_schedule(found[0])

# %% [markdown]
# ## The fewest flops is not the fastest
#
# The schedule with the fewest flops begins by multiplying the input with single leaves. These are thin
# products, of a few columns, that read and write large intermediate arrays.

# %%
fewest = min(found, key=lambda s: s.flops)
plot.plot_schedule(fewest)

# %% [markdown]
# ## What a clock says
#
# Three orders of the same network: the best by the cost model, the one of the fewest flops, and the
# input multiplied with one core after the other as they are listed, which is the natural way to write
# the layer by hand. (It makes an array of 96 * 1,024 * 1,024 numbers on the way, 0.4 GB.) The dense
# product is the yardstick.

# %%
network = fmt.network()
path = [(0, 1), *((0, n) for n in range(len(network.operands) - 1, 0, -1))]


def as_listed(cores, x):
    operands = [x.reshape(-1, *fmt.in_modes), ("batch", *network.inputs)]
    for name, indices in network.operands:
        operands += [cores[name], indices]
    outputs = ("batch", *network.outputs)
    return jnp.einsum(*operands, outputs, optimize=path).reshape(len(x), -1)


def contract(plan):
    return lambda cores, x: schedule.run(plan, cores, x)


cores = fmt.init(jax.random.key(0)).cores
x = jax.random.normal(jax.random.key(1), (ROWS, fmt.in_features))
dense = jax.random.normal(jax.random.key(2), (fmt.in_features, fmt.out_features)) / 240
calls = {
    "dense": (lambda dense, x: x @ dense, dense),
    "cores as listed": (as_listed, cores),
    "fewest flops": (contract(fewest), cores),
    "the best": (contract(found[0]), cores),
}

# %% [markdown]
# Each row is the shortest of five calls, the systems in turn, on whatever machine ran this notebook.

# %%
compiled = {name: (jax.jit(function), held) for name, (function, held) in calls.items()}
times = {name: [] for name in calls}
for _ in range(6):
    for name, (function, held) in compiled.items():
        start = time.perf_counter()
        function(held, x).block_until_ready()
        times[name].append(1e3 * (time.perf_counter() - start))
fastest = {name: min(taken[1:]) for name, taken in times.items()}  # the first call compiles
for name, taken in fastest.items():
    print(f"{name:16s}{taken:9.2f} ms{fastest['dense'] / taken:8.2f} times as fast as dense")

# %% [markdown]
# The cost model ranks schedules; it does not promise milliseconds. To measure the best few on your
# device, call `ht.plan(fmt, batch=96, tune=True)`: the winner is kept on disk, and from then on
# `ht.apply` and the layers of this process use it for batches of about that size.
#
# ## Where small stays slow
#
# A network takes several small products where a dense layer takes one, so for a small input and a
# single row dense is faster. Here is where the two lines cross, according to the cost model.

# %%
from ht_jax.plot.style import BLUE, GREY, bare, new_figure

modes = (3, 4, 6, 8, 12, 16, 24, 38)
inputs = [m**3 for m in modes]
networks = [ht.HT((m,) * 3, (8, 8, 4), rank=4).with_gates(4) for m in modes]
matrices = [ht.Dense(size, 1024) for size in inputs]


def modelled(formats):
    return [1e3 * ht.plan(fmt, batch=1, mode="infer").seconds for fmt in formats]


figure = new_figure(6, 3.6)
ax = figure.add_subplot()
ax.plot(inputs, modelled(networks), "o-", color=BLUE, label="HT, rank 4")
ax.plot(inputs, modelled(matrices), "s-", color=GREY, label="dense")
ax.set(xscale="log", yscale="log", xlabel="input features", ylabel="modelled time of one row, ms")
ax.legend(frameon=False)
bare(ax)
figure
