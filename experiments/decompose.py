"""Decompositions of dense tensors: ours against the libraries that a user would pick instead.

`python experiments/decompose.py --json_file results.json`. The two tensors are 20^5 of CP rank 5
(Gaussian factors, seed 0) and 1 / (1 + sum x) on 16^6 (x = linspace(0, 1, 16) in every mode), in
float64. Peers are measured if they are installed, and named if they are not.
"""

import dataclasses
import importlib
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ht_jax import tensor as htt
from ht_jax.files import write_json
from ht_jax.train import command
from ht_jax.train.report import versions


@dataclasses.dataclass(frozen=True)
class Peer:
    """A library that decomposes.

    Args:
        name: What it is called.
        module: What must be importable.
        decompose: Takes its module, a NumPy tensor and a relative tolerance; returns a call that
            decomposes, and one that turns the result into (numbers stored, dense NumPy tensor).
    """

    name: str
    module: str
    decompose: Callable[
        [Any, np.ndarray, float], tuple[Callable[[], Any], Callable[[Any], tuple[int, np.ndarray]]]
    ]


def tensors() -> dict[str, np.ndarray]:
    """The two tensors."""
    rng = np.random.default_rng(0)
    factors = [rng.standard_normal((20, 5)) for _ in range(5)]
    low_rank = np.einsum("az,bz,cz,dz,ez->abcde", *factors, optimize=True)
    smooth = 1 / np.asarray(1 + sum(np.ix_(*[np.linspace(0, 1, 16)] * 6)))
    return {"low rank, 20^5": low_rank, "1/(1+sum x), 16^6": smooth}


def _ours(module: Any, x: np.ndarray, tol: float):
    del module
    array = jnp.asarray(x)

    def run() -> htt.HTTensor:
        return jax.block_until_ready(htt.HTTensor.from_dense(array, tol=tol))

    return run, lambda t: (t.num_params, np.asarray(t.to_dense()))


def _torchtt(torchtt: Any, x: np.ndarray, tol: float):
    torch = importlib.import_module("torch")
    array = torch.from_numpy(x)
    return (
        lambda: torchtt.TT(array, eps=tol),
        lambda t: (sum(core.numel() for core in t.cores), t.full().numpy()),
    )


def _tntorch(tntorch: Any, x: np.ndarray, tol: float):
    torch = importlib.import_module("torch")
    array = torch.from_numpy(x)

    def run() -> Any:
        t = tntorch.Tensor(array)
        t.round_tt(eps=tol)
        return t

    return run, lambda t: (sum(core.numel() for core in t.cores), t.numpy())


def _hiepy(hiepy: Any, x: np.ndarray, tol: float):
    torch = importlib.import_module("torch")
    array = torch.from_numpy(x)
    options = {"err_tol_rel": tol}

    def measured(t: Any) -> tuple[int, np.ndarray]:
        parts = [*_values(t.U), *_values(t.B)]
        return sum(part.numel() for part in parts), t.full().numpy()

    return lambda: hiepy.HTensor.truncate(array, options), measured


def _values(parts: Any) -> list[Any]:
    parts = parts.values() if isinstance(parts, dict) else parts
    return [part for part in parts if part is not None]


def _tensorly(tensorly: Any, x: np.ndarray, tol: float):
    """Takes ranks, not a tolerance: it is given those that the tolerance needs, for nothing."""
    decomposition = importlib.import_module("tensorly.decomposition")
    share, ranks = tol / np.sqrt(x.ndim), []
    for k, n in enumerate(x.shape):
        matrix = np.moveaxis(x, k, 0).reshape(n, -1)
        squares = np.maximum(np.linalg.eigvalsh(matrix @ matrix.T), 0.0)
        ranks.append(int(np.sum(np.cumsum(squares) > share**2 * squares.sum())))
    return (
        lambda: decomposition.tucker(x, rank=ranks, init="svd"),
        lambda t: (t[0].size + sum(f.size for f in t[1]), tensorly.tucker_to_tensor(t)),
    )


