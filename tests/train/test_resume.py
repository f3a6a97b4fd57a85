"""A run that stops anywhere and starts again ends where an undisturbed one does, to the bit."""

import json
import shutil
import signal

import jax
import numpy as np
import pytest

from ht_jax.train import load_run, train
from ht_jax.train.loop import make_learner
from ht_jax.train.report import read_summary


class Stopped(Exception):
    pass


def stop():
    raise Stopped


def final_params(toy, workdir):
    config = toy.make_config(workdir)
    _, task = load_run(workdir, toy.make_task(config, dropout=0.2))
    return make_learner(config, task).state["params"]


def assert_same_run(toy, one, other):
    trees = [final_params(toy, workdir) for workdir in (one, other)]
    jax.tree.map(np.testing.assert_array_equal, *trees)
    assert (one / "metrics.jsonl").read_text() == (other / "metrics.jsonl").read_text()


@pytest.fixture(scope="module")
def undisturbed(toy, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    config = toy.make_config(workdir, quiet=True)
    train(config, toy.make_task(config, dropout=0.2))
    return workdir


def test_stopped_run_resumes_exactly(toy, undisturbed, tmp_path):
    config = toy.make_config(tmp_path, quiet=True)
    with pytest.raises(Stopped):
        train(config, toy.make_task(config, dropout=0.2, die_at=13, how=stop))
    assert not (tmp_path / "summary.json").exists()
    train(config, toy.make_task(config, dropout=0.2))
    assert_same_run(toy, undisturbed, tmp_path)


@pytest.fixture(scope="module")
def undisturbed_program(start_toy, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("program")
    _, errors = start_toy(workdir).communicate(timeout=120)
    assert (workdir / "summary.json").exists(), errors
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("step", [4, 6, 11, 20])  # 6 and 11: while a checkpoint is being written
def test_killed_run_resumes_exactly(toy, start_toy, undisturbed_program, tmp_path, step):
    killed = start_toy(tmp_path, "--die-at", step)
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    resumed = start_toy(tmp_path)
    _, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    assert_same_run(toy, undisturbed_program, tmp_path)


def test_finished_run_says_so_and_repeats_the_table(toy, undisturbed, capsys):
    config = toy.make_config(undisturbed)
    summary = train(config, toy.make_task(config, dropout=0.2))
    output = capsys.readouterr().out
    assert "finished after 20 steps" in output
    assert "compression ratio" in output
    assert summary.steps == 20


def test_run_without_summary_evaluates_but_trains_no_more(toy, undisturbed, tmp_path):
    moved = shutil.copytree(undisturbed, tmp_path / "moved")
    (moved / "summary.json").unlink()
    config = toy.make_config(moved, quiet=True)
    again = train(config, toy.make_task(config, dropout=0.2, die_at=21, how=stop))
    first = read_summary(undisturbed / "summary.json")
    assert (again.test_accuracy, again.seconds) == (first.test_accuracy, first.seconds)
    assert_same_run(toy, undisturbed, moved)


def test_workdir_holds_what_a_reader_needs(undisturbed):
    summary = json.loads((undisturbed / "summary.json").read_text())
    records = [json.loads(x) for x in (undisturbed / "metrics.jsonl").read_text().splitlines()]
    assert summary["compression_ratio"] == 24 * 32 / 132
    assert summary["versions"]["jax"] == jax.__version__
    assert [each["step"] for each in records if each["split"] == "train"] == list(range(1, 21))
    assert [each["step"] for each in records if each["split"] == "validation"] == [6, 12, 18, 20]
    assert [each["step"] for each in records if each["split"] == "test"] == [20]
    assert (undisturbed / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(x.name for x in (undisturbed / "checkpoints").iterdir()) == ["15", "20"]
