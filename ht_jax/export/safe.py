"""safetensors files of any dtype that NumPy has with ml_dtypes: 8 bytes of length, a JSON header,
the arrays as they lie in memory, in C order.

The library safetensors checks the header; its own NumPy arrays know no float8.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

Arrays = dict[str, np.ndarray]
_NAMES: dict[str, Any] = {
    **{"BOOL": "?", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"},
    **{"U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8"},
    **{"F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8"},
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}
_DTYPES = {name: np.dtype(dtype) for name, dtype in _NAMES.items()}


def serialized(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file.

    Args:
        arrays: by name, in any order of memory.
        texts: the metadata.

    Raises:
        ValueError: an array of a dtype that the format does not have; it is named.
    """
    from safetensors.numpy import save

    for name, array in arrays.items():
        if array.dtype.newbyteorder("<") not in _DTYPES.values():
            raise ValueError(
                f"{name} has dtype {array.dtype}, which safetensors files cannot hold: they hold "
                f"{', '.join(dtype.name for dtype in _DTYPES.values())}"
            )
    # `save` writes memory as it lies; np.ascontiguousarray would give a scalar an axis.
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()}, dict(texts))


def read(path: str | os.PathLike[str]) -> tuple[Arrays, dict[str, str]]:
    """Arrays and texts of any safetensors file.

    Args:
        path: of the file.

    Raises:
        ValueError: it is not one, it is not whole, or it holds a dtype that NumPy does not have.
        OSError: there is no such file.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        header, start = _header(Path(path))
        texts = header.pop("__metadata__", {})
        held = {name: at["dtype"] for name, at in header.items()}
        unknown = [f"{name} ({dtype})" for name, dtype in held.items() if dtype not in _DTYPES]
        if not unknown:
            with safe_open(path, "np"):  # checks the offsets, and the length of the file
                pass
    except (SafetensorError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"{path}: this is not a whole safetensors file ({error})") from error
    if unknown:
        raise ValueError(
            f"{path} holds dtypes that NumPy does not have: {', '.join(unknown)}; cast these "
            "arrays to another one, such as BF16, where the file is written"
        )
    return {name: _array(Path(path), start, at) for name, at in header.items()}, texts


def _header(path: Path) -> tuple[dict[str, Any], int]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= path.stat().st_size - 8:
            raise ValueError(f"its header would have {size} bytes")
        return json.loads(file.read(size)), 8 + size


def _array(path: Path, start: int, at: Mapping[str, Any]) -> np.ndarray:
    begin, end = at["data_offsets"]
    content = np.fromfile(path, np.uint8, end - begin, offset=start + begin)
    return content.view(_DTYPES[at["dtype"]]).reshape(at["shape"])
