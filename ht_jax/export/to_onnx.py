"""ONNX through jax2onnx: whole sequences, or one step, for ONNX Runtime and its peers.

jax2onnx replaces functions of `jax.numpy` and Flax while it traces, and some replacements take
fewer arguments. So the model is traced before, and jax2onnx sees few primitives alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import jax

from ht_jax.export.lowering import simplified
from ht_jax.export.tracing import Shape, Traceable, evaluated, traceable, traceable_step


def onnx(
    model: Any,
    shape: Shape,
    *,
    dtype: Any = None,
    seq_lengths: bool = False,
    step: bool = False,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """A model as ONNX.

    Args:
        model: a module called with one array, or a function of one; exported in evaluation mode.
        shape: of its input, such as `(1, 6, 120, 160, 3)` or `("batch", "time", 120, 160, 3)`:
            names leave sizes open.
        dtype: of its input; float32, or uint8 for a step.
        seq_lengths: whether the graph takes the lengths of the sequences (batch,) as well.
        step: one step of a `VideoClassifier`, `(*states, frame) -> (*states, logits)`, in place
            of whole sequences; `shape` is that of the frames (batch, ...). States start at zero.
        path: of a file to write it to, if given.

    Returns:
        The `onnx.ModelProto`. Its inputs are named `inputs` and `seq_lengths`, its output
        `outputs`; several, such as the carry and the outputs of an `RNN` with return_carry=True,
        are `outputs_0`, `outputs_1` and so on, in the order of `jax.tree.leaves`.

    Raises:
        ValueError: a shape that is none, a layer that has no steps, or something that jax2onnx
            cannot convert.
        ImportError: jax2onnx is missing.

    Example:
        >>> import ht_jax as ht
        >>> model = ht.load_pretrained("ht_moving_digits")
        >>> proto = onnx(model, (1, 6, 120, 160, 3), path="model.onnx")  # doctest: +SKIP
    """
    model = evaluated(model)
    if step:
        traced = traceable_step(model, shape, dtype=dtype or "uint8")
    else:
        traced = traceable(model, shape, dtype=dtype or "float32", seq_lengths=seq_lengths)
    proto = _converted(traced)
    if path is not None:
        Path(path).write_bytes(proto.SerializeToString())
    return proto


def _converted(traced: Traceable) -> Any:
    jax2onnx = _require_jax2onnx()
    function = simplified(jax.make_jaxpr(traced.function)(*traced.specs))
    count = len(jax.eval_shape(function, *traced.specs))
    outputs = traced.outputs if len(traced.outputs) == count else _numbered(count)
    names = {"input_names": list(traced.inputs), "output_names": list(outputs)}
    try:
        proto = jax2onnx.to_onnx(lambda *args: tuple(function(*args)), list(traced.specs), **names)
        _check(proto)
        return proto
    except Exception as error:  # jax2onnx raises whatever its plugins do
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"jax2onnx cannot convert this model for shapes {[s.shape for s in traced.specs]} "
            f"({type(error).__name__}: {reason}): ht_jax.export.stablehlo takes what JAX can trace"
        ) from error


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"outputs_{n}" for n in range(count))


def _check(proto: Any) -> None:
    """Raises unless the graph is whole: some that jax2onnx makes no runtime would load."""
    import onnx.checker  # pyright: ignore[reportMissingImports]

    onnx.checker.check_model(proto, full_check=True)


def _require_jax2onnx() -> ModuleType:
    try:
        import jax2onnx  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("ONNX needs jax2onnx: pip install 'ht_jax[onnx]'") from error
    return jax2onnx
