"""The learning curve of a run as a picture beside it, and its confusion matrix as another."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ht_jax import plot
from ht_jax.files import write_atomic
from ht_jax.train.evaluation import Evaluation
from ht_jax.train.metrics import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_curve(path: Path, records: Sequence[Record], title: str) -> None:
    """Writes loss and accuracy over the steps, as `ht_jax.plot.plot_run` draws them.

    Args:
        path: The PNG to write.
        records: The run's metrics.
        title: Stands above.
    """
    _write(path, plot.plot_run(records, title))


def plot_confusion(path: Path, result: Evaluation, title: str) -> None:
    """Writes a confusion matrix, as `ht_jax.plot.plot_confusion` draws it.

    Args:
        path: The PNG to write.
        result: The evaluation.
        title: Stands above.
    """
    _write(path, plot.plot_confusion(result.confusion, result.class_names, title))


def _write(path: Path, figure: "Figure") -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomic(path, buffer.getvalue())
