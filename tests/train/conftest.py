"""The toy task as a fixture, and processes that run it with a number of devices of their own.

The tests here run on whatever devices the session has; what needs a certain number of them, or is
killed, runs `toy.py` in a process of its own.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="session")
def toy():
    spec = importlib.util.spec_from_file_location("toy", HERE / "toy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def start_toy():
    """Starts `toy.py` with warnings as errors; returns the process."""

    def start(*args: object, devices: int = 1) -> subprocess.Popen:
        environment = {"PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": str(devices)}
        return subprocess.Popen(
            [sys.executable, "-W", "error", str(HERE / "toy.py"), *map(str, args)],
            env={**os.environ, **environment, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def experiments(monkeypatch):
    """The folder of the programs, importable as when one of them runs."""
    monkeypatch.syspath_prepend(ROOT / "experiments")
    yield ROOT / "experiments"
    for name in ("configs", "train", "evaluate"):
        sys.modules.pop(name, None)
