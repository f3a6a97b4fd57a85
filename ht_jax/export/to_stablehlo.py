"""StableHLO through `jax.export`: one artefact for several platforms, with open sizes.

The weights are part of it. It is called from JAX, or from what reads StableHLO.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from jax import export

from ht_jax.export.tracing import Shape, evaluated, traceable, traceable_step


def stablehlo(
    model: Any,
    shape: Shape,
    *,
    dtype: Any = None,
    seq_lengths: bool = False,
    step: bool = False,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    path: str | os.PathLike[str] | None = None,
) -> export.Exported:
    """A model as StableHLO.

    Args:
        model: a module called with one array, or a function of one; exported in evaluation mode.
        shape: of its input, such as `("batch", "time", 120, 160, 3)`: a name leaves a size open.
        dtype: of its input; float32, or uint8 for a step.
        seq_lengths: whether the artefact takes the lengths of the sequences (batch,) as well.
        step: one step of a `VideoClassifier`, `(*states, frame) -> (*states, logits)`, in place
            of whole sequences; `shape` is that of the frames (batch, ...). States start at zero.
        platforms: what it runs on.
        path: of a file to write it to, if given.

    Returns:
        What `jax.export` made of it; its `call` runs it.

    Raises:
        ValueError: a shape that is none, or a layer that has no steps.
        ImportError: `path` without flatbuffers.

    Example:
        >>> import jax.numpy as jnp, ht_jax as ht
        >>> from flax import nnx
        >>> layer = ht.nn.TensorDense(ht.TT((4, 4), (2, 2), 2), rngs=nnx.Rngs(0))
        >>> stablehlo(layer, ("batch", 16)).call(jnp.ones((3, 16))).shape
        (3, 4)
    """
    model = evaluated(model)
    if step:
        traced = traceable_step(model, shape, dtype=dtype or "uint8")
    else:
        traced = traceable(model, shape, dtype=dtype or "float32", seq_lengths=seq_lengths)
    exported = export.export(jax.jit(traced.function), platforms=platforms)(*traced.specs)
    if path is not None:
        _require_flatbuffers()
        Path(path).write_bytes(exported.serialize())
    return exported


def load_stablehlo(path: str | os.PathLike[str]) -> export.Exported:
    """What `stablehlo` wrote to a file.

    Args:
        path: of the file.

    Raises:
        ValueError: the file is not one, not whole, or of a version that this JAX does not read.
        OSError: there is no such file.
        ImportError: flatbuffers is missing.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = stablehlo(jnp.sin, (3,), platforms=["cpu"], path=f"{folder}/sine.bin")
        ...     print(load_stablehlo(f"{folder}/sine.bin").in_avals)
        (ShapedArray(float32[3]),)
    """
    _require_flatbuffers()
    content = Path(path).read_bytes()
    try:
        exported = export.deserialize(bytearray(content))
        exported.in_avals  # noqa: B018
        return exported
    except Exception as error:  # flatbuffers raises whatever the bytes lead it to
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: not an artefact that this JAX reads ({reason})") from error


def _require_flatbuffers() -> None:
    try:
        import flatbuffers  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "StableHLO files need flatbuffers: pip install 'ht_jax[export]'"
        ) from error
