"""The same calls of two checkouts in turn: `python -m experiments.research.before_after OTHER`.

A claim that nothing got slower needs both versions in one run. Each round starts a process for the
other checkout and one for this; each of these times the training steps of the suite `layer` and the
decompositions of the suite `decompose`. What is written down are the ratios of paired rounds.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from ht_jax.files import check_file, write_json
from ht_jax.train import UserError, command
from ht_jax.train.report import versions

ROOT = Path(__file__).parents[2]
LAYERS = ("dense, frames projected first", "HT-LSTM", "TT rank 4-LSTM", "KCP-LSTM", "FDHT-LSTM")
CALLS, SECONDS = 9, 0.6  # of one call in a round, at least


@dataclasses.dataclass(frozen=True)
class Options:
    """Where the other checkout is, and how often both are timed."""

    other: Path
    """Folder of the other checkout: the version before."""
    rounds: int = 5
    """Pairs of processes."""
    output: Path = Path("experiments/results/before_after.json")
    """The result."""
    debug: bool = False
    """Show the traceback of an error."""


def run(options: Options) -> None:
    """Times both and writes the ratios.

    Raises:
        UserError: If the folder is no checkout of ht_jax.
    """
    command.at_least(2, rounds=options.rounds)
    check_file(options.output)
    if not (options.other / "ht_jax").is_dir():
        raise UserError(f"{options.other} is no checkout of ht_jax: it has no folder ht_jax")
    pairs = []
    for n in range(options.rounds):
        pairs.append((_timed(options.other), _timed(ROOT)))
        print(f"round {n + 1} of {options.rounds}")
    rows = [_row(name, [(a[name], b[name]) for a, b in pairs]) for name in pairs[0][0]]
    about = {"command": command.line(), "versions": versions()}
    write_json(options.output, {**about, "rounds": options.rounds, "rows": rows})
    for row in rows:
        low, high = row["ratios"]
        print(f"{row['call']}: {row['ratio']:.3f} of before ({low:.3f} to {high:.3f})")


def _row(name: str, pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    ratios = sorted(after / before for before, after in pairs)
    before, after = (1e3 * min(times) for times in zip(*pairs))
    least = {"before_ms": before, "after_ms": after, "ratio_of_least": after / before}
    return {
        "call": name,
        **least,
        "ratio": statistics.median(ratios),
        "ratios": [ratios[0], ratios[-1]],
    }


def _timed(checkout: Path) -> dict[str, float]:
    folder = str(checkout.resolve())
    path = os.pathsep.join([folder, os.path.join(folder, "experiments")])
    environment = {**os.environ, "PYTHONPATH": path}
    call = [sys.executable, __file__, "--calls"]
    done = subprocess.run(call, env=environment, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{checkout}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _calls() -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is timed, of whichever checkout is on the path."""
    from suites import decompose, layer, tensor_peers  # pyright: ignore[reportMissingImports]

    for system in layer.systems(16):
        if system.name in LAYERS:
            yield system.name, system.make()
        if system.name == LAYERS[-1]:
            break
    import jax

    jax.config.update("jax_enable_x64", True)
    ours = tensor_peers.ht_jax()
    for task in decompose.tasks():
        call = task.make(ours)
        assert call is not None, task.name
        yield task.name, call


def _least(call: Callable[[], Any]) -> float:
    call()
    taken: list[float] = []
    while sum(taken) < SECONDS or len(taken) < CALLS:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main(args: Sequence[str]) -> int:
    """Compares as the command line says; returns the exit status."""
    if list(args) == ["--calls"]:
        print(json.dumps({name: _least(call) for name, call in _calls()}))
        return 0
    tyro = command.require_tyro()
    positional = Annotated[Options, tyro.conf.PositionalRequiredArgs]
    return command.run(
        lambda: run(tyro.cli(positional, args=args)),  # pyright: ignore[reportArgumentType]
        debug="--debug" in args,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
