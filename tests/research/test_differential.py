"""Random models of other libraries: what is drawn, compared and written down."""

import importlib
import importlib.util
import json

import numpy as np
import pytest


@pytest.fixture
def research():
    return lambda name: importlib.import_module(f"experiments.research.{name}")


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("seed", range(12))
def test_random_layers_of_torch_are_exact(research, seed):
    outcome = research("peers_torch").run_case(seed)
    assert outcome.kind == "exact", outcome.description
    assert outcome.difference < 1e-6


def test_the_difference_is_relative_to_the_scale_and_infinite_for_nan(research):
    pytest.importorskip("torch")
    difference = research("peers_torch")._difference
    assert difference(np.array([1e3, 1.0]), np.array([1e3, 2.0])) == 1e-3
    assert difference(np.array([np.nan]), np.array([0.0])) == np.inf


def test_outcomes_are_counted_and_wrong_ones_written_down(research, monkeypatch, tmp_path, capsys):
    program, Outcome = research("differential"), research("outcome").Outcome
    kinds = iter(["exact", "refused", "different", "exact"])

    def case(seed):
        kind = next(kinds, None)
        if kind is None:
            raise KeyError("no case")
        return Outcome(kind, {"exact": 1e-7, "different": float("inf")}.get(kind, 0.0), kind)

    monkeypatch.setattr(program, "_case_of", lambda peer: case)
    monkeypatch.setattr(program, "_versions", lambda peer: {peer: "1"})
    path = tmp_path / "result.json"
    assert program.main(["--peer", "theirs", "--cases", "5", "--output", str(path)]) == 2
    assert "different or failed" in capsys.readouterr().err
    found = json.loads(path.read_text())
    assert found["counts"] == {"exact": 2, "refused": 1, "different": 1, "failed": 1}
    assert found["largest_difference"] == 1e-7
    assert [p["case"] for p in found["problems"]] == ["different", "KeyError: 'no case'"]


def test_a_peer_that_is_not_there_is_named(research, capsys):
    assert research("differential").main(["--peer", "theano"]) == 2
    assert "no peer 'theano'" in capsys.readouterr().err
