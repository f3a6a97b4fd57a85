# %% [markdown]
# # A compressed LSTM in five minutes
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ht-jax/ht_jax/blob/main/notebooks/01_five_minutes.ipynb)
#
# An LSTM that reads video frames spends nearly all of its numbers (parameters) on one matrix: the
# one from pixels to gates. Here we replace that matrix by a small tensor network, leave the rest of
# the model alone, and train it. Shown for Flax NNX, for Linen, and for plain functions.

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
import optax
from flax import linen, nnx
from sklearn.datasets import load_digits

import ht_jax as ht
from ht_jax import data, plot

# %% [markdown]
# ## The swap, in Flax NNX
#
# A model that you may have: frames of 160 x 120 pixels in three colours, 57,600 values each, go
# through a dense LSTM.


# %%
class Classifier(nnx.Module):
    def __init__(self, rngs):
        cell = nnx.OptimizedLSTMCell(57_600, 256, rngs=rngs)
        self.rnn = nnx.RNN(cell, rngs=rngs)
        self.head = nnx.Linear(256, 8, rngs=rngs)

    def __call__(self, frames):
        return self.head(self.rnn(frames)[:, -1])


# %% [markdown]
# The swap takes three lines. `HT`, hierarchical Tucker, is the *format* of the matrix. Its *modes*
# factor the sizes, 8 * 10 * 10 * 9 * 8 = 57,600 and 4 * 4 * 2 * 4 * 2 = 256; its *ranks* set how much
# the network can express. (Notebook 2 draws it.)

# %%
fmt = ht.HT(in_modes=(8, 10, 10, 9, 8), out_modes=(4, 4, 2, 4, 2), leaf_rank=4, rank=5)


class SmallClassifier(Classifier):
    def __init__(self, rngs):
        cell = ht.nn.LSTMCell(57_600, 256, input=fmt, rngs=rngs)  # was nnx.OptimizedLSTMCell
        self.rnn = ht.nn.RNN(cell)  # was nnx.RNN
        self.head = nnx.Linear(256, 8, rngs=rngs)


model = SmallClassifier(nnx.Rngs(0))
model(jnp.ones((2, 6, 57_600))).shape

# %% [markdown]
# `ht.tensorize` makes the same swap in a model as it stands, by path, with new random weights. (To
# keep trained weights, from Flax or PyTorch, see notebook 4.) Here `nnx.eval_shape` only describes the
# dense model: its 59 million numbers take no memory.

# %%
dense = nnx.eval_shape(lambda: Classifier(nnx.Rngs(0)))
_, report = ht.tensorize(dense, {"rnn": fmt})
print(report)

# %% [markdown]
# `ht.summary` says what each layer holds and costs. The input layer holds 2,269 numbers: 1,245 in
# the network, which computes all four gates (its first out mode is 4 * 4 = 16), and 1,024 biases.

# %%
print(ht.summary(model))

# %% [markdown]
# ## The same in Linen
#
# `nnx.bridge.to_linen` makes a Linen module of what a function returns; `init` and `apply` work as
# always. The sizes are small from here on.

# %%
small = ht.HT((8, 6), (4, 4), rank=3)


class LinenClassifier(linen.Module):
    @linen.compact
    def __call__(self, x):
        def rnn(rngs):
            return ht.nn.RNN(ht.nn.LSTMCell(48, 16, input=small, rngs=rngs))

        x = nnx.bridge.to_linen(rnn)(x)  # was linen.RNN(linen.OptimizedLSTMCell(16))(x)
        return linen.Dense(5)(x[:, -1])


x = jnp.ones((2, 3, 48))
variables = LinenClassifier().init(jax.random.key(0), x)
LinenClassifier().apply(variables, x).shape

# %% [markdown]
# ## And in plain functions
#
# `init` draws a weight: a pytree whose arrays are the *cores* of the network. `ht.apply(weight, x)`
# equals `x @ weight.to_dense()`, contracted in a planned order that forms the matrix only where that
# is cheaper. Weights pass through `jit`, `grad` and `vmap` like any pytree. `with_gates(4)` widens a
# format to the four gates, which cells do themselves.

# %%
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
# The frames are smaller here, 80 x 60 pixels, to train quickly.

# %%
scene = data.Scene(height=60, width=80, sizes=(28, 36), travels=(6.0, 20.0))  # all in pixels
rng = np.random.default_rng(0)
sprites = np.minimum(load_digits().images * 16, 255).astype(np.uint8)


def clips(count, images):
    paths = [data.draw_trajectory(rng, scene) for _ in range(count)]
    chosen = images[rng.integers(len(images), size=count)]
    frames = [data.render_clip(s, p, scene, 6) for s, p in zip(chosen, paths)]
    return np.stack(frames), np.array([path.direction for path in paths])


# %% [markdown]
# FDHT-LSTM holds *both* matrices of the LSTM, from the pixels and from the hidden state, in one
# network (`joint=`). `ht.suggest` proposes modes and ranks for a budget of numbers, the best first.

# %%
PIXELS, HIDDEN = 60 * 80 * 3, 256
joint = ht.suggest(PIXELS + HIDDEN, HIDDEN, budget=1_300, gates=4)[0].format
rngs = nnx.Rngs(0)
cell = ht.nn.LSTMCell(PIXELS, HIDDEN, joint=joint, rngs=rngs)
rnn = ht.nn.RNN(cell, scale=1 / 64)  # uint8 pixels are multiplied by this
model = ht.models.VideoClassifier(rnn, HIDDEN, len(data.DIRECTIONS), rngs=rngs)
held, before = cell.joint.format.num_params, (PIXELS + HIDDEN) * 4 * HIDDEN
print(f"{held:,} numbers in place of {before:,}")

# %% [markdown]
# The training step is ordinary Optax, on the pytree that `nnx.split` takes out of the model.

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


# %%
state, records = optimizer.init(params), []
for step in range(1, STEPS + 1):
    params, state, loss, accuracy = train_step(params, state, *clips(32, sprites[300:]))
    records.append({"step": step, "split": "train", "loss": loss, "accuracy": accuracy})

# %%
frames, labels = clips(400, sprites[:300])  # digits that training did not see
model = nnx.merge(graph, params)
found = np.asarray(model(frames).argmax(-1))
accuracy = (found == labels).mean()
print(f"accuracy on 400 clips of unseen digits: {accuracy:.1%} (chance is 12.5%)")
plot.plot_run(records, "FDHT-LSTM")

# %% [markdown]
# What it sees and what it says: three clips, then one that it gets wrong, if there is one. Next,
# notebook 2 draws what these networks are, notebook 3 shows why they are fast, notebook 4 compresses
# a trained LSTM, and notebook 5 reads your own videos.

# %%
names, right = data.DIRECTIONS, found == labels
shown = [*np.flatnonzero(right)[:3], *np.flatnonzero(~right)[:1]]
texts = [f"moves {names[labels[n]]}, predicted {names[found[n]]}" for n in shown]
plot.plot_frames(frames[shown], texts, right[shown])
