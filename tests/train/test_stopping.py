"""A signal stops a run after its step, saved; a second one ends it at once, and loses no more."""

import functools
import signal

import numpy as np
import pytest

from ht_jax.train import Stopped, command, train
from ht_jax.train.metrics import read_metrics

HEARD = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(scope="module")
def stopped(toy, tmp_path_factory):
    """A run asked to stop in step 2 of 4: its checkpoints, and the handlers before and after."""
    before, workdir = [signal.getsignal(each) for each in HEARD], tmp_path_factory.mktemp("run")
    config, how = toy.make_config(workdir, quiet=True, steps=4), lambda: toy.send("SIGTERM")
    with pytest.raises(Stopped, match="stopped after step 2, saved: the same command resumes"):
        train(config, toy.make_task(config, die_at=2, how=how))
    names = [path.name for path in (workdir / "checkpoints").iterdir()]
    return names, before, [signal.getsignal(each) for each in HEARD]


def test_signal_stops_after_the_step_which_is_saved(stopped):
    assert stopped[0] == ["2"]


def test_handlers_are_given_back(stopped):
    _, before, after = stopped
    assert after == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signal_stops_after_the_step_and_the_run_resumes_exactly(
    toy, undisturbed, assert_same_run, tmp_path, name
):
    config, how = toy.make_config(tmp_path, quiet=True), functools.partial(toy.send, name)
    with pytest.raises(Stopped, match="stopped after step 13, saved: the same command resumes"):
        train(config, toy.make_task(config, dropout=0.2, die_at=13, how=how))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["10", "13"]
    train(config, toy.make_task(config, dropout=0.2))
    assert_same_run(undisturbed, tmp_path)


@pytest.mark.slow
def test_signal_in_the_last_step_lets_the_run_end(toy, tmp_path):
    config = toy.make_config(tmp_path, quiet=True, steps=2)
    how = functools.partial(toy.send, "SIGTERM")
    assert train(config, toy.make_task(config, die_at=2, how=how)).steps == 2


def test_stopped_program_leaves_with_status_75(capsys):
    def stop():
        raise Stopped("stopped after step 13")

    assert command.run(stop) == 75
    assert capsys.readouterr().err == "stopped after step 13\n"


@pytest.mark.slow
def test_second_signal_ends_the_process_at_once(start_toy, tmp_path):
    process = start_toy(tmp_path, "--die-at", 7, "--signals", "SIGTERM", "SIGTERM")
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGTERM
    assert [path.name for path in (tmp_path / "checkpoints").glob("[0-9]*")] == ["5"]


def losses(workdir):
    return [each["loss"] for each in read_metrics(workdir / "metrics.jsonl")]


@pytest.mark.slow
@pytest.mark.parametrize(("resumed_by", "devices"), [("jit", 4), ("pmap", 2)])
def test_one_of_two_processes_is_asked_and_both_stop_then_others_resume(
    start_toy, free_port, tmp_path, resumed_by, devices
):
    options = ["--dropout", 0, "--steps", 200]
    start_toy(tmp_path / "alone", *options).communicate(timeout=300)
    pair = [
        start_toy(tmp_path / "run", *options, "--port", free_port, "--process", n, *ask, devices=2)
        for n, ask in enumerate([[], ["--die-at", 7, "--signals", "SIGTERM"]])
    ]
    assert [(each.communicate(timeout=300), each.returncode)[1] for each in pair] == [75, 75]
    stopped = len(read_metrics(tmp_path / "run" / "metrics.jsonl"))
    resumed = start_toy(tmp_path / "run", *options, "--parallel", resumed_by, devices=devices)
    _, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    assert 7 <= stopped < len(losses(tmp_path / "run"))
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(tmp_path / "alone"), atol=1e-5)
