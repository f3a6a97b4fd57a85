"""Tuning: what was measured is remembered, on disk too, and nothing else is trusted."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ht_jax as ht
from ht_jax import schedule as schedules
from ht_jax.schedule import probe, store, tune

FMT = ht.HT((4, 5), (2, 3), rank=2)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HT_JAX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(tune, "_known", {})
    monkeypatch.setattr(tune, "ROUNDS", 1)
    monkeypatch.setattr(tune, "CANDIDATES", 2)


@pytest.fixture(autouse=True)
def _quick_probe(monkeypatch):
    monkeypatch.setattr(probe, "SIDE", 16)
    monkeypatch.setattr(probe, "LARGE", 2**14)


@pytest.fixture
def measured(monkeypatch):
    """Counts how many schedules are timed."""
    counted, call = [], tune.timed_call
    monkeypatch.setattr(tune, "timed_call", lambda *args: counted.append(args) or call(*args))
    return counted


def stored_file():
    """The schedule's file; the other one holds what the probe measured."""
    (path,) = (p for p in schedules.cache_folder().iterdir() if "network" in p.read_text())
    return path


def test_a_tuned_schedule_is_one_of_the_candidates(measured):
    steps = {s.steps for s in schedules.ranked(FMT.problem(6))}
    assert ht.plan(FMT, 6, tune=True).steps in steps
    assert measured


def test_apply_uses_what_was_tuned(key):
    slowest = schedules.ranked(FMT.problem(6))[-1]
    schedules.remember(slowest)
    assert FMT.plan(6).steps == slowest.steps
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 20)))
    weight = FMT.init(key, jnp.float64)
    np.testing.assert_allclose(ht.apply(weight, x), x @ weight.to_dense(), rtol=1e-12)


def test_without_tuning_the_disk_is_not_read():
    untuned = ht.plan(FMT, 6)
    ht.plan(FMT, 6, tune=True)
    tune._known.clear()
    assert ht.plan(FMT, 6) == untuned


def test_the_second_process_does_not_measure(measured):
    first = ht.plan(FMT, 6, tune=True)
    tune._known.clear()
    count = len(measured)
    assert ht.plan(FMT, 6, tune=True) == first
    assert len(measured) == count


def test_batches_of_a_bucket_share_a_measurement(measured):
    ht.plan(FMT, 6, tune=True)
    count = len(measured)
    assert ht.plan(FMT, 8, tune=True).batch == 8
    assert len(measured) == count
    ht.plan(FMT, 9, tune=True)
    assert len(measured) > count


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"jax": "', '"jax": "0.'),
        lambda text: text.replace('"i0"', '"i9"'),
    ],
    ids=["truncated", "empty", "other JSON", "of another jax", "of another network"],
)
def test_a_spoiled_file_is_measured_again_and_rewritten(spoil, measured):
    ht.plan(FMT, 6, tune=True)
    whole = stored_file().read_text()
    path = stored_file()
    path.write_text(spoil(whole))
    tune._known.clear()
    count = len(measured)
    ht.plan(FMT, 6, tune=True)
    assert len(measured) > count
    assert json.loads(path.read_text())["key"] == json.loads(whole)["key"]


def test_a_disk_that_refuses_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HT_JAX_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert ht.plan(FMT, 6, tune=True).batch == 6


def test_tuning_within_a_trace_is_refused():
    @jax.jit
    def step(x):
        ht.plan(FMT, 6, tune=True)
        return x

    with pytest.raises(RuntimeError, match="outside of jit"):
        step(jnp.ones(3))


def test_other_tiles_are_tried():
    schedule = dataclasses.replace(ht.plan(FMT, 64), tile=16, remat=True)
    tried = {(s.tile, s.remat) for s in tune._other_tiles(schedule)}
    assert tried == {(0, True), (8, True), (32, True), (16, False)}


def test_the_probe_is_kept_and_read_back():
    first = schedules.probed()
    assert first.flops != schedules.device("cpu").flops
    assert schedules.probed() == first


@pytest.mark.parametrize("value", [None, [], {"flops": 1.0}, {"flops": -1.0}, {"flops": "fast"}])
def test_a_spoiled_probe_is_measured_again(value):
    schedules.probed()
    key = {"probe": 1, **store.machine()}
    spoiled = {**store.read(key), **value} if value else value
    store.write(key, {"flops": 1.0} if value == {"flops": 1.0} else spoiled)
    assert schedules.probed().flops > 1e3
