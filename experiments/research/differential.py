"""Random models of another library against what ht_jax makes of them.

`python -m experiments.research.differential --peer torch --cases 2000` draws the cases of
`peers_torch.py` beside this file, and writes down how many agree and by how much they differ.
"""

from __future__ import annotations

import collections
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.research.outcome import Outcome
from ht_jax.files import check_file, write_json
from ht_jax.train import UserError, command
from ht_jax.train.report import versions

LINES = 20  # of progress
KEPT = 20  # cases that are written down, of those that are neither exact nor refused
KINDS = ("exact", "refused", "different", "failed")


@dataclasses.dataclass(frozen=True)
class Options:
    """Which library, how many cases, and where the result goes."""

    peer: str
    """The library: there is a peers_<peer>.py beside this program."""
    cases: int = 2000
    """Cases to draw."""
    seed: int = 0
    """Of the draw."""
    output: Path | None = None
    """The result; by default experiments/results/differential_<peer>.json."""
    debug: bool = False
    """Show the traceback of an error."""


def run(options: Options) -> None:
    """Draws the cases and writes the result, anew after every line of progress.

    Raises:
        UserError: If there is no such peer, or a case is different or failed.
    """
    command.at_least(1, cases=options.cases)
    output = options.output or Path(f"experiments/results/differential_{options.peer}.json")
    check_file(output)
    run_case = _case_of(options.peer)
    seeds = np.random.SeedSequence(options.seed).generate_state(options.cases).tolist()
    about = {"command": command.line(), "versions": _versions(options.peer)}
    outcomes, result = {}, {}
    for n, seed in enumerate(seeds, start=1):
        outcomes[seed] = _outcome(run_case, seed)
        if n % max(options.cases // LINES, 1) == 0 or n == options.cases:
            result = summary(outcomes)
            write_json(output, {**about, "seed": options.seed, "cases": n, **result})
            print(f"{n} of {options.cases}: {result['counts']}", flush=True)
    if result["problems"]:
        raise UserError(f"{output}: cases are different or failed: {result['problems'][0]}")


def summary(outcomes: dict[int, Outcome]) -> dict[str, Any]:
    """Counts, the largest difference of exact cases, and the first cases that are wrong."""
    exact = [o.difference for o in outcomes.values() if o.kind == "exact"]
    wrong = {seed: o for seed, o in outcomes.items() if o.kind in ("different", "failed")}
    return {
        "counts": _counts(outcomes.values()),
        "largest_difference": max(exact, default=0.0),
        "problems": [
            {"seed": seed, "kind": o.kind, "difference": str(o.difference), "case": o.description}
            for seed, o in [*wrong.items()][:KEPT]
        ],
    }


def _case_of(peer: str) -> Callable[[int], Outcome]:
    module = f"experiments.research.peers_{peer}"
    if importlib.util.find_spec(module) is None:
        there = sorted(p.stem.removeprefix("peers_") for p in Path(__file__).parent.glob("peers_*"))
        raise UserError(f"no peer {peer!r}: there are {', '.join(there)}")
    jax.config.update("jax_disable_most_optimizations", True)  # programs run briefly: compile fast
    try:
        return importlib.import_module(module).run_case
    except ModuleNotFoundError as error:
        raise UserError(f"{error}: install the library to compare with it") from error


def _outcome(run_case: Callable[[int], Outcome], seed: int) -> Outcome:
    try:
        return run_case(seed)
    except Exception as error:
        return Outcome("failed", 0.0, f"{type(error).__name__}: {error}")


def _counts(outcomes: Any) -> dict[str, int]:
    counts = collections.Counter(outcome.kind for outcome in outcomes)
    return {kind: counts[kind] for kind in KINDS}


def _versions(peer: str) -> dict[str, str]:
    return {**versions(), peer: importlib.metadata.version(peer)}


def main(args: Sequence[str]) -> int:
    """Compares as the command line says; returns the exit status."""
    return command.run(
        lambda: run(command.require_tyro().cli(Options, args=args)), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
