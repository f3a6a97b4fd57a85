"""Timing in rounds: slow stretches are taken again, threads stay in their places."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture
def timing(experiments, monkeypatch):
    from suites import steady, timing

    monkeypatch.setattr(timing, "GAUGE", steady.Gauge())
    return timing


def _read(gauge, readings):
    readings = iter(readings)
    gauge.read = lambda: gauge.note(next(readings))


def test_slow_rounds_are_taken_again(timing, monkeypatch):
    _read(timing.GAUGE, [1.0, 1.0, 1.0, 1.7, 1.0, 1.1])  # two readings a round
    turns = iter([10.0, 20.0, 11.0])
    monkeypatch.setattr(timing, "_turn", lambda call, warm: next(turns))
    assert timing.rounds([lambda: None], 2).tolist() == [[10.0], [11.0]]


def test_what_came_before_full_speed_does_not_count(timing, monkeypatch):
    _read(timing.GAUGE, [1.7, 1.7, 1.7, 1.0, 1.0, 1.0, 1.0, 1.0])
    turns = iter([20.0, 15.0, 10.0, 11.0])
    monkeypatch.setattr(timing, "_turn", lambda call, warm: next(turns))
    assert timing.rounds([lambda: None], 2).tolist() == [[10.0], [11.0]]


def test_patience_ends(timing, monkeypatch):
    _read(timing.GAUGE, [1.0] + [2.0, 1.9] * timing.PATIENCE)
    monkeypatch.setattr(timing, "_turn", lambda call, warm: 10.0)
    assert timing.rounds([lambda: None], 1).tolist() == [[10.0]]


def test_gauge_is_a_speed_in_flops(timing):
    timing.GAUGE.note(10 * 2 * 64**3 / 100e9)
    assert timing.GAUGE.gflops == pytest.approx(100.0)
    assert timing.GAUGE.read() > 0


@pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="threads are listed by Linux alone"
)
def test_threads_of_the_pool_get_a_processor_each(experiments):
    from suites import steady

    jax.block_until_ready(jnp.ones((64, 64)) @ jnp.ones((64, 64)))
    pool = [t for t in steady.TASKS.glob("*") if (t / "comm").read_text().strip() == steady.POOL]
    before = {task: os.sched_getaffinity(int(task.name)) for task in pool}
    try:
        assert steady.pin_threads() == len(pool) > 0
        bound = [os.sched_getaffinity(int(task.name)) for task in pool]
        assert all(len(processors) == 1 for processors in bound)
        assert len(set.union(*bound)) == min(len(pool), len(os.sched_getaffinity(0)))
    finally:
        for task, processors in before.items():
            os.sched_setaffinity(int(task.name), processors)


def test_medians_and_ratios_are_of_the_kept_rounds(timing, monkeypatch):
    taken = np.array([[4.0, 2.0], [6.0, 2.0], [5.0, 5.0]])
    monkeypatch.setattr(timing, "rounds", lambda calls, repeats, warm: taken)
    systems = [timing.System(name, 1, lambda: lambda: None) for name in ("first", "second")]
    _, second = timing.compare(systems, 3)
    assert (second["ms"], second["times_faster"]) == (2e3, 2.0)
    assert second["times_faster_range"] == [1.0, 3.0]
