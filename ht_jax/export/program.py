"""A classifier as the program that the NumPy runtime runs: contractions in order, by name.

It is plain JSON data inside the safetensors file of `save`, so one file serves both.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import nnx

from ht_jax import nn
from ht_jax.export import runtime
from ht_jax.export.files import Storage, save
from ht_jax.export.same import general_class
from ht_jax.formats import Format
from ht_jax.formats.base import Restricted
from ht_jax.models import VideoClassifier
from ht_jax.schedule.schedule import BATCH

_CELLS = {nn.LSTMCell: "lstm", nn.GRUCell: "gru", nn.SimpleCell: "simple"}


def numpy(
    model: VideoClassifier,
    path: str | os.PathLike[str],
    *,
    storage: Storage = None,
    card: Mapping[str, Any] | None = None,
) -> None:
    """Writes a classifier as a file that runs frame by frame without JAX.

    The file is one of `save`, with a program in it; `copy_runtime` gives the one Python file that
    runs it: `python runtime.py model.safetensors frames.npy`.

    Args:
        model: a classifier of frames; its recurrent layers run forward and read pixels.
        path: of the file.
        storage: "float16" or "int8" as for `save`; the runtime computes in float32.
        card: plain data for readers, as for `save`; the runtime shows its "class_names".

    Raises:
        ValueError: a layer that cannot run frame by frame or has no program, or what `save` says.

    Example:
        >>> import tempfile
        >>> rnn = nn.RNN(nn.GRUCell(12, 8, rngs=nnx.Rngs(0)))
        >>> model = VideoClassifier(rnn, 8, 5, rngs=nnx.Rngs(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     numpy(model, f"{folder}/model.safetensors")
        ...     runner = runtime.Classifier(f"{folder}/model.safetensors")
        >>> runner.in_features
        12
    """
    text = json.dumps(program(model), separators=(",", ":"))
    save(model, path, storage=storage, card=card, metadata={"program": text})


def copy_runtime(folder: str | os.PathLike[str]) -> Path:
    """Copies the NumPy runtime into a folder.

    Args:
        folder: it exists.

    Returns:
        The path of `runtime.py`; it needs Python and NumPy alone.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     copy_runtime(folder).name
        'runtime.py'
    """
    return Path(shutil.copy(runtime.__file__, Path(folder) / "runtime.py"))


def program(model: VideoClassifier) -> dict[str, Any]:
    """The program of a classifier.

    Args:
        model: the classifier.

    Returns:
        Plain data: how integers are read, then the layers, then the linear classifier.

    Raises:
        ValueError: a layer that cannot run frame by frame, or has no program.
    """
    if not isinstance(model, VideoClassifier) or model.features is not None:
        raise ValueError(
            "the NumPy runtime runs a VideoClassifier of pixels: export a "
            f"{type(model).__name__} with features or of another kind as StableHLO or ONNX"
        )
    head = model.classifier
    if general_class(type(head)) not in (nnx.Linear, nn.TensorDense) or head.bias is None:
        raise ValueError(
            f"the NumPy runtime has no classifier {type(head).__name__}: it takes an nnx.Linear "
            "or a TensorDense, with a bias"
        )
    rnns = layers_of(model)
    first = next(iter(rnns.values()))
    held = isinstance(head, nn.TensorDense)
    return {
        "version": runtime.VERSION,
        "in_features": first.cell.in_features,
        "scale": first.reading.scale,
        "offset": first.reading.offset,
        "layers": [_layer(rnn.cell, f"{path}.cell") for path, rnn in rnns.items()],
        **({"classifier": _matrix(head.format, "classifier.cores.")} if held else {}),
    }


def layers_of(model: VideoClassifier) -> dict[str, nn.RNN]:
    """The recurrent layers of a classifier by path, the first one first.

    Raises:
        ValueError: a layer that cannot run frame by frame.
    """
    if type(model) is not VideoClassifier:
        raise ValueError(
            f"a {type(model).__name__} cannot run frame by frame: it takes a VideoClassifier, not "
            "a subclass, whose equations may be others"
        )
    rnn = model.rnn
    layers: dict[str, Any] = {"rnn": rnn}
    if type(rnn) is nn.Stacked:
        layers = {f"rnn.layers.{n}": layer for n, layer in enumerate(rnn.layers)}
    for path, layer in layers.items():
        if type(layer) is not nn.RNN or layer.reverse or layer.time_major:
            raise ValueError(
                f"{path} is a {type(layer).__name__} that cannot run frame by frame: it takes an "
                "ht_jax.nn.RNN, batch-major and not reversed"
            )
    return layers


def _layer(cell: nn.RecurrentCell, path: str) -> dict[str, Any]:
    kind = _CELLS.get(general_class(type(cell)))
    if kind is None:
        raise ValueError(
            f"the NumPy runtime has no {type(cell).__name__}: export the model as StableHLO or ONNX"
        )
    biased = "input" if cell.joint is None else "joint"
    weights = {
        "input": (biased, cell.input_weight().format),
        "recurrent": (
            "recurrent" if cell.joint is None else "joint",
            cell.recurrent_weight().format,
        ),
    }
    layer: dict[str, Any] = {"cell": kind, "hidden": cell.hidden_features}
    layer |= {n: _matrix(fmt, f"{path}.{at}.cores.") for n, (at, fmt) in weights.items()}
    layer["bias"] = f"{path}.{biased}.bias"
    if kind == "gru":
        layer["candidate_bias"] = f"{path}.candidate_bias"
    if cell.norms is not None:
        layer["norms"] = {part: f"{path}.norms.{part}.scale" for part in ("input", "recurrent")}
    return layer


def _matrix(fmt: Format, prefix: str) -> dict[str, Any]:
    """A contraction of one row: the steps of the schedule, without their batch index."""
    net = fmt.network()
    cut = {}
    if isinstance(fmt, Restricted):
        cut, _ = fmt.base.network().slices(*fmt.padded_range)
    steps = [
        [step.left, step.right, step.out, [i for i in step.indices if i != BATCH]]
        for step in fmt.plan(1, mode="infer").steps
    ]
    return {
        "cores": {
            name: [prefix + core, list(net.indices[name])]
            for name, core in net.arrays({c: c for c in net.cores}).items()
        },
        "cut": cut,
        "inputs": list(net.inputs),
        "outputs": list(net.outputs),
        "pad": [fmt.in_offset, net.in_size - fmt.in_offset - fmt.in_features],
        "crop": [fmt.gates, fmt.out_features // fmt.gates],
        "steps": steps,
    }
