"""Item and direction of the study's classes, scored apart."""

import json

import numpy as np
import pytest

from ht_jax.train.evaluation import Evaluation

ITEMS, DIRECTIONS = 3, 8


@pytest.fixture
def program():
    from experiments.research import factors

    return factors


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    confusion = rng.integers(0, 9, (ITEMS * DIRECTIONS, ITEMS * DIRECTIONS))
    return Evaluation(0.0, confusion, ("",) * len(confusion))


def test_factors_are_counted_one_by_one(program, found):
    right = {"both": 0, "item": 0, "direction": 0}
    for true, guesses in enumerate(found.confusion):
        for guess, count in enumerate(guesses):
            item, direction = (a == b for a, b in zip(divmod(true, 8), divmod(guess, 8)))
            right["item"] += count * item
            right["direction"] += count * direction
            right["both"] += count * (item and direction)
    expected = {name: count / found.confusion.sum() for name, count in right.items()}
    assert program.apart(found) == pytest.approx(expected)


def test_finished_runs_are_scored_and_written(program, found, tmp_path, monkeypatch, capsys):
    metrics = {"step": 10, "split": "validation", "accuracy": 0.5}
    for seed in (0, 1, 2):
        folder = tmp_path / f"HT_seed{seed}"
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(json.dumps(metrics) + "\n")
        if seed < 2:  # the last one is not finished
            (folder / "summary.json").write_text("{}")
    monkeypatch.setattr(program, "evaluate_run", lambda workdir, splits: {"validation": found})
    target = tmp_path / "factors.json"
    assert program.main(["--workdir", str(tmp_path), "--json-file", str(target)]) == 0
    (row,) = json.loads(target.read_text())["systems"]
    assert (row["system"], row["both"]["count"], row["curve"]) == ("HT", 2, {"10": 0.5})
    assert "50.0 %" in capsys.readouterr().out


def test_folder_without_runs_is_named(program, tmp_path, capsys):
    assert program.main(["--workdir", str(tmp_path)]) == 2
    assert f"{tmp_path} holds no finished run of the study" in capsys.readouterr().err
