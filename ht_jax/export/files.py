"""Models as safetensors files: the arrays, and the description of the model as JSON beside them.

`load` builds the model from the description alone. A file is data: nothing in it is executed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ht_jax.export.description import build, describe
from ht_jax.export.safe import Arrays, read, serialized
from ht_jax.files import write_atomic

VERSION = 1
Storage = Literal["float16", "int8"] | None


def save(
    model: nnx.Module,
    path: str | os.PathLike[str],
    *,
    storage: Storage = None,
    card: Mapping[str, Any] | None = None,
    described: bool = True,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a model as one safetensors file, in one move.

    Args:
        model: the model.
        path: of the file.
        storage: None keeps every array as it is. "float16" rounds all floats; "int8" rounds
            those of two axes and more to 255 levels, and the others to float16. Integers are
            kept. The model that is loaded computes in its own dtype all the same.
        card: plain data for readers: class names, where the model comes from, how good it is.
        described: whether the model is described, so that `load` builds it; a model of other
            classes is loaded with `into`.
        metadata: further texts of the file.

    Raises:
        ValueError: a class or an attribute that cannot be described, a number that is not
            finite or that the storage cannot hold, or a dtype that safetensors does not have.

    Example:
        >>> import tempfile, ht_jax as ht, jax.numpy as jnp
        >>> layer = ht.nn.TensorDense(ht.HT((8, 6), (4, 4), rank=3), rngs=nnx.Rngs(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(layer, f"{folder}/layer.safetensors")
        ...     same = load(f"{folder}/layer.safetensors")
        >>> bool((same(jnp.ones(48)) == layer(jnp.ones(48))).all())
        True
    """
    about: dict[str, Any] = {"version": VERSION, "model": describe(model) if described else None}
    arrays, about["scales"] = _stored(arrays_of(model), storage)
    texts = {"ht_jax": _json(about), "card": _json(dict(card or {})), **(metadata or {})}
    write_atomic(Path(path), serialized(arrays, texts))


def load(path: str | os.PathLike[str], *, into: nnx.Module | None = None) -> Any:
    """The model of a file that `save` wrote, in evaluation mode.

    Args:
        path: of the file.
        into: a model of the same structure that takes the numbers, in place of a new one.

    Returns:
        The model; random streams start anew.

    Raises:
        ValueError: the file is corrupt, foreign, of a newer version, holds arrays of other
            names, shapes or types than its model has, or numbers that are not finite.

    Example:
        >>> import ht_jax as ht
        >>> model = load(ht.pretrained.path_of("fdht_moving_digits"))
        >>> type(model).__name__
        'VideoClassifier'
    """
    arrays, texts = read(path)
    try:
        about = _about(texts)
        model = nnx.eval_shape(lambda: build(about["model"])) if into is None else into
        fill(model, _restored(arrays, about.get("scales", {})))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error
    model.eval()
    return model


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What was given to `save` as `card`.

    Args:
        path: of the file.

    Raises:
        ValueError: the file is corrupt or foreign.

    Example:
        >>> import ht_jax as ht
        >>> read_card(ht.pretrained.path_of("fdht_moving_digits"))["command"]
        'python experiments/train.py fdht_lstm'
    """
    _, texts = read(path)
    try:
        _about(texts)
        return json.loads(texts.get("card", "{}"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def arrays_of(model: nnx.Module) -> Arrays:
    """All numbers of a model by their dotted paths, random streams apart."""
    return {name: np.asarray(value[...]) for name, value in _variables(model).items()}


def fill(model: nnx.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Puts arrays into a model, which may be an abstract one.

    Args:
        model: it changes.
        arrays: by dotted path, of the model's own shapes; they are cast to its dtypes.

    Raises:
        ValueError: arrays are missing, left over, of another shape, complex in place of real, or
            not finite.
    """
    variables = _variables(model)
    if arrays.keys() != variables.keys():
        missing, over = variables.keys() - arrays.keys(), arrays.keys() - variables.keys()
        raise ValueError(f"arrays missing: {sorted(missing)}; not of this model: {sorted(over)}")
    wanted = {name: variable.get_value() for name, variable in variables.items()}
    for name, array in arrays.items():
        if array.shape != wanted[name].shape:
            raise ValueError(f"{name} has shape {array.shape}, not {wanted[name].shape}")
        if np.iscomplexobj(array) and not jnp.issubdtype(wanted[name].dtype, jnp.complexfloating):
            raise ValueError(f"{name} has dtype {array.dtype}, not {wanted[name].dtype}")
        check_finite(name, array)
    for name, variable in variables.items():
        variable.set_value(jnp.asarray(arrays[name], wanted[name].dtype))
    _start_streams(model)


