"""A run's schedules: measured once where that is wanted, and those of the run when it resumes."""

import json

import pytest

import ht_jax as ht
from ht_jax import schedule as schedules
from ht_jax.schedule import probe, tune
from ht_jax.train import UserError, train
from ht_jax.train.schedules import problems, settle


@pytest.fixture(autouse=True)
def _quick_measurements(tmp_path, monkeypatch):
    monkeypatch.setenv("HT_JAX_CACHE_DIR", str(tmp_path / "cache"))
    for module, name, value in (
        (tune, "_known", {}),
        (tune, "ROUNDS", 1),
        (tune, "CANDIDATES", 1),
        (tune, "_other_tiles", lambda schedule: []),
        (probe, "SIDE", 16),
        (probe, "LARGE", 2**14),
    ):
        monkeypatch.setattr(module, name, value)


def test_the_problems_are_those_of_the_model(toy):
    config = toy.make_config()
    asked = problems(config, toy.make_task(config))
    sizes = {(p.network.in_size, p.batch, p.arithmetic) for p in asked}
    frames = config.batch_size * toy.CLIP[0]
    assert (16, frames, "float") in sizes
    assert any(kind is None and batch == config.batch_size for _, batch, kind in sizes)


def test_a_tuned_run_keeps_its_schedules_and_resumes_with_them(toy, tmp_path):
    config = toy.make_config(tmp_path, tune=True, steps=2, quiet=True)
    train(config, toy.make_task(config))
    kept = json.loads((tmp_path / "schedules.json").read_text())
    steps = [ht.Schedule.from_json(json.dumps(item)).steps for item in kept]
    assert steps == [schedule.steps for schedule in tune._known.values()]
    tune._known.clear()
    settle(config, toy.make_task(config), print)
    assert len(tune._known) == len(kept)


def test_an_untuned_run_measures_nothing(toy, tmp_path):
    config = toy.make_config(tmp_path, steps=2, quiet=True)
    train(config, toy.make_task(config))
    assert not (tmp_path / "schedules.json").exists()
    assert not schedules.cache_folder().exists()


def test_spoiled_schedules_are_named(toy, tmp_path):
    (tmp_path / "schedules.json").write_text("[{}]")
    config = toy.make_config(tmp_path)
    with pytest.raises(UserError, match=r"schedules\.json cannot be read"):
        settle(config, toy.make_task(config), print)
