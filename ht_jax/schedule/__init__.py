"""Schedules: in which order a tensor network is contracted with its input, and why."""

import contextlib
import functools
import numbers
from collections.abc import Generator
from typing import Any

from ht_jax.schedule.cost import Device, StepCost, device, price, step_costs, tiled
from ht_jax.schedule.lower import merge, run, run_merged
from ht_jax.schedule.probe import probed
from ht_jax.schedule.reading import Arithmetic, Reading
from ht_jax.schedule.schedule import Mode, Planned, Problem, Schedule, Step
from ht_jax.schedule.search import candidates
from ht_jax.schedule.store import cache_folder
from ht_jax.schedule.tune import remember, remembered, tuned

__all__ = [
    "Arithmetic",
    "Device",
    "Mode",
    "Problem",
    "Reading",
    "Schedule",
    "Step",
    "StepCost",
    "asked",
    "best",
    "cache_folder",
    "device",
    "merge",
    "modelled",
    "plan",
    "price",
    "probed",
    "ranked",
    "remember",
    "remembered",
    "run",
    "run_merged",
    "step_costs",
    "tuned",
]


def best(problem: Problem) -> Schedule:
    """The schedule for a problem: the one that was tuned for it, else the cost model's choice.

    The cost model's choice is the same every time; a tuned schedule is one that `plan` with
    `tune=True` measured, or that `remember` was given, in this process.

    Example:
        >>> import ht_jax as ht
        >>> fmt = ht.HT((8, 6), (4, 4), rank=3)
        >>> best(fmt.problem(4)) == ht.plan(fmt, batch=4)
        True
    """
    for record in _records:
        record.append(problem)
    return remembered(problem) or modelled(problem)


_records: list[list[Problem]] = []


@contextlib.contextmanager
def asked() -> Generator[list[Problem]]:
    """Records the problems that are asked of `best` meanwhile: what a traced function contracts.

    Example:
        >>> import jax, ht_jax as ht
        >>> weight = ht.HT((8, 6), (4, 4), rank=3).init(jax.random.key(0))
        >>> with asked() as problems:
        ...     shape = jax.eval_shape(ht.apply, weight, jax.ShapeDtypeStruct((5, 48), "float32"))
        >>> [problem.batch for problem in problems]
        [5]
    """
    record: list[Problem] = []
    _records.append(record)
    try:
        yield record
    finally:
        _records.remove(record)


@functools.lru_cache(1024)
def modelled(problem: Problem) -> Schedule:
    """The cost model's choice for a problem.

    Example:
        >>> import ht_jax as ht
        >>> problem = ht.HT((8, 6), (4, 4), rank=3).problem(4)
        >>> modelled(problem) == ranked(problem)[0]
        True
    """
    return ranked(problem)[0]


def ranked(problem: Problem, dev: Device | None = None) -> list[Schedule]:
    """All candidates for a problem, priced, the best first.

    Args:
        problem: what is contracted.
        dev: a cost model in place of that of the problem's kind of device.

    Example:
        >>> import ht_jax as ht
        >>> found = ranked(ht.HT((8, 6), (4, 4), rank=3).problem(4))
        >>> found[0].seconds <= found[-1].seconds
        True
    """
    dev = dev or device(problem.device)
    priced = (price(tiled(found, dev), dev) for found in candidates(problem, dev))
    return sorted(priced, key=lambda schedule: schedule.seconds)


def plan(
    fmt: Planned,
    batch: int,
    mode: Mode = "train",
    *,
    dtype: Any = "float32",
    arithmetic: Arithmetic | None = None,
    tune: bool = False,
) -> Schedule:
    """The schedule for applying a format to `batch` rows on the default device.

    Args:
        fmt: a format.
        batch: rows of input.
        mode: "train" weighs forward and backward together, "infer" the forward pass alone.
        dtype: of the cores.
        arithmetic: in which integer inputs are read; None for inputs that are floats.
        tune: measure the best few on this device, or take what an earlier measurement on the
            same kind of device left on disk. `apply` and the layers use it from then on in this
            process, for any batch in the same power of two.

    Raises:
        ValueError: a batch below 1, or another mode.
        RuntimeError: `tune=True` within a trace.

    Example:
        >>> import ht_jax as ht
        >>> ht.plan(ht.HT((8, 6), (4, 4), rank=3), batch=4).flops
        7344.0
    """
    if not isinstance(batch, numbers.Integral) or batch < 1:
        raise ValueError(f"batch {batch!r} must be a whole number of rows, at least 1")
    if mode not in ("train", "infer"):
        raise ValueError(f"mode {mode!r} is neither 'train' nor 'infer'")
    problem = fmt.problem(int(batch), mode=mode, dtype=dtype, arithmetic=arithmetic)
    return tuned(problem, lambda: ranked(problem, probed())) if tune else best(problem)
