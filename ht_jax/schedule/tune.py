"""Tuning: the best few schedules of the model, timed on this device, the fastest remembered.

What was measured is kept in memory for this process and on disk for the next ones, keyed by all
that it depends on. Nothing here runs within a trace, and nothing unless it is asked for.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ht_jax.schedule import store
from ht_jax.schedule.cost import device, price
from ht_jax.schedule.lower import run
from ht_jax.schedule.reading import Reading
from ht_jax.schedule.schedule import Problem, Schedule

CANDIDATES = 6  # timed with the tile that the model chose; then the winner with others
ROUNDS = 7
TURN = 2e-3  # seconds that a call takes in a round, repeated if it is shorter

_known: dict[Problem, Schedule] = {}


def remembered(problem: Problem) -> Schedule | None:
    """The schedule that this process was told for a problem, or for one in the same bucket.

    Example:
        >>> import ht_jax as ht
        >>> remembered(ht.TT((5, 7), (2, 3), rank=2).problem(8)) is None  # nothing was measured
        True
    """
    found = _known.get(_bucket(problem))
    return None if found is None else _for_batch(found, problem)


def remember(schedule: Schedule, kind: str | None = None) -> None:
    """Makes a schedule the choice for its problem in this process.

    Args:
        schedule: measured here or elsewhere; it serves all batches in the same power of two.
        kind: of device; by default the one that this process runs on.

    Example:
        >>> import ht_jax as ht
        >>> fmt = ht.TT((4, 6), (3, 2), rank=2)
        >>> schedule = ht.plan(fmt, batch=8)
        >>> remember(schedule)
        >>> remembered(fmt.problem(7)).steps == schedule.steps
        True
    """
    fields = schedule.network, schedule.batch, schedule.dtype, schedule.mode, schedule.arithmetic
    _known[_bucket(Problem(*fields, kind or jax.default_backend()))] = schedule


def tuned(
    problem: Problem,
    ranked: Callable[[], Sequence[Schedule]],
    report: Callable[[str], None] | None = None,
) -> Schedule:
    """The fastest of the best few schedules, measured now or read from the disk.

    Args:
        problem: what is contracted.
        ranked: gives the candidates, the most promising first.
        report: is told, in a line, what was measured.

    Raises:
        RuntimeError: within a trace.

    Example:
        >>> import ht_jax as ht
        >>> problem = ht.LowRank(48, 16, rank=2).problem(8, mode="infer")
        >>> tuned(problem, lambda: ht.schedule.ranked(problem)[:1]).network == problem.network
        True
    """
    if isinstance(jnp.zeros(()), Tracer):
        raise RuntimeError("schedules are measured outside of jit and grad: call plan before them")
    text = ""
    if jax.process_index() == 0:
        found = _read(problem) or _measure(problem, ranked(), report or (lambda line: None))
        text = found.to_json()
    chosen = Schedule.from_json(_agreed(text))
    remember(chosen, problem.device)
    return _for_batch(chosen, problem)


def _measure(
    problem: Problem, ranked: Sequence[Schedule], report: Callable[[str], None]
) -> Schedule:
    chosen = _fastest(problem, ranked[:CANDIDATES], report)
    chosen = _fastest(problem, [chosen, *_other_tiles(chosen)], report)
    _write(problem, chosen)
    return chosen


def _other_tiles(schedule: Schedule) -> list[Schedule]:
    """The same steps with other tiles."""
    tile, batch = schedule.tile or schedule.batch, schedule.batch
    tiles = {0, tile // 2, tile * 2 if tile * 2 < batch else 0} - {schedule.tile}
    variants = [dataclasses.replace(schedule, tile=t, remat=schedule.remat) for t in sorted(tiles)]
    if schedule.mode == "train" and schedule.tile:
        variants.append(dataclasses.replace(schedule, remat=not schedule.remat))
    return [price(variant, device(jax.default_backend())) for variant in variants]


def _fastest(
    problem: Problem, schedules: Sequence[Schedule], report: Callable[[str], None]
) -> Schedule:
    """Times schedules in turn, round after round, so that a slow phase meets them all alike."""
    calls = [timed_call(problem, schedule) for schedule in schedules]
    medians = np.median([[seconds(call) for call in calls] for _ in range(ROUNDS)], 0).tolist()
    for schedule, median in zip(schedules, medians):
        tile = f", tile {schedule.tile}" if schedule.tile else ""
        report(f"{schedule.found_by}{tile}: {median * 1e3:.2f} ms")
    return schedules[medians.index(min(medians))]


def timed_call(problem: Problem, schedule: Schedule) -> Callable[[], Any]:
    """A call that runs what the problem's mode says on random arrays, compiled and warm."""
    rng = np.random.default_rng(0)
    net, dtype = problem.network, jnp.dtype(problem.dtype)
    cores = {name: jnp.asarray(rng.normal(size=net.shape(name)), dtype) for name in net.cores}
    shape = problem.batch, net.in_size
    if problem.arithmetic:
        x = jnp.asarray(rng.integers(0, 256, shape, np.uint8))
    else:
        x = jnp.asarray(rng.normal(size=shape), dtype)
    reading = Reading(arithmetic=problem.arithmetic or "float")

    def infer(cores: Any, x: Any) -> Any:
        return run(schedule, cores, x, reading=reading)

    def train(cores: Any, x: Any) -> Any:
        return jax.grad(lambda cores: jnp.sum(jnp.square(infer(cores, x))))(cores)

    compiled = jax.jit(train if problem.mode == "train" else infer).lower(cores, x).compile()
    call = lambda: jax.block_until_ready(compiled(cores, x))  # noqa: E731
    call()
    return call


def seconds(call: Callable[[], Any]) -> float:
    """Seconds of a call: the mean of as many in a row as fill a turn, after one that warms up."""
    call()
    start, count = time.perf_counter(), 0
    while (taken := time.perf_counter() - start) < TURN:
        call()
        count += 1
    return taken / count


def _bucket(problem: Problem) -> Problem:
    """The problem with its batch rounded up to a power of two."""
    return dataclasses.replace(problem, batch=1 << (problem.batch - 1).bit_length())


def _for_batch(schedule: Schedule, problem: Problem) -> Schedule:
    """The schedule, priced for the problem's batch."""
    moved = dataclasses.replace(schedule, batch=problem.batch)
    return price(moved, device(problem.device))


def _read(problem: Problem) -> Schedule | None:
    """What was measured before for this problem on such a machine."""
    try:
        found = Schedule.from_json(json.dumps(store.read(_key(problem))))
    except ValueError:
        return None
    return found if found.network == problem.network else None


def _write(problem: Problem, schedule: Schedule) -> None:
    store.write(_key(problem), json.loads(schedule.to_json()))


def _key(problem: Problem) -> dict[str, Any]:
    return {**dataclasses.asdict(_bucket(problem)), **store.machine()}


def _agreed(text: str) -> str:
    """Process 0's text, in every process."""
    if jax.process_count() == 1:
        return text
    from jax.experimental import multihost_utils

    raw = np.frombuffer(text.encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(raw))))
    padded = np.zeros(length, np.uint8)
    padded[: len(raw)] = raw[:length]
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded))).decode()
