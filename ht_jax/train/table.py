"""Tables for the terminal, the README and papers."""

import re
import sys
from collections.abc import Sequence
from typing import Any

from ht_jax.train.evaluation import Evaluation
from ht_jax.train.report import Summary


def print_table(
    form: str, title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Prints a table.

    Args:
        form: "markdown", "latex" or, for the terminal, "rich".
        title: Stands above.
        header: Names of the columns.
        rows: The cells of each row.
    """
    texts = [[str(cell) for cell in cells] for cells in rows]
    if form == "markdown":
        lines = [header, ["---"] * len(header), *texts]
        print(f"**{title}**\n")
        print("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    elif form == "latex":
        print(_latex(title, header, texts))
    else:
        right = [all(re.fullmatch(r"-|-?[\d.,]+", c[n]) for c in texts) for n in range(len(header))]
        _print(title, header, texts, right=right, width=None if sys.stdout.isatty() else 180)


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


def _latex(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def escaped(cell: str) -> str:
        marked = "".join(f"\\{c}" if c in "%&#_$" else c for c in cell)
        return re.sub(r"\^(\w?)", r"$^{\1}$", marked)

    lines = [" & ".join(map(escaped, line)) + r" \\" for line in (header, *rows)]
    begin = f"% {title}\n\\begin{{tabular}}{{{'l' * len(header)}}}\n\\hline\n{lines[0]}\n\\hline"
    return "\n".join([begin, *lines[1:], "\\hline\n\\end{tabular}\n"])


def _print(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[bool] = (),
    width: int | None = None,
) -> None:
    try:
        from rich.console import Console
        from rich.table import Column, Table
    except ImportError as error:
        raise ImportError("tables need rich: pip install 'ht_jax[train]'") from error
    sides = ["right" if numeric else "left" for numeric in right] or ["left"] * len(header)
    columns = [Column(name, justify=side, overflow="fold") for name, side in zip(header, sides)]  # pyright: ignore[reportArgumentType]
    table = Table(*columns, title=title, title_justify="left", show_header=bool(header))
    for row in rows:
        table.add_row(*row)
    Console(width=width).print(table)
