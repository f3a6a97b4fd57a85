"""The command lines of the experiments: what they accept, and how they refuse."""

import json
import re

import pytest

from ht_jax.train import train


@pytest.fixture
def program(experiments):
    import train as program

    return program


def test_no_argument_is_the_default_preset(program):
    config = program.parse([])
    assert config.model.joint.startswith("HT(in_modes=(9, 10, 10, 9, 8)")
    assert str(config.workdir) == "runs/fdht_lstm"


def test_options_change_a_preset(program):
    options = ["--workdir", "here", "--steps", "7", "--seed", "3"]
    options += ["--parallel", "jit", "--batch-size", "16"]
    config = program.parse(["ht_lstm", *options])
    found = (str(config.workdir), config.steps, config.seed, config.parallel, config.batch_size)
    assert found == ("here", 7, 3, "jit", 16)
    assert config.model.input is not None
    assert program.parse(options).model.joint is not None


def test_unknown_preset(program, capsys):
    assert program.main(["gpt"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: unknown preset 'gpt': choose one of fdht_lstm, ht_lstm, lstm, ")


def test_error_is_one_line_unless_debugging(program, capsys):
    assert program.main(["--steps", "-1"]) == 2
    assert capsys.readouterr().err == "error: steps is -1: pass --steps 1 or more\n"
    with pytest.raises(ValueError, match="steps is -1"):
        program.main(["--steps", "-1", "--debug"])


SPLITS = re.compile(r"(validation|test) split: accuracy ([0-9.]+)% of (?:21|19)")


def test_evaluate_reports_every_split(experiments, toy, tmp_path, monkeypatch, capsys):
    import evaluate

    config = toy.make_config(tmp_path, quiet=True, steps=2)
    train(config, toy.make_task(config))
    task = toy.make_task(config)
    monkeypatch.setattr("ht_jax.train.restore.build_task", lambda _: task)
    assert evaluate.main([str(tmp_path)]) == 0
    output = " ".join(capsys.readouterr().out.split())
    found = {name: float(share) for name, share in SPLITS.findall(output)}
    reported = json.loads((tmp_path / "summary.json").read_text())
    for split in ("validation", "test"):
        assert found[split] == pytest.approx(100 * reported[f"{split}_accuracy"], abs=0.006)
    assert (tmp_path / "confusion_test.png").exists()


def test_evaluate_without_a_run(experiments, tmp_path, capsys):
    import evaluate

    assert evaluate.main([str(tmp_path)]) == 2
    assert "holds no run: config.json is missing" in capsys.readouterr().err
