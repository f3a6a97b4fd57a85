# %% [markdown]
# # Compress a trained LSTM, and deploy it
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ht-jax/ht_jax/blob/main/notebooks/04_compress_and_deploy.ipynb)
#
# You have trained a dense LSTM, in Flax or PyTorch. Here its matrices are compressed to one budget of
# numbers (parameters), fine-tuned, and the result runs in JAX, as ONNX, or with NumPy alone.

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
import importlib.util
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

import ht_jax as ht
from ht_jax import plot

# %% [markdown]
# ## A trained LSTM
#
# Handwritten digits of 8 x 8 pixels, enlarged to 32 x 32 and read in eight strips of four rows: eight
# steps of 128 features. The model is plain Flax.

# %%
digits = load_digits()
images = np.kron(digits.images / 16, np.ones((4, 4))).astype(np.float32)
strips = images.reshape(-1, 8, 128)
test_x, test_y = jnp.asarray(strips[:400]), digits.target[:400]  # training sees the others


class Reader(nnx.Module):
    def __init__(self, rngs):
        cell = nnx.OptimizedLSTMCell(128, 64, rngs=rngs)
        self.rnn = nnx.RNN(cell, rngs=rngs)
        self.head = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        return self.head(self.rnn(x)[:, -1])


# %%
@nnx.jit
def train_step(model, optimizer, x, y):
    def loss_of(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss


def train(model, steps, learning_rate):
    optimizer = nnx.Optimizer(model, optax.adam(learning_rate), wrt=nnx.Param)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        batch = rng.integers(400, len(strips), size=64)
        train_step(model, optimizer, jnp.asarray(strips[batch]), jnp.asarray(digits.target[batch]))


def accuracy(model):
    return float((model(test_x).argmax(-1) == test_y).mean())


def count(model):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


dense = Reader(nnx.Rngs(0))
train(dense, steps=400, learning_rate=3e-3)
print(f"dense: {count(dense):,} numbers, {accuracy(dense):.1%} of 400 unseen digits are right")

# %% [markdown]
# ## Into this library
#
# `ht.convert` reads layers of Flax NNX, Linen, Keras and PyTorch; the outputs stay the same. For
# PyTorch pass `module.state_dict()`, or a safetensors file of it. PyTorch is not needed for this:
# below its names and shapes are filled with the weights of the Flax layer.

# %%
rnn = ht.convert.from_flax(dense.rnn)

cell = dense.rnn.cell
state = {
    "weight_ih_l0": cell.dense_i.kernel[...].T,
    "weight_hh_l0": cell.dense_h.kernel[...].T,
    "bias_ih_l0": jnp.zeros(256) if cell.dense_i.bias is None else cell.dense_i.bias[...],
    "bias_hh_l0": cell.dense_h.bias[...],
}
from_torch = ht.convert.from_torch(state)
x = jnp.asarray(strips[:3])
print(f"largest difference to Flax: {jnp.abs(rnn(x) - dense.rnn(x)).max():.1e}")
print(f"between both conversions: {jnp.abs(from_torch(x) - rnn(x)).max():.1e}")

# %% [markdown]
# `VideoClassifier` is the model that the exports below know: a recurrent layer, and a linear layer
# that reads its last output.

# %%
model = ht.models.VideoClassifier(rnn, 64, 10, classifier=dense.head, rngs=nnx.Rngs(0))
print(f"{accuracy(model):.1%}, as before")

# %% [markdown]
# ## Compress
#
# `ht.compress(model, budget=8_000, calibration=...)` divides one budget among all matrices. The
# calibration inputs, here 128 training digits, show what an error in a matrix costs in the outputs.
# `ht.compression.frontier` does the same for many budgets at once.
#
# In the report `error` is that of a matrix by itself. It may be large in directions that no input
# takes: what counts is the last line, how far the outputs are off. Low rank was chosen for both large
# matrices (HT over two modes is low rank as well); a strip holds only eight distinct pixels. "us" are
# modelled microseconds for one row: matrices as small as these become smaller, but not faster.

# %%
calibration = [(jnp.asarray(strips[400:528]),)]
frontier = ht.compression.frontier(model, calibration=calibration)
points, models = {"dense": (count(model), 100 * accuracy(model))}, {}
for budget in (30_000, 16_000, 8_000, 4_000, 2_000):
    models[budget], report = frontier.within(budget)
    points[f"{budget:,}"] = count(models[budget]), 100 * accuracy(models[budget])
    if budget == 8_000:
        print(report)

# %% [markdown]
# A compressed model trains like any other. 100 steps bring back most of what the smallest lost:

# %%
for budget in (4_000, 2_000):
    before = accuracy(models[budget])
    train(models[budget], steps=100, learning_rate=3e-3)
    after = accuracy(models[budget])
    points[f"{budget:,}, fine-tuned"] = count(models[budget]), 100 * after
    print(f"{budget:,}: {before:.1%}, fine-tuned {after:.1%}")
plot.plot_pareto(points, cost="numbers in the model", value="accuracy on unseen digits, %")

# %% [markdown]
# ## Deploy
#
# `export.numpy` writes one safetensors file; `runtime.py`, which `copy_runtime` puts beside it, runs it
# frame by frame with NumPy alone. `card` is stored with the model. (`export.save` and `export.load`
# keep a model for JAX.)

# %%
small = models[8_000]
folder = Path(tempfile.mkdtemp())
file = folder / "digits.safetensors"
card = {"class_names": [str(n) for n in range(10)]}
ht.export.numpy(small, file, storage="float16", card=card)
runtime = ht.export.copy_runtime(folder)
print(
    f"{file.name}: {file.stat().st_size:,} bytes, {runtime.name}: {runtime.stat().st_size:,} bytes"
)

# %% [markdown]
# The runtime reads a digit, a seven, strip by strip. The file holds float16, the model in JAX float32.

# %%
sys.path.insert(0, str(folder))
from runtime import Classifier

classifier = Classifier(file)
course = [classifier.step(strip) for strip in strips[7]]
expected = small(jnp.asarray(strips[7:8]))[0]
print(f"largest difference in a logit: {np.abs(course[-1] - expected).max():.1e}")

# %% [markdown]
# ONNX export uses jax2onnx, the extra `onnx` of this package; ONNX Runtime then runs the model.

# %%
if importlib.util.find_spec("jax2onnx"):
    graph = ht.export.onnx(small, (1, 8, 128), path=folder / "digits.onnx")
    print(f"{len(graph.graph.node)} nodes, {(folder / 'digits.onnx').stat().st_size:,} bytes")
else:
    print("jax2onnx is not installed here: no ONNX file is written")

# %% [markdown]
# What the NumPy runtime makes of the digit after each strip: lines are the probabilities of the ten
# digits, the true one in blue.

# %%
from ht_jax.plot.style import BLUE, GREY, VERMILION, bare, new_figure

figure = new_figure(9, 3.4)
picture, lines = figure.subplots(1, 2, width_ratios=(1, 2))
picture.imshow(images[7], cmap="gray")
picture.hlines(np.arange(3.5, 31, 4), -0.5, 31.5, color=VERMILION, linewidth=0.8)
picture.set_axis_off()
shares = jax.nn.softmax(np.stack(course))
for digit in range(10):
    known, peak = digit == digits.target[7], int(shares[:, digit].argmax())
    style = {"color": BLUE if known else GREY, "linewidth": 2.5 if known else 1.2}
    lines.plot(range(1, 9), shares[:, digit], **style)
    if shares[peak, digit] > 0.15:
        place = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center"}
        lines.annotate(str(digit), (peak + 1, shares[peak, digit]), fontsize=11, **place)
lines.set(xlabel="strips read", ylabel="probability", ylim=(0, 1.12))
bare(lines)
figure
