# %% [markdown]
# # The papers' tables, and your own videos
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ht-jax/ht_jax/blob/main/notebooks/05_papers_and_your_videos.ipynb)
#
# The published sizes of HT-LSTM, FDHT-LSTM, KCP-RNN and the systems that they compare with, counted
# from real cells; then how videos of your own become clips that the same programs train on.

# %%
import subprocess
import sys

if "google.colab" in sys.modules:  # Colab's jax and flax are older: they go up together
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
# Every cell below is built as a layer (its arrays without memory), and the numbers in its
# compressed matrix are counted. The published counts must come out exactly. The accuracies are
# those of the papers, on the real data sets: `experiments/train.py` has a preset for each row.

# %%
UCF, FOURS = (8, 20, 20, 18), (4, 4, 4, 4)
HT_IN, HT_OUT = (8, 10, 10, 9, 8), (4, 4, 2, 4, 2)
SYSTEMS = {
    "LSTM": (None, 58_982_400, 69.7),
    "TT-LSTM": (ht.TT(UCF, FOURS, rank=4), 3_360, 79.6),
    "BT-LSTM": (ht.BT(UCF, FOURS, rank=4, terms=2), 3_392, 85.3),
    "TR-LSTM": (ht.TR((4, 2, 5, 8, 6, 5, 3, 2), HT_OUT, rank=5, closing_rank=10), 1_725, 86.9),
    "HT-LSTM": (ht.HT(HT_IN, HT_OUT, leaf_rank=4, rank=5), 1_245, 87.2),
    "KCP-LSTM": (ht.KCP(UCF, FOURS, rank=2, terms=2), 212, None),
}
for name, (fmt, published, accuracy) in SYSTEMS.items():
    cell = nnx.eval_shape(lambda fmt=fmt: ht.nn.LSTMCell(57_600, 256, input=fmt, rngs=nnx.Rngs(0)))
    counted = cell.input.format.num_params
    assert counted == published
    print(
        f"{name:9s} {counted:>11,} numbers {58_982_400 / counted:>9,.0f}x   published accuracy {accuracy or '-'}"
    )

# %%
points = {name: (size, value) for name, (_, size, value) in SYSTEMS.items() if value}
plot.plot_pareto(points, cost="numbers in the matrix", value="published accuracy on UCF11, %")

# %% [markdown]
# `python experiments/tables.py` prints the whole table, with flops, and
# `python experiments/train.py ucf11_ht_lstm` and the like train them, once
# `python experiments/prepare.py ucf11 FOLDER` has decoded the archives.
#
# ## Your own videos
#
# A folder for each class, with video files in it, is all it takes. Here are a few of our own
# making: a digit that moves to the left, or to the right.

# %%
import av
from sklearn.datasets import load_digits

folder = Path(tempfile.mkdtemp())
scene = data.Scene(48, 64, sizes=(20, 26), travels=(16.0, 20.0))
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
# `read_clip` decodes six frames, evenly over a video's length, in the size that the model wants. (For
# the public sets `experiments/prepare.py` does it once, in parallel, and stores what it decoded.)

# %%
from ht_jax.data.video.decode import read_clip

files = sorted(folder.rglob("*.mp4"))
names = sorted({file.parent.name for file in files})
clips = np.stack([read_clip(file, num_frames=6, height=48, width=64) for file in files])
labels = np.array([names.index(file.parent.name) for file in files])
held_out = np.arange(len(files)) % 4 == 0
clips.shape, names

# %% [markdown]
# An HT-LSTM for 9,216 pixels. `ht.suggest` finds modes and ranks for a budget.

# %%
best = ht.suggest(48 * 64 * 3, 32, budget=600, gates=4)[0]
print(best)
rngs = nnx.Rngs(0)
cell = ht.nn.LSTMCell(48 * 64 * 3, 32, input=best.format, rngs=rngs)
rnn = ht.nn.RNN(cell, scale=2 / 255, offset=-1.0)
model = ht.models.VideoClassifier(rnn, 32, len(names), rngs=rngs)

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
print(f"loss {loss:.3f}")

# %%
found = np.asarray(nnx.merge(graph, params)(clips[held_out]).argmax(-1))
truth = labels[held_out]
print(f"{(found == truth).sum()} of {len(truth)} videos that training has not seen")
texts = [f"{names[a]}, taken for {names[b]}" for a, b in zip(truth, found)]
shown = [0, 1, -2, -1]
plot.plot_frames(clips[held_out][shown], [texts[n] for n in shown], (found == truth)[shown])

# %% [markdown]
# The papers whose systems you use, for your own paper:

# %%
print(ht.cite(model))