PEERS = (
    Peer("ht_jax", "ht_jax", _ours),
    Peer("torchTT", "torchtt", _torchtt),
    Peer("HiePy", "HiePy", _hiepy),
    Peer("tensorly, Tucker", "tensorly", _tensorly),
    Peer("tntorch", "tntorch", _tntorch),
)


def measure(tol: float, repeats: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Times all peers in turn, round after round; the names of those that are not installed."""
    missing, rows = [], []
    for name, x in tensors().items():
        systems = {}
        for peer in PEERS:
            try:
                module = importlib.import_module(peer.module)
                systems[peer.name] = peer.decompose(module, x, tol)
            except ImportError:
                missing.append(peer.name)
        rows += _measured(name, x, systems, repeats)
    return rows, sorted(set(missing))


def _measured(
    name: str, x: np.ndarray, systems: dict[str, Any], repeats: int
) -> list[dict[str, Any]]:
    results, failed = {}, {}
    for system, (run, show) in list(systems.items()):  # the first round compiles, and is checked
        try:
            results[system] = show(run())
        except Exception as error:  # a peer's failure is a result, not ours
            failed[system] = f"{type(error).__name__}: {error}"
    seconds = [{s: _time(systems[s][0]) for s in results} for _ in range(repeats)]
    first = next(iter(systems))
    rows: list[dict[str, Any]] = [
        {"tensor": name, "system": system, "failed": text} for system, text in failed.items()
    ]
    for system, (numbers, dense) in results.items():
        ratios = [round[system] / round[first] for round in seconds]
        rows.append(
            {
                "tensor": name,
                "system": system,
                "ms": float(np.median([round[system] for round in seconds])) * 1e3,
                "times_slower": float(np.median(ratios)),
                "times_slower_range": [min(ratios), max(ratios)],
                "numbers": numbers,
                "error": float(np.linalg.norm(dense - x) / np.linalg.norm(x)),
            }
        )
    return rows


def _time(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def decompose(
    tol: float = 1e-4,
    repeats: int = 5,
    json_file: Path | None = None,
    debug: bool = False,
) -> None:
    """Decomposes two tensors with every library that is installed.

    Args:
        tol: Relative Frobenius error to keep.
        repeats: Rounds in which every library runs once.
        json_file: Where to write the rows, with the command and the versions.
        debug: Show the traceback of an error.
    """
    del debug  # read before the command line is parsed
    jax.config.update("jax_enable_x64", True)
    rows, missing = measure(tol, repeats)
    show(rows, missing, tol)
    if json_file is not None:
        about = {"command": shlex.join(["python", *sys.argv]), "versions": versions()}
        settings = {"tol": tol, "repeats": repeats, "seed": 0, "not_installed": missing}
        write_json(json_file, {**about, **settings, "rows": rows})


def show(rows: Sequence[dict[str, Any]], missing: Sequence[str], tol: float) -> None:
    """Prints the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("tensor", "system", title=f"decomposition to a relative error of {tol:g}")
    for name in ("numbers", "error", "ms", "times slower", "from", "to"):
        table.add_column(name, justify="right")
    for row in rows:
        if "failed" in row:
            table.add_row(row["tensor"], row["system"], f"failed: {row['failed']}"[:60])
            continue
        low, high = row["times_slower_range"]
        numbers = (f"{row['numbers']:,}", f"{row['error']:.1e}", f"{row['ms']:.1f}")
        ratios = (f"{row['times_slower']:.1f}", f"{low:.1f}", f"{high:.1f}")
        table.add_row(row["tensor"], row["system"], *numbers, *ratios)
    console = Console()
    console.print(table)
    if missing:
        console.print("not installed, not measured: " + ", ".join(missing))


if __name__ == "__main__":
    args = sys.argv[1:]
    tyro = command.require_tyro()
    sys.exit(command.run(lambda: tyro.cli(decompose, args=args), debug="--debug" in args))
