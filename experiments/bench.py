"""Measures what is claimed: `python experiments/bench.py --suite layer`.

A suite is a file of suites/; it gives rows, which are shown, and written with the command and the
versions where a file is named.
"""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from suites import timing

from ht_jax.files import check_file, write_json
from ht_jax.train import command
from ht_jax.train.report import versions

SUITES = {
    "projection": "the input-to-hidden product, in multiples of one pass over the input",
    "layer": "a training step of a whole layer, beside its peers",
    "step": "one frame of a stream",
    "memory": "peak memory of a training step, each in a process of its own",
    "scale": "time and memory with the frame size, the rank and the number of modes",
    "input": "the input pipeline beside the fastest model",
    "parallel": "formats of like ranks over threads and batches",
    "decompose": "tensors compressed, rounded, multiplied, added: beside other libraries",
    "scaling": "weak scaling of data parallelism on fake devices, bytes exchanged a step",
    "plans": "what planning costs, and how far its choice is from the best",
}


def bench(
    suite: Literal[tuple(SUITES)] = "layer",  # pyright: ignore[reportInvalidTypeForm]
    batch: int = 16,
    repeats: int = 9,
    json_file: Path | None = None,
    debug: bool = False,
) -> None:
    """Measures a suite.

    Args:
        suite: What to measure; SUITES in this file says what each is.
        batch: Clips of a batch, of 6 frames each.
        repeats: Rounds in which every system runs once.
        json_file: Where to write the rows, with the command and the versions.
        debug: Show the traceback of an error.
    """
    del debug  # read before the command line is parsed
    command.at_least(1, batch=batch, repeats=repeats)
    if json_file is not None:
        check_file(json_file)
    rows = importlib.import_module(f"suites.{suite}").run(batch, repeats)
    show(rows, f"{suite}: {SUITES[suite]}; {batch} clips a batch")
    if json_file is not None:
        timing.GAUGE.read()
        about = {"command": command.line(), "versions": versions()}
        about |= {"seed": 0, "repeats": repeats, "one_thread_gflops": round(timing.GAUGE.gflops)}
        write_json(json_file, {**about, "rows": rows})


def show(rows: Sequence[dict[str, Any]], title: str) -> None:
    """Prints rows as a table, a column for every name that any row has."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(title=title)
    for n, name in enumerate(names):
        table.add_column(name.replace("_", " "), justify="right" if n else "left")
    for row in rows:
        table.add_row(*(escape(_shown(row.get(name, ""))) for name in names))
    Console().print(table)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(_shown, value))
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    args = sys.argv[1:]
    sys.exit(
        command.run(lambda: command.require_tyro().cli(bench, args=args), debug="--debug" in args)
    )
