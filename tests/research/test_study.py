"""The study: equal budgets, equal tuning, seeds in pairs, resumed where it was stopped."""

import dataclasses
import json

import pytest

from ht_jax.train.report import Summary, write_summary


@pytest.fixture
def systems():
    from experiments.research.study_systems import systems

    return systems()


def test_budgets_are_kept(systems):
    for system in systems:
        if system.budget is not None:
            assert 0.85 * system.budget < system.matrix_params <= system.budget, system.name


def test_published_sizes(systems):
    sizes = {system.name: system.matrix_params for system in systems if system.budget is None}
    expected = {"HT": 1245, "FDHT": 1309, "TT": 3360, "TR": 1725, "BT": 3392, "KCP": 212}
    assert sizes == {**expected, "LSTM": 58_982_400, "GRU": 44_236_800}


def test_families_that_cannot_go_low_say_so():
    from experiments.research.study_systems import cannot

    assert [text.split()[0] for text in cannot()] == ["FDHT", "TT", "BT"]


def test_every_family_tries_the_same_rates(program, tmp_path):
    options = program.Options(workdir=tmp_path)
    for system in program.systems():
        runs = program.tuning(options, system)
        assert [run.config.optimizer.learning_rate for run in runs] == [3e-3, 1e-2, 3e-2]
        assert not any(run.config.test for run in runs)


@pytest.fixture
def program(monkeypatch):
    from experiments.research import runs, study

    def train(config):
        """Every run is better with a higher rate and seed; HT is better than TT."""
        study.trained.append(config.workdir.name)
        good = 0.1 if config.model.input and config.model.input.startswith("HT") else 0.0
        accuracy = 0.5 + good + config.optimizer.learning_rate + 0.01 * config.seed
        fields = dict.fromkeys((field.name for field in dataclasses.fields(Summary)), 2)
        measured = {"test_accuracy": accuracy, "validation_accuracy": accuracy}
        summary = Summary(**{**fields, **measured})
        config.workdir.mkdir(parents=True, exist_ok=True)
        write_summary(config.workdir / "summary.json", summary)
        return summary

    study.trained = []
    monkeypatch.setattr(runs, "train", train)
    monkeypatch.setattr(study, "train", train)
    return study


def test_study_tunes_then_trains_and_compares_by_seed(program, tmp_path, capsys):
    args = ["--workdir", str(tmp_path), "--seeds", "2", "--steps", "8", "--only", "HT", "TT"]
    assert program.main(args) == 0
    result = json.loads((tmp_path / "study.json").read_text())
    assert {row["learning_rate"] for row in result["systems"]} == {0.03}
    assert [len(row["test_accuracies"]) for row in result["systems"]] == [2] * 7
    found = {(row["first"], row["second"]): row for row in result["comparisons"]}
    assert found["HT", "TT"]["difference"] == pytest.approx(0.1)
    assert found["HT", "TT"]["p_holm"] <= 1
    assert "7 systems, 20 runs of 8 steps" in capsys.readouterr().out


def test_improved_systems_run_with_seeds_of_their_own(program, tmp_path):
    args = ["--workdir", str(tmp_path), "--seeds", "2", "--first-seed", "5", "--improved"]
    options = program.Options(tmp_path, seeds=2, first_seed=5, improved=True)
    runs = program.measured(options, program.systems()[0], 0.01)
    assert [(run.config.seed, run.config.model.layer_norm) for run in runs] == [
        (5, True),
        (6, True),
    ]
    assert program.main([*args, "--steps", "8", "--only", "KCP"]) == 0
    assert json.loads((tmp_path / "study.json").read_text())["seeds"] == [5, 6]


def test_study_carries_on(program, tmp_path):
    args = ["--workdir", str(tmp_path), "--seeds", "1", "--steps", "8", "--only", "KCP"]
    assert program.main(args) == 0
    first = list(program.trained)
    assert len(first) == len(set(first)) == 1 + 3 + 4
    assert program.main([*args[:3], "2", *args[4:]]) == 0
    assert len(program.trained) == len(first) + 4  # the second seed alone


def test_plan_trains_nothing_but_the_timed_steps(program, tmp_path, capsys):
    assert program.main(["--workdir", str(tmp_path), "--plan", "--only", "LSTM"]) == 0
    assert program.trained == ["LSTM"]
    assert "1 systems, 8 runs of 1000 steps" in capsys.readouterr().out


def test_published_sizes_alone(program, tmp_path, capsys):
    args = ["--workdir", str(tmp_path), "--plan", "--published", "--only", "HT", "TT"]
    assert program.main(args) == 0
    assert "2 systems, 16 runs of 1000 steps" in capsys.readouterr().out


def test_vowels_have_systems_and_comparisons_of_their_own(program, tmp_path):
    args = ["--workdir", str(tmp_path), "--data", "japanese_vowels", "--seeds", "2", "--steps", "8"]
    assert program.main(args) == 0
    result = json.loads((tmp_path / "study.json").read_text())
    sizes = {row["system"]: row["matrix_params"] for row in result["systems"]}
    formats = {"FDHT": 1476, "TT": 1448, "TR": 1400, "BT": 1440, "KCP": 1368}
    assert sizes == {**formats, "LSTM": 4 * 128 * 140, "GRU": 3 * 128 * 140}
    assert {row["first"] for row in result["comparisons"]} == {"FDHT"}
    assert len(result["comparisons"]) == 6


def test_corrected_p_values_ascend(program):
    rows = [{"p_value": p} for p in (0.01, 0.04, 0.03, 0.005)]
    corrected = [row["p_holm"] for row in program._holm(rows, planned=10)]
    assert corrected == pytest.approx([0.09, 0.28, 0.24, 0.05])  # of 10 planned comparisons


def test_result_is_written_after_every_system(program, tmp_path, monkeypatch):
    sizes, target = [], tmp_path / "result.json"

    def written(path, found):
        if path == target:
            sizes.append(len(found["systems"]))

    monkeypatch.setattr(program, "write_json", written)
    args = ["--workdir", str(tmp_path), "--only", "KCP", "--seeds", "2"]
    assert program.main([*args, "--json-file", str(target)]) == 0
    assert sizes == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--only", "XX"], "--only XX names no family: choose from HT, FDHT, TT, TR, BT, KCP"),
        (["--seeds", "0"], "--seeds is 0: pass 1 or more"),
    ],
)
def test_bad_options(program, tmp_path, capsys, args, message):
    assert program.main(["--workdir", str(tmp_path), *args]) == 2
    assert message in capsys.readouterr().err
