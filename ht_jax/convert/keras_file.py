"""The recurrent layers of a `.weights.h5` file of Keras 3, read without Keras.

A layer is a group `.../cell/vars` of two kernels and a bias, a Bidirectional one holds two of
them. What a file links to elsewhere is not followed, and nothing in it is executed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ht_jax.convert.cells import KIND_OF_GATES

_CELL, _ENDS = "/cell/vars", ("/forward_layer", "/backward_layer")
_NAMES = ("lstm_cell", "gru_cell", "simple_rnn_cell")  # that Keras gives to these cells


class Stored(NamedTuple):
    """One cell: its kind, and its kernels and bias in Keras's order of gates."""

    kind: str
    arrays: tuple[np.ndarray, ...]


def read_layers(
    path: str | os.PathLike[str], names: Sequence[str] | None
) -> dict[str, tuple[Stored, ...]]:
    """The cells of each recurrent layer: one, or that which runs forward and its partner.

    Args:
        path: of the file.
        names: of the layers, the first one first; by default all of them.

    Returns:
        The layers by name, in order.

    Raises:
        ValueError: the file is corrupt, truncated or foreign, or does not tell the layers' order.
        FileNotFoundError: there is no such file.
        ImportError: h5py is missing.
    """
    h5py = _require_h5py()
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        with h5py.File(path, "r") as file:
            inside: list[str] = []
            file.visititems(lambda name, _: inside.append(name))  # it follows no links
            cells = _cells(inside)
            chosen = _ordered(cells) if names is None else _named(cells, names)
            return {name: _layer(file, inside, name, cells[name]) for name in chosen}
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:  # h5py's, and ours
        raise ValueError(f"{path}: not a whole .weights.h5 file of Keras 3: {error}") from error


def _cells(inside: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """By the name of each recurrent layer the groups of its cells."""
    found: dict[str, tuple[str, ...]] = {}
    for array in inside:
        if array.endswith(f"{_CELL}/0"):
            layer = array.removesuffix(f"{_CELL}/0")
            whole = layer.removesuffix(_ENDS[0]).removesuffix(_ENDS[1])
            ends = _ENDS if whole != layer else ("",)
            found[whole] = tuple(f"{whole}{end}{_CELL}" for end in ends)
    if not found:
        raise ValueError("it holds no LSTM, GRU or SimpleRNN (model.save_weights writes such)")
    return found


def _named(cells: dict[str, tuple[str, ...]], names: Sequence[str]) -> list[str]:
    names = [name.strip("/") for name in names]
    if missing := [name for name in names if name not in cells]:
        raise ValueError(f"it holds no recurrent layer {missing[0]!r}: there are {sorted(cells)}")
    return names


def _ordered(cells: dict[str, tuple[str, ...]]) -> list[str]:
    """The names in the order of their numbers: lstm, lstm_1, lstm_2 and so on."""
    parts = {name: _numbered(name) for name in cells}
    if len({stem for stem, _ in parts.values()}) > 1:
        raise ValueError(f"it does not tell the order of {sorted(cells)}: give it as `names`")
    return sorted(cells, key=lambda name: parts[name][1])


def _numbered(name: str) -> tuple[str, int]:
    stem, _, number = name.rpartition("_")
    return (stem, int(number)) if number.isdecimal() else (name, 0)


def _layer(
    file: Any, inside: Sequence[str], name: str, groups: Sequence[str]
) -> tuple[Stored, ...]:
    cells = tuple(_cell(file, inside, group) for group in groups)
    if len({(kind, *(a.shape for a in arrays)) for kind, arrays in cells}) > 1:
        raise ValueError(f"the two directions of {name} differ")
    return cells


def _cell(file: Any, inside: Sequence[str], group: str) -> Stored:
    if group not in inside:
        raise ValueError(f"{group} is missing")
    told = file[group].attrs.get("name", _NAMES[0])
    if not str(told).startswith(_NAMES):
        raise ValueError(f"{group} is of a cell {told!r}: known are {', '.join(_NAMES)}")
    names = sorted(name for name in inside if name.startswith(f"{group}/"))
    kind = _kind(group, [file[name].shape for name in names])
    return Stored(kind, tuple(_array(file[name]) for name in names))


def _kind(group: str, shapes: list[tuple[int, ...]]) -> str:
    """The kind of cell that has arrays of these shapes."""
    if len(shapes) in (2, 3) and len(shapes[1]) == 2 and 0 not in shapes[1]:
        hidden, gated = shapes[1]
        kind = KIND_OF_GATES.get(gated // hidden) if gated % hidden == 0 else None
        bias = (2, gated) if kind == "gru" else (gated,)
        kernel = len(shapes[0]) == 2 and shapes[0][1] == gated
        if kind == "gru" and shapes[2:] == [(gated,)]:
            raise ValueError(f"{group}: only a GRU with reset_after=True is read")
        if kind == "gru" and shapes[2:] == []:
            raise ValueError(
                f"{group}: without a bias it does not tell whether the GRU has "
                "reset_after=True: give the built layer"
            )
        if kind and kernel and shapes[2:] in ([], [bias]):
            return kind
    raise ValueError(f"{group} has arrays of shapes {shapes}: no LSTM, GRU or SimpleRNN has")


def _array(data: Any) -> np.ndarray:
    """A whole array of floats that lies in this file; Keras names bfloat16 in an attribute."""
    narrow = data.dtype == np.dtype("V2") and data.attrs.get("dtype") == "bfloat16"
    if data.dtype.kind != "f" and not narrow:
        raise ValueError(f"{data.name} has dtype {data.dtype}: floats are read")
    if data.external or data.is_virtual or data.id.get_storage_size() != data.nbytes:
        raise ValueError(f"the numbers of {data.name} are not all there")
    return data[()].view(jnp.bfloat16) if narrow else data[()]


def _require_h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("weights of Keras need h5py: pip install 'ht_jax[keras]'") from error
    return h5py
