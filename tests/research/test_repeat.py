"""Several seeds and folds: which runs, what mean, what is said of mistakes."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats as oracle

from ht_jax.train.report import Summary, write_summary


@pytest.fixture
def trained(monkeypatch):
    """Configurations in the order they are trained; the accuracy is a formula of seed and fold."""
    from experiments.research import runs

    done = []

    def train(config):
        done.append(config)
        fields = dict.fromkeys((field.name for field in dataclasses.fields(Summary)), 1)
        accuracy = 0.5 + 0.1 * config.seed + 0.01 * (config.data.fold or 0)
        summary = Summary(**{**fields, "test_accuracy": accuracy, "seed": config.seed})
        config.workdir.mkdir(parents=True)
        write_summary(config.workdir / "summary.json", summary)

    monkeypatch.setattr(runs, "train", train)
    return done


@pytest.fixture
def program(trained):
    from experiments.research import repeat

    return repeat


def test_all_pairs_of_seeds_and_folds_are_trained_once(program, trained, tmp_path, capsys):
    args = ["ucf11_tt_lstm", "--seeds", "2", "--folds", "3", "--workdir", str(tmp_path / "w")]
    for _ in range(2):
        assert program.main([*args, "--seed", "4", "--data-dir", "here"]) == 0
    found = [(config.seed, config.data.fold) for config in trained]
    assert found == [(seed, fold) for seed in (4, 5) for fold in (0, 1, 2)]
    assert len({config.workdir for config in trained}) == 6
    assert {str(config.data.data_dir) for config in trained} == {"here"}
    stored = json.loads((tmp_path / "w" / "repeat.json").read_text())
    assert len(stored["runs"]) == 6
    assert stored["mean"]["value"] == pytest.approx(0.96)
    assert stored["mean"]["count"] == 2
    assert "6 runs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "0"], "--seeds is 0: pass 1 or more"),
        (["--folds", "9"], "--folds is 9, but the protocol random_5fold has 5"),
    ],
)
def test_bad_numbers(program, tmp_path, capsys, options, message):
    assert program.main(["ucf11_tt_lstm", *options, "--workdir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


VALUES = [0.81, 0.84, 0.79, 0.9, 0.83], [0.8, 0.8, 0.75, 0.91, 0.8]


def test_interval_is_that_of_scipy():
    from experiments.research import stats

    found = stats.mean(VALUES[0])
    low, high = oracle.t.interval(0.95, 4, np.mean(VALUES[0]), oracle.sem(VALUES[0]))
    assert (found.value - found.half_width, found.value + found.half_width) == pytest.approx(
        (low, high)
    )


def test_pairs_are_compared_seed_by_seed():
    from experiments.research import stats

    found = stats.paired(*VALUES)
    expected = oracle.ttest_1samp(np.subtract(*VALUES), 0)
    assert found.p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert found.half_width == pytest.approx((interval.high - interval.low) / 2)
    assert stats.paired([0.5, 0.6], [0.5, 0.6]).p_value == 1
    with pytest.raises(ValueError, match="3 and 2 runs"):
        stats.paired([1, 2, 3], [1, 2])
