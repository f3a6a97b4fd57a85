"""The learning curve of a run as a picture, and its confusion matrix as another.

Matplotlib is used without pyplot: no window, no global state. Blue and vermilion stay apart for
colour-blind readers, and the validation points carry markers.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ht_jax.files import write_atomic
from ht_jax.train.evaluation import Evaluation
from ht_jax.train.metrics import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TRAIN, _VALIDATION = "#0072B2", "#D55E00"


def plot_curve(path: Path, records: Sequence[Record], title: str) -> None:
    """Draws loss and accuracy over the steps.

    Args:
        path: The PNG to write.
        records: The run's metrics.
        title: Stands above.
    """
    figure = _figure(9, 3.8)
    axes = figure.subplots(1, 2)
    for ax, name, label in zip(axes, ("loss", "accuracy"), ("cross-entropy", "accuracy")):
        _plot_train(ax, records, name)
        steps, values = _series(records, "validation", name)
        ax.plot(steps, values, "o-", color=_VALIDATION, markersize=4, label="validation")
        ax.set(xlabel="step", ylabel=label)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(alpha=0.3)
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(0, 1.02)
    figure.suptitle(title)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    _write(path, figure)


def plot_confusion(path: Path, result: Evaluation, title: str) -> None:
    """Draws a confusion matrix: colour is the share of the true class, the text the count.

    Args:
        path: The PNG to write.
        result: The evaluation.
        title: Stands above.
    """
    names, confusion = result.class_names, result.confusion
    figure = _figure(2.5 + 0.5 * len(names), 2.5 + 0.5 * len(names))
    ax = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="predicted", ylabel="true", title=title)
    if len(names) <= 20:  # above, the numbers would overlap
        _write_counts(ax, confusion, share)
    _write(path, figure)


def _write_counts(ax: "Axes", confusion: np.ndarray, share: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(confusion):
        color = "white" if share[row, column] > 0.5 else "black"
        if count:
            ax.text(column, row, str(count), ha="center", va="center", color=color, fontsize=9)


def _plot_train(ax: "Axes", records: Sequence[Record], name: str) -> None:
    steps, values = _series(records, "train", name)
    window = max(1, len(values) // 40)
    ax.plot(steps, values, color=_TRAIN, alpha=0.25, linewidth=0.8)
    mean = np.convolve(values, np.ones(window) / window, mode="valid") if len(values) else values
    label = "training" if window == 1 else f"training, mean of {window} steps"
    ax.plot(steps[window - 1 :], mean, color=_TRAIN, label=label)


def _series(records: Sequence[Record], split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(each["step"], each[name]) for each in records if each["split"] == split]
    steps, values = np.array(points, dtype=float).reshape(-1, 2).T
    return steps, values


def _figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need Matplotlib: pip install 'ht_jax[train]'") from error
    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def _write(path: Path, figure: "Figure") -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomic(path, buffer.getvalue())