def check_finite(name: str, array: np.ndarray) -> None:
    """Raises ValueError if an array holds a number that is not finite."""
    if jnp.issubdtype(array.dtype, jnp.inexact) and not np.isfinite(_wide(array)).all():
        raise ValueError(f"{name} holds numbers that are not finite (NaN or infinite)")


def _variables(model: nnx.Module) -> dict[str, nnx.Variable]:
    state = nnx.state(model, nnx.Not(nnx.RngState))
    return {".".join(map(str, path)): variable for path, variable in nnx.to_flat_state(state)}


def _start_streams(model: nnx.Module) -> None:
    for _, variable in nnx.to_flat_state(nnx.state(model, nnx.RngState)):
        if isinstance(variable.get_value(), jax.ShapeDtypeStruct):
            fresh = jax.random.key(0) if isinstance(variable, nnx.RngKey) else jnp.uint32(0)
            variable.set_value(fresh)


def _stored(arrays: Arrays, storage: Storage) -> tuple[Arrays, dict[str, float]]:
    if storage not in (None, "float16", "int8"):
        raise ValueError(f"storage {storage!r} is not None, 'float16' or 'int8'")
    scales, stored = {}, {}
    for name, array in arrays.items():
        check_finite(name, array)
        stored[name] = array
        if storage is None or not jnp.issubdtype(array.dtype, jnp.inexact):
            continue
        if np.iscomplexobj(array):
            raise ValueError(f"{name} has dtype {array.dtype}: keep storage=None")
        wide, narrow = _wide(array), np.float16
        if storage == "int8" and array.ndim > 1:
            narrow, scales[name] = np.float32, float(np.abs(wide).max(initial=0) / 127) or 1.0
        if np.abs(wide).max(initial=0) > np.finfo(narrow).max:
            raise ValueError(f"{name} holds numbers that {storage} cannot: keep storage=None")
        stored[name] = wide.astype(np.float16)
        if name in scales:
            stored[name] = np.rint(wide / scales[name]).astype(np.int8)
    return stored, scales


def _wide(array: np.ndarray) -> np.ndarray:
    """Floats of less than 32 bits in float32; other arrays as they are."""
    small = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < 4
    return array.astype(np.float32) if small else array


def _restored(arrays: Arrays, scales: Mapping[str, float]) -> Arrays:
    if not scales.keys() <= arrays.keys():
        raise ValueError(f"scales of unknown arrays: {sorted(scales.keys() - arrays.keys())}")
    return {
        name: array.astype(np.float32) * np.float32(scales[name]) if name in scales else array
        for name, array in arrays.items()
    }


def _about(texts: Mapping[str, str]) -> dict[str, Any]:
    if "ht_jax" not in texts:
        raise ValueError("it was not written by ht_jax.export.save: its description is missing")
    about = json.loads(texts["ht_jax"])
    if not isinstance(about, dict) or not isinstance(about.get("version"), int):
        raise ValueError("its description has no version")
    if about["version"] > VERSION:
        raise ValueError(
            f"it is of version {about['version']}, this library reads up to {VERSION}: "
            "upgrade ht_jax"
        )
    return about


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
