# %% [markdown]
# # The papers' tables, and your own videos
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ht-jax/ht_jax/blob/main/notebooks/05_papers_and_your_videos.ipynb)
#
# First the published sizes of HT-LSTM, KCP-RNN and the systems that they compare with, counted in
# cells of this library; then an HT-LSTM trained on a folder of video files, as you may have one.

# %%
import subprocess
import sys

if "google.colab" in sys.modules:  # Colab ships an older jax and flax: upgrade them together
    package = "ht_jax[video] @ git+https://github.com/ht-jax/ht_jax"
    install = ["pip", "install", "--quiet", "--upgrade", "jax", "jaxlib", "flax", package]
    subprocess.run([sys.executable, "-m", *install], check=True)

# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 100, "bbox_inches": "tight"}

# %%
import tempfile
from pathlib import Path

import jax
import numpy as np
from flax import nnx

import ht_jax as ht
from ht_jax import data, plot

# %% [markdown]
# ## Sizes, counted
#
# Every cell below is built (by `nnx.eval_shape`, which allocates nothing), and the numbers
# (parameters) in its input-to-hidden matrix are counted: from 57,600 values of a frame to the four
# gates of 256 hidden features. They must equal the published counts. The accuracies are the papers'
# own, on UCF11, and were not reproduced here. TT is a tensor train, BT a sum of Tucker terms, TR a
# tensor ring, HT hierarchical Tucker, KCP a sum of Kronecker products of CP tensors.

# %%
IN, OUT = (8, 20, 20, 18), (4, 4, 4, 4)
HT_IN, HT_OUT = (8, 10, 10, 9, 8), (4, 4, 2, 4, 2)
SYSTEMS = {  # name: (format, published numbers, published accuracy in %)
    "LSTM": (None, 58_982_400, 69.7),
    "TT-LSTM": (ht.TT(IN, OUT, rank=4), 3_360, 79.6),
    "BT-LSTM": (ht.BT(IN, OUT, rank=4, terms=2), 3_392, 85.3),
    "TR-LSTM": (ht.TR((4, 2, 5, 8, 6, 5, 3, 2), HT_OUT, rank=5, closing_rank=10), 1_725, 86.9),
    "HT-LSTM": (ht.HT(HT_IN, HT_OUT, leaf_rank=4, rank=5), 1_245, 87.2),
    "KCP-LSTM": (ht.KCP(IN, OUT, rank=2, terms=2), 212, None),
}
for name, (fmt, published, accuracy) in SYSTEMS.items():
    cell = nnx.eval_shape(lambda fmt=fmt: ht.nn.LSTMCell(57_600, 256, input=fmt, rngs=nnx.Rngs(0)))
    counted = cell.input.format.num_params
    assert counted == published
    ratio = f"{58_982_400 / counted:,.0f}x"
    print(f"{name:9s}{counted:>12,} numbers{ratio:>10}   published accuracy {accuracy or '-'}")

# %%
points = {name: (size, value) for name, (_, size, value) in SYSTEMS.items() if value}
plot.plot_pareto(points, cost="numbers in the matrix", value="published accuracy on UCF11, %")

# %% [markdown]
# `python experiments/tables.py` prints all rows of the papers, FDHT-LSTM's among them, with flops. To
# train one on the real data, decode the archives with `python experiments/prepare.py ucf11 FOLDER`,
# then run a preset such as `python experiments/train.py ucf11_ht_lstm`.
#
# ## Your own videos
#
# All you need is a folder for each class, with video files in it. To have some, we write a few: a
# digit that moves to the left or to the right.

# %%
import av
from sklearn.datasets import load_digits

folder = Path(tempfile.mkdtemp())
scene = data.Scene(height=48, width=64, sizes=(20, 26), travels=(16.0, 20.0))  # in pixels
sprites = np.minimum(load_digits().images * 16, 255).astype(np.uint8)
rng = np.random.default_rng(0)


def write_video(path, frames):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


for direction in ("left", "right"):
    (folder / direction).mkdir()
    for n in range(160):
        path = data.draw_trajectory(rng, scene, data.DIRECTIONS.index(direction))
        frames = data.render_clip(sprites[rng.integers(len(sprites))], path, scene, 12)
        write_video(folder / direction / f"{n:03d}.mp4", frames)
print(len(list(folder.rglob("*.mp4"))), "videos")

# %% [markdown]
# `read_clip` decodes six frames, spread evenly over a video, and scales them to the size that you ask
# for. (For the public sets `experiments/prepare.py` does this once and stores the result.)

# %%
from ht_jax.data.video.decode import read_clip

files = sorted(folder.rglob("*.mp4"))
names = sorted({file.parent.name for file in files})
clips = np.stack([read_clip(file, num_frames=6, height=48, width=64) for file in files])
labels = np.array([names.index(file.parent.name) for file in files])
held_out = np.arange(len(files)) % 4 == 0  # every fourth video is for testing
clips.shape, names

# %% [markdown]
# An HT-LSTM for frames of 48 * 64 * 3 = 9,216 values. `ht.suggest` proposes modes and ranks for a
# budget of numbers, the best first; `scale` and `offset` map the uint8 pixels to -1 .. 1.

# %%
best = ht.suggest(48 * 64 * 3, 32, budget=600, gates=4)[0]
print(best)
rngs = nnx.Rngs(0)
cell = ht.nn.LSTMCell(48 * 64 * 3, 32, input=best.format, rngs=rngs)
rnn = ht.nn.RNN(cell, scale=2 / 255, offset=-1.0)
model = ht.models.VideoClassifier(rnn, 32, len(names), rngs=rngs)

# %% [markdown]
# `ht.cite` lists the papers behind the parts that a model uses, for your own paper:

# %%
print(ht.cite(model))

# %% [markdown]
# The training step is ordinary Optax, on the pytree that `nnx.split` takes out of the model.

# %%
import optax

graph, params = nnx.split(model)
optimizer = optax.adam(3e-3)


@jax.jit
def train_step(params, state, frames, labels):
    def loss_of(params):
        logits = nnx.merge(graph, params)(frames)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    loss, gradients = jax.value_and_grad(loss_of)(params)
    updates, state = optimizer.update(gradients, state, params)
    return optax.apply_updates(params, updates), state, loss


state, train = optimizer.init(params), np.flatnonzero(~held_out)
for _ in range(400):
    batch = rng.choice(train, 32)
    params, state, loss = train_step(params, state, clips[batch], labels[batch])
print(f"training loss of the last step: {loss:.1e}")

# %% [markdown]
# How it does on the videos that it was not trained on:

# %%
found = np.asarray(nnx.merge(graph, params)(clips[held_out]).argmax(-1))
truth = labels[held_out]
print(f"{(found == truth).sum()} of {len(truth)} unseen videos are right")
texts = [f"moves {names[a]}, predicted {names[b]}" for a, b in zip(truth, found)]
shown = [0, 1, -2, -1]
plot.plot_frames(clips[held_out][shown], [texts[n] for n in shown], (found == truth)[shown])
