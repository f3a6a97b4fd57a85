"""Tensors compressed, rounded, multiplied and added: beside the libraries of tensor_peers.py.

`python experiments/bench.py --suite decompose`, in float64. Two dense tensors are compressed, 20^5
of CP rank 5 (Gaussian factors, seed 0) and 1 / (1 + sum x) on 16^6 (x = linspace(0, 1, 16)); random
ones are rounded from rank 30 to 20 (16 modes of 32), multiplied and added (64 modes of 32, rank 8).
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import Progress

from suites.tensor_peers import PEERS, Peer
from suites.timing import Row, seconds

TOL = 1e-4
OURS = "ht_jax"
PATIENCE = 2.0  # seconds; what takes longer in the first round is run only once more


@dataclasses.dataclass(frozen=True)
class Task:
    """Something that several libraries can do.

    Args:
        name: What it is.
        make: From a library, a call that does it; None if it cannot.
        check: From the result of that call, what is to be told of it.
    """

    name: str
    make: Callable[[Peer], Callable[[], Any] | None]
    check: Callable[[Peer, Any], dict[str, Any]]


def run(batch: int, repeats: int) -> list[Row]:
    """Measures all tasks.

    Args:
        batch: Not used.
        repeats: Rounds in which every library runs once, after a first one that may compile.
    """
    del batch
    jax.config.update("jax_enable_x64", True)
    peers, rows = {}, []
    for name, make in PEERS.items():
        try:
            peers[name] = make()
        except ImportError as error:
            rows.append({"task": "none", "system": name, "missing": str(error)})
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for task in progress.track(list(tasks()), description="decompose"):
            rows += _measured(task, peers, repeats)
    return rows


def tasks() -> Iterator[Task]:
    """Every task of the suite."""
    for name, x in _tensors().items():
        yield Task(f"{name}, {TOL:g}", lambda p, x=x: p.decompose(x, TOL), _error(x))
    yield Task("round 30 to 20, 32^16", lambda p: _on_random(p, p.round, 16, 30, 20), _numbers)
    yield Task("inner product, 32^64", lambda p: _on_random(p, p.inner, 64, 8), _nothing)
    yield Task("sum, 32^64", lambda p: _on_random(p, p.add, 64, 8), _numbers)


def _tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    factors = [rng.standard_normal((20, 5)) for _ in range(5)]
    low_rank = np.einsum("az,bz,cz,dz,ez->abcde", *factors, optimize=True)
    smooth = 1 / np.asarray(1 + sum(np.ix_(*[np.linspace(0, 1, 16)] * 6)))
    return {"low rank, 20^5": low_rank, "1/(1+sum x), 16^6": smooth}


def _on_random(peer: Peer, operation: Any, d: int, rank: int, *then: int) -> Any:
    """An operation on a random tensor with what is given, or with itself."""
    if peer.random is None or operation is None:
        return None
    t = peer.random((32,) * d, rank)
    return lambda: operation(t, *(then or (t,)))


def _error(x: np.ndarray) -> Callable[[Peer, Any], dict[str, Any]]:
    def check(peer: Peer, t: Any) -> dict[str, Any]:
        error = np.linalg.norm(peer.dense(t) - x) / np.linalg.norm(x)
        return {"numbers": int(peer.numbers(t)), "error": float(error)}

    return check


def _numbers(peer: Peer, t: Any) -> dict[str, Any]:
    return {"numbers": int(peer.numbers(t))}


def _nothing(peer: Peer, t: Any) -> dict[str, Any]:
    del peer, t
    return {}


def _measured(task: Task, peers: Mapping[str, Peer], repeats: int) -> list[Row]:
    """One task by all libraries in turn, round after round."""
    calls = {name: call for name, p in peers.items() if (call := task.make(p)) is not None}
    told, rounds = {}, {}
    for name, call in list(calls.items()):  # the first round compiles, and is checked
        try:
            start = time.perf_counter()
            result = call()
            slow = time.perf_counter() - start > PATIENCE and name != OURS
            told[name] = task.check(peers[name], result)
        except Exception as error:  # a peer's failure is a result, not ours
            told[name] = {"failed": f"{type(error).__name__}: {error}"}
            del calls[name]
            continue
        rounds[name] = 1 if slow else repeats
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for n in range(repeats):
        for name, call in calls.items():
            if n < rounds[name]:
                taken[name].append(_turn(call, warm=rounds[name] > 1))
    times = {name: float(np.median(s)) for name, s in taken.items()}
    shown = {
        name: {"ms": t * 1e3, "times_slower": t / times[OURS], "runs": rounds[name]}
        for name, t in times.items()
    }
    return [
        {"task": task.name, "system": peers[name].name, **shown.get(name, {}), **told[name]}
        for name in told
    ]


def _turn(call: Callable[[], Any], *, warm: bool) -> float:
    if warm:
        call()  # not timed: before it, caches and threads are another library's
    return seconds(call)
