"""The metrics of a run: one JSON object a line in metrics.jsonl, each step and split once.

Values of a training step are fetched from the device only when they are some steps old, so the host
keeps dispatching while the device computes.
"""

import collections
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Array

from ht_jax.files import write_atomic

Record = dict[str, Any]  # {"step": 3, "split": "train", "loss": 2.1, "accuracy": 0.2, ...}


class Delayed:
    """Holds the metrics of the last steps until their values are needed or old.

    Args:
        lag: How many steps may be in flight; it bounds the batches that wait on the device too.
    """

    def __init__(self, lag: int = 4):
        self._lag = lag
        self._waiting: collections.deque[tuple[int, Mapping[str, Array]]] = collections.deque()

    def push(self, step: int, metrics: Mapping[str, Array]) -> Iterator[Record]:
        """Takes the metrics of a step and yields records of the steps that are old by now."""
        self._waiting.append((step, metrics))
        yield from self._drain(self._lag)

    def flush(self) -> Iterator[Record]:
        """Yields the records of all steps, waiting for the device."""
        yield from self._drain(0)

    def _drain(self, keep: int) -> Iterator[Record]:
        while len(self._waiting) > keep:
            step, metrics = self._waiting.popleft()
            values = {name: float(value) for name, value in metrics.items()}
            yield {"step": step, "split": "train", **values}


class MetricsFile:
    """Appends records to metrics.jsonl, flushed record by record.

    Args:
        path: The file.
        last_step: Records beyond it are removed first: the run resumes from there.
        writes: Whether this process writes; the others keep silent.
    """

    def __init__(self, path: Path, last_step: int, *, writes: bool = True):
        self._file, self._seen = None, set()
        if writes:
            kept = [record for record in read_metrics(path) if record["step"] <= last_step]
            write_atomic(path, "".join(map(_line, kept)))
            self._file, self._seen = path.open("a", buffering=1), {_key(each) for each in kept}

    def __enter__(self) -> "MetricsFile":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def write(self, record: Record) -> None:
        """Appends a record, unless its step and split are there already."""
        if self._file and _key(record) not in self._seen:
            self._seen.add(_key(record))
            self._file.write(_line(record))


def read_metrics(path: Path) -> list[Record]:
    """Reads the records of a run.

    Args:
        path: The file; it may be absent.

    Returns:
        The records, in the order of writing, without lines that a kill or a full disk cut short.
    """
    lines = path.read_text(errors="replace").splitlines(keepends=True) if path.exists() else []
    records = [_parse(line) for line in lines if line.endswith("\n")]
    return [record for record in records if record is not None]


def _line(record: Record) -> str:
    # JSON knows no numbers that are not finite: they become null.
    return json.dumps({name: _finite(value) for name, value in record.items()}) + "\n"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parse(line: str) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and {"step", "split"} <= record.keys() else None


def _key(record: Record) -> tuple[int, str]:
    return record["step"], record["split"]
