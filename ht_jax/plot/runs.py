"""Pictures of training: the course of one run, several runs beside each other, a confusion matrix.

A record is a line of a run's `metrics.jsonl`: step, split, loss, accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ht_jax.plot.style import BLUE, CYCLE, VERMILION, bare, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records = Sequence[Mapping[str, Any]]


def plot_run(records: Records, title: str = "") -> Figure:
    """Loss and accuracy of one run over its steps, in training and on the validation split.

    Args:
        records: with "step", "split" ("train" or "validation"), "loss" and "accuracy".
        title: stands above.

    Raises:
        ImportError: matplotlib is not installed.

    Example:
        >>> rows = [{"step": n, "split": "train", "loss": 2 / n, "accuracy": 0.5} for n in (1, 2)]
        >>> len(plot_run(rows, "a run").axes)
        2
    """
    figure = new_figure(9, 3.8)
    axes = figure.subplots(1, 2)
    for ax, name, label in zip(axes, ("loss", "accuracy"), ("cross-entropy", "accuracy")):
        _plot_train(ax, records, name)
        steps, values = _series(records, "validation", name)
        if len(steps):
            ax.plot(steps, values, "o-", color=VERMILION, markersize=4, label="validation")
        ax.set(xlabel="step", ylabel=label)
        ax.xaxis.get_major_locator().set_params(integer=True)
        bare(ax)
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(0, 1.02)
    figure.suptitle(title)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def plot_curves(runs: Mapping[str, Records], *, split: str = "validation") -> Figure:
    """The accuracy of several runs over their steps.

    Args:
        runs: the records of each run, by its name.
        split: whose accuracy is drawn.

    Raises:
        ImportError: matplotlib is not installed.

    Example:
        >>> rows = [{"step": n, "split": "validation", "accuracy": 0.1 * n} for n in (1, 2)]
        >>> len(plot_curves({"HT-LSTM": rows, "LSTM": rows}).axes[0].lines)
        2
    """
    figure = new_figure(6, 4)
    ax = figure.add_subplot()
    for n, (name, records) in enumerate(runs.items()):
        steps, values = _series(records, split, "accuracy")
        marker = "osD^vPX"[n % 7]
        style = {"color": CYCLE[n % len(CYCLE)], "marker": marker, "markersize": 4}
        ax.plot(steps, 100 * values, label=name, **style)
    ax.set(xlabel="step", ylabel=f"{split} accuracy, %")
    bare(ax)
    if runs:
        ax.legend(fontsize=9, frameon=False)
    return figure


def plot_confusion(confusion: np.ndarray, class_names: Sequence[str], title: str = "") -> Figure:
    """A confusion matrix: colour is the share of the true class, the text the count.

    Args:
        confusion: counts (classes, classes), true class by predicted class.
        class_names: in order.
        title: stands above.

    Raises:
        ImportError: matplotlib is not installed.

    Example:
        >>> plot_confusion(np.array([[9, 1], [2, 8]]), ("left", "right")).axes[0].get_xlabel()
        'predicted'
    """
    confusion, names = np.asarray(confusion), list(class_names)
    figure = new_figure(2.5 + 0.5 * len(names), 2.5 + 0.5 * len(names))
    ax = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="predicted", ylabel="true", title=title)
    if len(names) <= 20:  # above, the numbers would overlap
        _write_counts(ax, confusion, share)
    return figure


def _write_counts(ax: Axes, confusion: np.ndarray, share: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(confusion):
        color = "white" if share[row, column] > 0.5 else "black"
        if count:
            ax.text(column, row, str(count), ha="center", va="center", color=color, fontsize=9)


def _plot_train(ax: Axes, records: Records, name: str) -> None:
    steps, values = _series(records, "train", name)
    window = max(1, len(values) // 40)
    ax.plot(steps, values, color=BLUE, alpha=0.25, linewidth=0.8)
    mean = np.convolve(values, np.ones(window) / window, mode="valid") if len(values) else values
    label = "training" if window == 1 else f"training, mean of {window} steps"
    ax.plot(steps[window - 1 :], mean, color=BLUE, label=label)


def _series(records: Records, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(each["step"], each[name]) for each in records if each["split"] == split]
    steps, values = np.array(points, dtype=float).reshape(-1, 2).T
    return steps, values
