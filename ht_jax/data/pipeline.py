"""The one Grain pipeline, from the records of any data set to uint8 batches.

seed -> shuffle -> repeat -> random_map -> [rank::world] -> batch: the global batch of step k
depends on the seed and k alone, so it is the same for any number of processes, after any restart.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ht_jax.data.optional import require

Record = dict[str, Any]
Example = dict[str, Any]
Batch = dict[str, np.ndarray]


class Source(Protocol):
    """Records by index: a list, or what a TFDS builder's `as_data_source` returns."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Record: ...


@dataclass(frozen=True, eq=False)
class ClipData:
    """A data set of labelled clips, as much of it as training needs to know.

    Attributes:
        name: of the data set.
        class_names: one for each label.
        clip_shape: (frames, height, width, channels) of an example, or (frames, features).
        train: the training records.
        validation: the validation records.
        test: the test records.
        train_transform: a function that makes {"frames": uint8 of clip_shape, "label": int32} of a
            record and a NumPy generator.
        eval_transform: a function that makes the same of a record alone.

    Example:
        >>> records = [{"label": np.int32(n)} for n in range(8)]
        >>> keep = lambda record, *rng: record
        >>> data = ClipData("toy", ("a", "b"), (1,), records, records[:5], records[5:], keep, keep)
        >>> len(data.train), int(data.eval_transform(data.test[0])["label"])
        (8, 5)
    """

    name: str
    class_names: tuple[str, ...]
    clip_shape: tuple[int, ...]
    train: Source
    validation: Source
    test: Source
    train_transform: Callable[[Record, np.random.Generator], Example]
    eval_transform: Callable[[Record], Example]


def train_batches(
    data: ClipData,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
    prefetch: int = 4,
) -> Iterator[Batch]:
    """Endless training batches: every epoch in an order and with draws of its own.

    Args:
        data: the data set.
        batch_size: examples of a global batch, over all processes.
        seed: of the order and of the draws.
        start_step: the step whose batch comes first; a restart needs nothing else.
        process_index: which process this is.
        process_count: how many there are; each gets batch_size / process_count examples a step.
        num_threads: threads that read and transform.
        prefetch: batches held ready.

    Returns:
        A `grain.DatasetIterator` over {"frames": uint8 (batch, T, H, W, C), "label": int32
        (batch,)}; its `get_state` and `set_state` count from start_step.

    Raises:
        ValueError: process_count does not divide batch_size, or there is no such process or step.

    Example:
        >>> records = [{"label": np.int32(n)} for n in range(8)]
        >>> keep = lambda record, *rng: record
        >>> data = ClipData("toy", ("a", "b"), (1,), records, records[:5], records[5:], keep, keep)
        >>> batches = train_batches(data, batch_size=8, seed=0)
        >>> sorted(next(batches)["label"].tolist())  # an epoch in an order of its own
        [0, 1, 2, 3, 4, 5, 6, 7]
    """
    grain = require("grain")
    local_size = _local_size(batch_size, process_index, process_count)
    if start_step < 0:
        raise ValueError(f"start_step {start_step} must not be negative")
    examples = _order(Told(data.train, data.name), seed).random_map(data.train_transform)
    batches = examples[process_index::process_count].batch(local_size, drop_remainder=True)
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
    return iter(batches[start_step:].to_iter_dataset(options))


def eval_batches(
    data: ClipData,
    split: str = "validation",
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
    prefetch: int = 4,
) -> Iterator[Batch]:
    """One pass over a split: every example once, as many batches on every process.

    Args:
        data: the data set.
        split: "train", "validation" or "test".
        batch_size: examples of a global batch, over all processes.
        process_index: which process this is.
        process_count: how many there are.
        num_threads: threads that read and transform.
        prefetch: batches held ready.

    Returns:
        A `grain.DatasetIterator` over {"frames", "label", "mask": bool (batch,)}; where the mask is
        False the last batch is filled up with the split's last example, which does not count.

    Raises:
        ValueError: the split is unknown or empty, process_count does not divide batch_size, or
            there is no such process.

    Example:
        >>> records = [{"label": np.int32(n)} for n in range(8)]
        >>> keep = lambda record, *rng: record
        >>> data = ClipData("toy", ("a", "b"), (1,), records, records[:5], records[5:], keep, keep)
        >>> [batch["mask"].tolist() for batch in eval_batches(data, batch_size=3)]
        [[True, True, True], [True, True, False]]
    """
    grain = require("grain")
    local_size = _local_size(batch_size, process_index, process_count)
    source = _split(data, split)
    steps = -(-len(source) // batch_size)

    def masked(index: int) -> Example:
        record = source[min(index, len(source) - 1)]
        return {"record": record, "mask": np.bool_(index < len(source))}

    def transformed(example: Example) -> Example:
        return {**data.eval_transform(example["record"]), "mask": example["mask"]}

    examples = grain.MapDataset.range(steps * batch_size).map(masked).map(transformed)
    batches = examples[process_index::process_count].batch(local_size)
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
    return iter(batches.to_iter_dataset(options))


def train_ids(data: ClipData, *, batch_size: int, seed: int, step: int) -> list[int]:
    """The training records in the global batch of one step.

    Args:
        data: the data set.
        batch_size: examples of a global batch, over all processes.
        seed: as for `train_batches`.
        step: the step, from 1.

    Returns:
        Indices into the training records, in the order of the batch of one process.

    Example:
        >>> records = [{"label": np.int32(n)} for n in range(8)]
        >>> keep = lambda record, *rng: record
        >>> data = ClipData("toy", ("a", "b"), (1,), records, records[:5], records[5:], keep, keep)
        >>> epoch = [train_ids(data, batch_size=4, seed=0, step=step) for step in (1, 2)]
        >>> sorted(sum(epoch, []))
        [0, 1, 2, 3, 4, 5, 6, 7]
    """
    order = _order(range(len(data.train)), seed)
    return [int(order[(step - 1) * batch_size + position]) for position in range(batch_size)]


def _order(source: Any, seed: int) -> Any:
    return require("grain").MapDataset.source(source).seed(seed).shuffle().repeat(None)


@dataclass(frozen=True, eq=False)
class Told:
    """A source whose records say what to do where they cannot be read."""

    source: Source
    name: str

    def __len__(self) -> int:
        with self._told("size"):
            return len(self.source)

    def __getitem__(self, index: int, /) -> Record:
        with self._told(f"record {index}"):
            return self.source[index]

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except IndexError:
            raise
        except Exception as error:  # of whichever library reads the records
            raise OSError(
                f"the {what} of the data set {self.name!r} cannot be read "
                f"({' '.join(str(error).split())}): remove its folder, and it is prepared anew"
            ) from error


def _split(data: ClipData, split: str) -> Source:
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    if split not in splits:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(splits)}")
    if not len(splits[split]):
        raise ValueError(f"the split {split!r} of {data.name} is empty")
    return Told(splits[split], data.name)


def _local_size(batch_size: int, process_index: int, process_count: int) -> int:
    if batch_size < 1 or process_count < 1 or batch_size % process_count:
        raise ValueError(
            f"batch_size {batch_size} is not a positive multiple of process_count "
            f"{process_count}: every process takes an equal share of the global batch"
        )
    if not 0 <= process_index < process_count:
        raise ValueError(
            f"process_index {process_index} must lie in 0 to {process_count - 1}: "
            f"process_count is {process_count}"
        )
    return batch_size // process_count
