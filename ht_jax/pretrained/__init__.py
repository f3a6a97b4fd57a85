"""Trained checkpoints that come with the library, each smaller than 16 KB.

Their numbers are stored as float16. Each file carries a card: what it was taught, by which
command, and how good the stored numbers are on the test split.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ht_jax.export import load, read_card
from ht_jax.models import VideoClassifier

_FOLDER = Path(__file__).parent


def pretrained() -> tuple[str, ...]:
    """Names of the checkpoints.

    Example:
        >>> "fdht_moving_digits" in pretrained()
        True
    """
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.safetensors")))


def load_pretrained(name: str) -> VideoClassifier:
    """A trained model, in evaluation mode.

    Args:
        name: such as "fdht_moving_digits"; `pretrained()` lists all.

    Raises:
        ValueError: there is no such checkpoint.

    Example:
        >>> model = load_pretrained("fdht_moving_digits")
        >>> model.rnn.cell.joint.format.num_params
        1309
    """
    return load(path_of(name))


def card(name: str) -> dict[str, Any]:
    """The card of a checkpoint: data, class names, command, accuracy, versions.

    Args:
        name: as for `load_pretrained`.

    Raises:
        ValueError: there is no such checkpoint.

    Example:
        >>> card("fdht_moving_digits")["command"]
        'python experiments/train.py fdht_lstm'
    """
    return read_card(path_of(name))


def path_of(name: str) -> Path:
    """The file of a checkpoint; the NumPy runtime reads it as well.

    Args:
        name: as for `load_pretrained`.

    Raises:
        ValueError: there is no such checkpoint.

    Example:
        >>> path_of("fdht_moving_digits").name
        'fdht_moving_digits.safetensors'
    """
    if name not in pretrained():
        raise ValueError(f"no checkpoint is named {name!r}: there are {', '.join(pretrained())}")
    return _FOLDER / f"{name}.safetensors"
