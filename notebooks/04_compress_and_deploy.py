# %% [markdown]
# # Compress a trained LSTM, and deploy it
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ht-jax/ht_jax/blob/main/notebooks/04_compress_and_deploy.ipynb)
#
# A dense LSTM is trained, in Flax or in PyTorch. Its matrices become tensor networks within one budget;
# what comes out runs in JAX, as ONNX, or with NumPy alone.

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
# Handwritten digits, enlarged to 32 x 32 pixels and read in eight strips of four rows.

# %%
digits = load_digits()
images = np.kron(digits.images / 16, np.ones((4, 4))).astype(np.float32)
strips = images.reshape(-1, 8, 128)
train, test = slice(400, None), slice(0, 400)


class Reader(nnx.Module):
    def __init__(self, rngs):
        cell = nnx.OptimizedLSTMCell(128, 64, rngs=rngs)
        self.rnn = nnx.RNN(cell, rngs=rngs)
        self.head = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        return self.head(self.rnn(x)[:, -1])


dense = Reader(nnx.Rngs(0))
optimizer = nnx.Optimizer(dense, optax.adam(3e-3), wrt=nnx.Param)


@nnx.jit
def train_step(model, optimizer, x, y):
    def loss_of(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss


rng = np.random.default_rng(0)
for _ in range(400):
    batch = rng.integers(400, len(strips), size=64)
    train_step(dense, optimizer, jnp.asarray(strips[batch]), jnp.asarray(digits.target[batch]))


def accuracy(model):
    return float((model(jnp.asarray(strips[test])).argmax(-1) == digits.target[test]).mean())


def count(model):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


print(f"dense: {count(dense):,} numbers, {accuracy(dense):.1%} of digits not seen")

# %% [markdown]
# ## Into this library
#
# `ht.convert` takes layers of Flax, Linen, Keras and PyTorch, with the same outputs. For PyTorch give
# `module.state_dict()`, or a safetensors file of it; here its names and shapes are imitated.

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
print(float(jnp.abs(rnn(x) - dense.rnn(x)).max()), float(jnp.abs(from_torch(x) - rnn(x)).max()))

model = ht.models.VideoClassifier(rnn, 64, 10, rngs=nnx.Rngs(0))
model.classifier = dense.head
print(f"{accuracy(model):.1%}")

# %% [markdown]
# ## Compress
#
# `ht.compress(model, budget=8_000)` is the whole call: one budget, dealt out to the matrices. A few
# batches of inputs tell what an error costs in the outputs. `frontier` does the work once for many
# budgets.

# %%
calibration = [(jnp.asarray(strips[400:528]),)]
frontier = ht.compression.frontier(model, calibration=calibration)
points, models = {"dense": (count(model), 100 * accuracy(model))}, {}
for budget in (30_000, 16_000, 8_000, 4_000, 2_000):
    models[budget], report = frontier.within(budget)
    points[f"{budget:,}"] = count(models[budget]), 100 * accuracy(models[budget])
    if budget == 8_000:
        print(report)

# %%
plot.plot_pareto(points, cost="numbers in the model", value="accuracy, %, without fine-tuning")

# %% [markdown]
# ## Deploy
#
# `export.numpy` writes one safetensors file; `runtime.py`, one file too, runs it frame by frame with
# NumPy alone. `export.save` and `load` bring the model back to JAX.

# %%
small = models[8_000]
folder = Path(tempfile.mkdtemp())
names = [str(n) for n in range(10)]
ht.export.numpy(
    small, folder / "digits.safetensors", storage="float16", card={"class_names": names}
)
print(
    ht.export.copy_runtime(folder).name, f"{(folder / 'digits.safetensors').stat().st_size:,} bytes"
)

# %%
import sys

sys.path.insert(0, str(folder))
from runtime import Classifier

classifier = Classifier(folder / "digits.safetensors")
course = []
for strip in strips[7]:
    logits = classifier.step(strip)
    course.append(np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum())
expected = small(jnp.asarray(strips[7:8]))[0]
print("largest difference from JAX:", float(np.abs(logits - expected).max()))

# %% [markdown]
# ONNX goes through jax2onnx (`pip install 'ht_jax[onnx]'`): for ONNX Runtime, phones and browsers.

# %%
if importlib.util.find_spec("jax2onnx"):
    graph = ht.export.onnx(small, (1, 8, 128), path=folder / "digits.onnx")
    print(f"{len(graph.graph.node)} nodes, {(folder / 'digits.onnx').stat().st_size:,} bytes")

# %% [markdown]
# What the NumPy runtime makes of a digit as it is read, strip by strip:

# %%
from ht_jax.plot.style import BLUE, GREY, bare, new_figure

figure = new_figure(8, 3)
picture, bars = figure.subplots(1, 2, width_ratios=(1, 2))
picture.imshow(images[7], cmap="gray")
picture.set_axis_off()
for digit in range(10):
    known = digit == digits.target[7]
    style = {"color": BLUE if known else GREY, "linewidth": 2.5 if known else 1}
    bars.plot(range(1, 9), [step[digit] for step in course], **style, label=str(digit))
    bars.annotate(str(digit), (8.1, course[-1][digit]), fontsize=8)
bars.set(xlabel="strips read", ylabel="probability", ylim=(0, 1.02))
bare(bars)
figure
