# %% [markdown]
# # A compressed LSTM in five minutes
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ht-jax/ht_jax/blob/main/notebooks/01_five_minutes.ipynb)
#
# An LSTM that reads video frames spends nearly all of its numbers on one matrix: the one from pixels
# to gates. Here it becomes a small tensor network, in a model that is otherwise as it was.

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
import optax
from flax import linen, nnx
from sklearn.datasets import load_digits

import ht_jax as ht
from ht_jax import data, plot

# %% [markdown]
# ## The swap, in Flax NNX
#
# Frames of 160 x 120 pixels in three colours are 57,600 numbers. The dense layer would hold 59
# million of them; it is only described here, without memory.

# %%
dense = nnx.eval_shape(
    lambda: nnx.RNN(nnx.OptimizedLSTMCell(57_600, 256, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
)

fmt = ht.HT(in_modes=(8, 10, 10, 9, 8), out_modes=(4, 4, 2, 4, 2), leaf_rank=4, rank=5)
cell = ht.nn.LSTMCell(57_600, 256, input=fmt, rngs=nnx.Rngs(0))  # was nnx.OptimizedLSTMCell
rnn = ht.nn.RNN(cell)  # was nnx.RNN


def count(model):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


print(
    f"dense {count(dense):,}   HT {count(rnn):,}, of which the matrix {fmt.with_gates(4).num_params:,}"
)
rnn(jnp.ones((2, 6, 57_600))).shape

# %% [markdown]
# The output has the shape that `nnx.RNN` gives. `ht.summary` says what each layer holds and costs.

# %%
print(ht.summary(rnn))

# %% [markdown]
# ## The same in Linen
#
# `nnx.bridge.to_linen` makes a Linen module of it: `init` and `apply` as always.


# %%
class Classifier(linen.Module):
    @linen.compact
    def __call__(self, x):
        cell = nnx.bridge.to_linen(ht.nn.LSTMCell, 48, 16, input=ht.HT((8, 6), (4, 4), rank=3))
        carry = (jnp.zeros((x.shape[0], 16)),) * 2
        for frame in range(x.shape[1]):
            carry, hidden = cell(carry, x[:, frame])
        return linen.Dense(5)(hidden)


x = jnp.ones((2, 3, 48))
variables = Classifier().init(jax.random.key(0), x)
Classifier().apply(variables, x).shape

# %% [markdown]
# ## And as plain functions
#
# A weight is a pytree; `ht.apply(weight, x)` is `x @ weight.to_dense()`, contracted in a planned
# order and never formed. It goes through `jit`, `grad` and `vmap` like any array.

# %%
small = ht.HT((8, 6), (4, 4), rank=3)
params = {
    "w": small.with_gates(4).init(jax.random.key(0)),
    "u": jax.random.normal(jax.random.key(1), (16, 64)) / 4,
    "b": jnp.zeros(64),
}


@jax.jit
def lstm(params, x):
    def step(carry, z):
        c, h = carry
        i, f, g, o = jnp.split(z + h @ params["u"] + params["b"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h

    z = ht.apply(params["w"], x)  # was x @ params["w"]
    zeros = jnp.zeros((x.shape[0], 16))
    return jax.lax.scan(step, (zeros, zeros), z.swapaxes(0, 1))[1]


gradients = jax.grad(lambda params: lstm(params, x).sum())(params)
jax.tree.map(jnp.shape, gradients["w"].cores)

# %% [markdown]
# ## Training it
#
# Handwritten digits move through clips of six frames; the model tells in which of eight directions.
# The frames are small here, 80 x 60, so that a laptop trains in seconds. FDHT-LSTM holds *both*
# matrices of the LSTM in one tensor; `ht.suggest` finds its modes and ranks for a budget.

# %%
scene = data.Scene(60, 80, sizes=(28, 36), travels=(6.0, 20.0))
rng = np.random.default_rng(0)


sprites = np.minimum(load_digits().images * 16, 255).astype(np.uint8)


def clips(count, images):
    paths = [data.draw_trajectory(rng, scene) for _ in range(count)]
    chosen = images[rng.integers(len(images), size=count)]
    frames = [data.render_clip(s, p, scene, 6) for s, p in zip(chosen, paths)]
    return np.stack(frames), np.array([path.direction for path in paths])


PIXELS, HIDDEN = 60 * 80 * 3, 256
joint = ht.suggest(PIXELS + HIDDEN, HIDDEN, budget=1_300, gates=4)[0].format
rngs = nnx.Rngs(0)
cell = ht.nn.LSTMCell(PIXELS, HIDDEN, joint=joint, rngs=rngs)
rnn = ht.nn.RNN(cell, scale=1 / 64)  # how uint8 pixels are read
model = ht.models.VideoClassifier(rnn, HIDDEN, len(data.DIRECTIONS), rngs=rngs)
held, dense = cell.joint.format.num_params, (PIXELS + HIDDEN) * 4 * HIDDEN
print(f"{held:,} numbers in place of {dense:,}")

# %%
graph, params = nnx.split(model)
STEPS = 600
rate = optax.warmup_cosine_decay_schedule(2e-4, 1e-2, warmup_steps=50, decay_steps=STEPS)
optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


@jax.jit
def train_step(params, state, frames, labels):
    def loss_of(params):
        logits = nnx.merge(graph, params)(frames)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss, (logits.argmax(-1) == labels).mean()

    (loss, accuracy), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
    updates, state = optimizer.update(gradients, state, params)
    return optax.apply_updates(params, updates), state, loss, accuracy


state, records = optimizer.init(params), []
for step in range(1, STEPS + 1):
    params, state, loss, accuracy = train_step(params, state, *clips(32, sprites[300:]))
    records.append({"step": step, "split": "train", "loss": loss, "accuracy": accuracy})

# %%
frames, labels = clips(400, sprites[:300])  # digits that training has not seen
model = nnx.merge(graph, params)
found = np.asarray(model(frames).argmax(-1))
accuracy = (found == labels).mean()
print(f"accuracy on digits not seen: {accuracy:.1%} (chance is 12.5%)")
plot.plot_run(records, "FDHT-LSTM")

# %% [markdown]
# What it sees, and what it says:

# %%
names = data.DIRECTIONS
texts = [f"{names[a]}, taken for {names[b]}" for a, b in zip(labels, found)]
plot.plot_frames(frames[:3], texts[:3], (found == labels)[:3])
