# %% [markdown]
# # Why small was slow, and what a schedule is
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ht-jax/ht_jax/blob/main/notebooks/03_schedules.ipynb)
#
# A tensor network of 1,245 numbers can be slower than the matrix of 59 million that it replaces. The
# order in which it is contracted decides. This notebook shows the orders that are found, what the
# cost model says of them, and what a clock says.

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
import time

import jax
import jax.numpy as jnp

import ht_jax as ht
from ht_jax import plot, schedule
from ht_jax.schedule import run

fmt = ht.HT((8, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5).with_gates(4)
ROWS = 96  # 16 clips of 6 frames
print(f"{fmt.in_features:,} -> {fmt.out_features:,} in {fmt.num_params:,} numbers")

# %% [markdown]
# ## One network, many orders
#
# `ht.plan` searches for orders of pairwise contractions and prices them: flops, bytes, and how well
# each product's shape suits the device. `ranked` gives all that were found, the best first.

# %%
problem = fmt.problem(ROWS, mode="infer")
found = schedule.ranked(problem)
for plan in found:
    print(f"{1e3 * plan.seconds:6.2f} ms modelled {plan.flops / 1e6:8,.0f} Mflop  {plan.found_by}")

# %% [markdown]
# The best of them, as a table of matrix products and as a tree. The cores are multiplied with each
# other first as far as that pays (yellow), then the input passes through (blue).

# %%
print(found[0].explain())

# %%
plot.plot_schedule(found[0])

# %% [markdown]
# ## The fewest flops is not the fastest
#
# The schedule with the fewest flops takes the cores one by one: thin products, of a few columns, that
# read and write large intermediate arrays.

# %%
fewest = min(found, key=lambda s: s.flops)
plot.plot_schedule(fewest)

# %% [markdown]
# ## What a clock says
#
# The best in modelled time, the fewest flops and the most, beside the dense product, which is the
# yardstick. Times are the best of a few calls, on whatever machine ran this notebook.

# %%
weight = fmt.init(jax.random.key(0))
x = jax.random.normal(jax.random.key(1), (ROWS, fmt.in_features))
dense = jax.random.normal(jax.random.key(2), (fmt.in_features, 1024)) / 240


def milliseconds(function, *args):
    function(*args).block_until_ready()
    times = []
    for _ in range(7):
        start = time.perf_counter()
        function(*args).block_until_ready()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


most = max(found, key=lambda s: s.flops)
chosen = {"the best": found[0], "fewest flops": fewest, "most flops": most}
rows = {"dense": (2e-6 * ROWS * dense.size, milliseconds(jax.jit(jnp.matmul), x, dense))}
for name, plan in chosen.items():
    contract = jax.jit(lambda cores, x, plan=plan: run(plan, cores, x))
    rows[name] = (plan.flops / 1e6, milliseconds(contract, weight.cores, x))
for name, (flops, time_) in rows.items():
    print(f"{name:13s} {flops:10,.0f} Mflop {time_:8.2f} ms")

# %% [markdown]
# `tune=True` measures the best few on your device and remembers the winner on disk; `ht.apply` and
# the layers use it from then on.
#
# ## Where small stays slow
#
# With a small input and a single row the dense product has the advantage: a network costs at least
# a few calls. The cost model knows it; here is where the lines cross.

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
ax.set(xscale="log", yscale="log", xlabel="length of the input", ylabel="one row, modelled, ms")
ax.legend(frameon=False)
bare(ax)
figure
