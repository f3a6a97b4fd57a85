"""The tables a reader sees in the terminal: of a finished run, and of an evaluation."""

from typing import Any

from ht_jax.train.evaluation import Evaluation
from ht_jax.train.report import Summary


def print_summary(summary: Summary, title: str) -> None:
    """Prints parameters, compression, accuracy and speed.

    Args:
        summary: Of a finished run.
        title: Stands above.
    """
    _print(title, (), _rows(summary))


def print_confusion(result: Evaluation, title: str) -> None:
    """Prints the accuracy and the confusion counts, true class by predicted class.

    Args:
        result: The evaluation.
        title: Stands above, before the accuracy.
    """
    caption = f"{title}: accuracy {result.accuracy:.2%} of {result.count:,}, loss {result.loss:.4f}"
    rows = [(name, *map(str, counts)) for name, counts in zip(result.class_names, result.confusion)]
    _print(caption, ("true \\ predicted", *result.class_names), rows)


def _rows(summary: Summary) -> list[tuple[str, str]]:
    speed, ratio = summary.frames_per_second, summary.compression_ratio
    test = summary.test_accuracy
    return [
        ("test accuracy", "not measured" if test is None else f"{test:.1%}"),
        ("validation accuracy", f"{summary.validation_accuracy:.1%}"),
        ("parameters, whole model", f"{summary.params:,}"),
        ("parameters, recurrent matrices", f"{summary.matrix_params:,}"),
        ("the same matrices, dense", f"{summary.dense_matrix_params:,}"),
        ("compression ratio", f"{ratio:,.0f}x" if ratio >= 100 else f"{ratio:.2f}x"),
        ("training speed", f"{speed:,.0f} frames/s" if speed else "not timed"),
        ("training time", f"{summary.seconds:,.1f} s + {summary.compile_seconds:,.1f} s compiling"),
        ("devices", f"{summary.device_count} x {summary.device_kind}"),
    ]


def _print(title: str, header: tuple[str, ...], rows: list[Any]) -> None:
    try:
        from rich.console import Console
        from rich.table import Column, Table
    except ImportError as error:
        raise ImportError("tables need rich: pip install 'ht_jax[train]'") from error
    columns = [Column(name, overflow="fold") for name in header]
    table = Table(*columns, title=title, title_justify="left", show_header=bool(header))
    for row in rows:
        table.add_row(*row)
    Console().print(table)
