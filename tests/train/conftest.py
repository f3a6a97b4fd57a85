"""The toy task as a fixture, and processes that run it with a number of devices of their own.

The tests here run on whatever devices the session has; what needs a certain number of them, or is
killed, runs `toy.py` in a process of its own.
"""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from ht_jax.train import load_run, train
from ht_jax.train.step import split_model

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(autouse=True, scope="package")
def compiled_once(tmp_path_factory):
    """Equal programs are compiled once for all tests here: most train the same toy."""
    folder = str(tmp_path_factory.mktemp("compiled"))
    names = ("compilation_cache_dir", "persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, f"jax_{name}") for name in names}
    for name, value in zip(names, (folder, 0.0), strict=True):
        jax.config.update(f"jax_{name}", value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(f"jax_{name}", value)
    compilation_cache.reset_cache()


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


@pytest.fixture(scope="session")
def free_port():
    """A port of this machine that nobody listens to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="session")
def undisturbed(toy, tmp_path_factory):
    """The workdir of a run that nothing happened to."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    config = toy.make_config(workdir, quiet=True)
    train(config, toy.make_task(config, dropout=0.2))
    return workdir


@pytest.fixture(scope="session")
def assert_same_run(toy):
    """Asserts that two runs have equal parameters, to the bit, and equal metrics."""

    def final_params(workdir):
        config = toy.make_config(workdir)
        _, task = load_run(workdir, toy.make_task(config, dropout=0.2))
        return split_model(task.model)[1]

    def assert_same(one, other):
        jax.tree.map(np.testing.assert_array_equal, final_params(one), final_params(other))
        assert (one / "metrics.jsonl").read_text() == (other / "metrics.jsonl").read_text()

    return assert_same


@pytest.fixture
def experiments(monkeypatch):
    """The folder of the programs, importable as when one of them runs."""
    monkeypatch.syspath_prepend(ROOT / "experiments")
    yield ROOT / "experiments"
    for name in ("configs", "train", "evaluate", "compress", "artefacts"):
        sys.modules.pop(name, None)
