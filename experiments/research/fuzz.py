"""Fuzzes the public surface: `python -m experiments.research.fuzz --cases 21000`.

Runs tests/research/test_fuzz.py with many random cases a test and writes down how it ended.
"""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ht_jax.files import check_file, write_json
from ht_jax.train import UserError, command
from ht_jax.train.report import versions

ROOT = Path(__file__).parents[2]
FAST, SLOW = 7, 2  # tests of random cases; a slow one compiles in every case, and has fewer
SHARE = 20  # times fewer


@dataclasses.dataclass(frozen=True)
class Options:
    """How many cases, and where the result goes."""

    cases: int = 21_000
    """Cases over all tests."""
    output: Path = Path("experiments/results/fuzz.json")
    """The result."""
    debug: bool = False
    """Show the traceback of an error."""


def run(options: Options) -> None:
    """Runs the tests and writes the result.

    Raises:
        UserError: If a case failed; hypothesis has printed it.
    """
    command.at_least(1, cases=options.cases)
    check_file(options.output)
    each = -(-options.cases // FAST)
    tests = [sys.executable, "-m", "pytest", "tests/research/test_fuzz.py", "-q"]
    environment = {**os.environ, "HT_FUZZ_EXAMPLES": str(each), "PYTHONPATH": str(ROOT)}
    status = subprocess.run(tests, cwd=ROOT, env=environment, check=False).returncode
    found = {"cases": each * FAST + each // SHARE * SLOW, "failed": bool(status)}
    about = {"command": command.line(), "versions": versions()}
    write_json(options.output, {**about, **found})
    if status:
        raise UserError("a case failed: keep its seed as a test")


def main(args: Sequence[str]) -> int:
    """Fuzzes as the command line says; returns the exit status."""
    return command.run(
        lambda: run(command.require_tyro().cli(Options, args=args)), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
