"""Compressed models as files: written, read back and compared with the model; their steps timed."""

import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ht_jax import export, nn
from ht_jax.export import runtime
from ht_jax.models import VideoClassifier
from ht_jax.summary import walk

TOLERANCE = 1e-4  # on the logits
BATCH = 20  # clips at a time
Row = dict[str, Any]
Logits = Callable[[np.ndarray], Any]


def verified(model: VideoClassifier, clips: np.ndarray, stem: Path) -> dict[str, Row]:
    """Writes a model in every form there is, and runs what is read back.

    Args:
        model: the classifier.
        clips: integers (clips, time, height, width, channels).
        stem: of the files' names; the folder exists.

    Returns:
        By form the bytes of the file and the largest difference of a logit from the model's; of
        ONNX, if it is not installed, what is missing.

    Raises:
        ValueError: a form differs by more than TOLERANCE.
    """
    exact = logits_of(model, clips)
    rows = {}
    for form, write in FORMS.items():
        path = stem.with_suffix(f".{form}")
        try:
            found = _by_batches(write(model, clips.shape, path), clips)
        except ImportError as error:
            rows[form] = {"missing": str(error)}
            continue
        difference = float(np.abs(found - exact).max())
        if not difference <= TOLERANCE:
            raise ValueError(f"{path}: its logits differ by {difference:.2g} from the model's")
        rows[form] = {"bytes": path.stat().st_size, "largest_difference": difference}
    rows["safetensors"]["numpy_difference"] = _numpy_difference(stem, clips, exact)
    if "missing" not in rows["onnx"]:
        names = ("jax2onnx", "onnxruntime")
        rows["onnx"]["versions"] = {name: metadata.version(name) for name in names}
    return {**rows, "float16": _half(model, clips, exact, stem)}


def logits_of(model: Any, clips: np.ndarray) -> np.ndarray:
    """The logits of a model for clips, a batch after the other."""
    graph, state = nnx.split(model)
    run = jax.jit(lambda state, x: nnx.merge(graph, state)(x))
    return _by_batches(lambda x: run(state, jnp.asarray(x)), clips)


def _by_batches(run: Logits, clips: np.ndarray) -> np.ndarray:
    parts = np.split(clips, range(BATCH, len(clips), BATCH))
    return np.concatenate([np.asarray(run(part)) for part in parts])


def _safetensors(model: VideoClassifier, shape: tuple[int, ...], path: Path) -> Logits:
    del shape
    export.numpy(model, path)
    return lambda x: logits_of(export.load(path), x)


def _stablehlo(model: VideoClassifier, shape: tuple[int, ...], path: Path) -> Logits:
    export.stablehlo(model, ("batch", "time", *shape[2:]), dtype="uint8", path=path)
    return export.load_stablehlo(path).call


def _onnx(model: VideoClassifier, shape: tuple[int, ...], path: Path) -> Logits:
    export.onnx(model, ("batch", "time", *shape[2:]), dtype="uint8", path=path)
    import onnxruntime  # pyright: ignore[reportMissingImports]

    session = onnxruntime.InferenceSession(path)
    return lambda x: session.run(None, {"inputs": x})[0]


FORMS = {"safetensors": _safetensors, "stablehlo": _stablehlo, "onnx": _onnx}


def _numpy_difference(stem: Path, clips: np.ndarray, exact: np.ndarray) -> float:
    """That of the NumPy runtime, which runs the safetensors file."""
    model = runtime.Classifier(stem.with_suffix(".safetensors"))
    difference = float(np.abs(np.stack([model(clip) for clip in clips]) - exact).max())
    if not difference <= TOLERANCE:
        raise ValueError(f"{stem}: the NumPy runtime's logits differ by {difference:.2g}")
    return difference


def _half(model: VideoClassifier, clips: np.ndarray, exact: np.ndarray, stem: Path) -> Row:
    """The file of numbers rounded to float16: how far its logits are off, whatever that is."""
    path = stem.with_name(f"{stem.name}_float16.safetensors")
    export.numpy(model, path, storage="float16")
    found = logits_of(export.load(path), clips)
    return {
        "bytes": path.stat().st_size,
        "largest_difference": float(np.abs(found - exact).max()),
        "same_classes": float(np.mean(found.argmax(-1) == exact.argmax(-1))),
    }


def step_ms(model: Any, frame: np.ndarray) -> float:
    """Median milliseconds of one frame of a stream, in JAX, the cells frozen."""
    model = nnx.clone(model)
    for _, module in walk(model):
        if isinstance(module, nn.RNN):
            module.cell = nn.freeze(module.cell, arithmetic="float")
    graph, state = nnx.split(model)

    @jax.jit
    def step(state: Any, carry: Any, frame: jax.Array) -> Any:
        return export.stream(nnx.merge(graph, state))[1](carry, frame)

    first = jnp.asarray(frame[None])
    carry = export.stream(model)[0](first)
    return _median_ms(lambda: jax.block_until_ready(step(state, carry, first)))


def numpy_step_ms(path: Path, frame: np.ndarray) -> float:
    """Median milliseconds of one frame of a stream, in the NumPy runtime."""
    model = runtime.Classifier(path)
    return _median_ms(lambda: model.step(frame))


def _median_ms(call: Callable[[], Any], seconds: float = 2.0) -> float:
    taken: list[float] = []
    call()
    while sum(taken) < seconds or len(taken) < 9:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return 1e3 * float(np.median(taken))
