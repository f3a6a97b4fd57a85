"""A run that stops anywhere and starts again ends where an undisturbed one does, to the bit."""

import json
import shutil
import signal

import jax
import pytest

from ht_jax.train import OptimizerConfig, UserError, train
from ht_jax.train.check import check_same_run
from ht_jax.train.report import read_summary


class Stopped(Exception):
    pass


def stop():
    raise Stopped


def test_stopped_run_resumes_exactly(toy, undisturbed, assert_same_run, tmp_path):
    config = toy.make_config(tmp_path, quiet=True)
    with pytest.raises(Stopped):
        train(config, toy.make_task(config, dropout=0.2, die_at=13, how=stop))
    assert not (tmp_path / "summary.json").exists()
    train(config, toy.make_task(config, dropout=0.2))
    assert_same_run(undisturbed, tmp_path)


@pytest.fixture(scope="module")
def undisturbed_program(start_toy, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("program")
    _, errors = start_toy(workdir).communicate(timeout=120)
    assert (workdir / "summary.json").exists(), errors
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("step", [4, 6, 11, 20])  # 6 and 11: while a checkpoint is being written
def test_killed_run_resumes_exactly(
    start_toy, undisturbed_program, assert_same_run, tmp_path, step
):
    killed = start_toy(tmp_path, "--die-at", step)
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    resumed = start_toy(tmp_path)
    _, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    assert_same_run(undisturbed_program, tmp_path)


def test_finished_run_says_so_and_repeats_the_table(toy, undisturbed, capsys):
    config = toy.make_config(undisturbed)
    summary = train(config, toy.make_task(config, dropout=0.2))
    output = capsys.readouterr().out
    assert "finished after 20 steps" in output
    assert "compression ratio" in output
    assert summary.steps == 20


def test_run_without_summary_evaluates_but_trains_no_more(
    toy, undisturbed, assert_same_run, tmp_path
):
    moved = shutil.copytree(undisturbed, tmp_path / "moved")
    (moved / "summary.json").unlink()
    config = toy.make_config(moved, quiet=True)
    again = train(config, toy.make_task(config, dropout=0.2, die_at=21, how=stop))
    first = read_summary(undisturbed / "summary.json")
    assert (again.test_accuracy, again.seconds) == (first.test_accuracy, first.seconds)
    assert_same_run(undisturbed, moved)


def test_run_that_measured_no_test_split_can_do_so_later(toy, undisturbed, tmp_path, capsys):
    config = toy.make_config(tmp_path, quiet=True, test=False)
    first = train(config, toy.make_task(config, dropout=0.2))
    assert first.test_accuracy is None
    assert '"test"' not in (tmp_path / "metrics.jsonl").read_text()
    assert "not measured" in capsys.readouterr().out
    config = toy.make_config(tmp_path, quiet=True)
    later = train(config, toy.make_task(config, dropout=0.2, die_at=21, how=stop))
    assert later.test_accuracy == read_summary(undisturbed / "summary.json").test_accuracy


def test_configuration_from_before_a_field_is_taken_to_have_its_default(toy, tmp_path):
    config = toy.make_config(tmp_path, quiet=True)
    train(config, toy.make_task(config, dropout=0.2))
    stored = json.loads((tmp_path / "config.json").read_text())
    del stored["optimizer"]["classifier_l2"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    check_same_run(config)
    penalised = OptimizerConfig(learning_rate=3e-2, warmup_steps=4, classifier_l2=0.1)
    with pytest.raises(UserError, match=r"classifier_l2=0.0, not 0.1"):
        check_same_run(toy.make_config(tmp_path, optimizer=penalised))


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
