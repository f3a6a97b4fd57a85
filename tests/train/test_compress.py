"""The compression program: budgets, fine-tuning, files that are read back, times, the picture."""

import dataclasses
import json

import numpy as np
import pytest
from flax import nnx

import ht_jax as ht
from ht_jax.models import VideoClassifier


@pytest.fixture
def program(experiments, toy, tmp_path, monkeypatch):
    import compress

    config = toy.make_config(tmp_path, quiet=True, steps=5)
    rngs = nnx.Rngs(0)
    rnn = ht.nn.RNN(ht.nn.LSTMCell(16, 8, rngs=rngs), scale=1 / 128)
    task = dataclasses.replace(toy.make_task(config), model=VideoClassifier(rnn, 8, 3, rngs=rngs))
    monkeypatch.setattr(compress, "load_run", lambda _: (config, task))
    (tmp_path / "run" / "checkpoints" / "5").mkdir(parents=True)
    return compress


def _run(program, folder, *options):
    named = {"run": folder / "run", "workdir": folder / "small", "output": folder / "out.json"}
    args = [text for name, value in named.items() for text in (f"--{name}", str(value))]
    return program.main([*args, "--budgets", "500", "--calibration", "2", *options])


@pytest.mark.slow
def test_a_run_is_compressed_tuned_written_and_timed(program, tmp_path):
    assert _run(program, tmp_path, "--finetune", "4", "--stretches", "2", "--verify", "9") == 0
    found = json.loads((tmp_path / "out.json").read_text())
    (row,) = found["rows"]
    assert row["params"] <= 500
    assert row["finetuned_params"] <= row["params"]
    assert row["input_to_hidden"] <= row["input_to_hidden_dense"] == 16 * 32
    files = row["files"]
    for form in ("safetensors", "stablehlo"):
        assert files[form]["largest_difference"] <= 1e-4
        assert files[form]["bytes"] == (tmp_path / "small" / f"aware_500.{form}").stat().st_size
    assert files["safetensors"]["numpy_difference"] <= 1e-4
    assert _run(program, tmp_path, "--latency") == 0
    timed = json.loads((tmp_path / "out.json").read_text())
    assert timed["rows"][0]["ms_a_frame"] > 0
    assert timed["rows"][0]["numpy_ms_a_frame"] > 0
    assert timed["dense"]["ms_a_frame"] > 0


def test_latency_before_compression(program, tmp_path, capsys):
    assert _run(program, tmp_path, "--latency") == 2
    assert "out.json is missing: run the command without --latency" in capsys.readouterr().err


def test_a_form_that_differs_is_refused(program, tmp_path, monkeypatch):
    import artefacts

    _, task = program.load_run(None)
    frames = np.zeros((3, 2, 4, 4, 1), np.uint8)
    forms = {"safetensors": lambda model, shape, path: lambda x: np.ones((len(x), 3))}
    monkeypatch.setattr(artefacts, "FORMS", forms)
    with pytest.raises(ValueError, match=r"small\.safetensors: its logits differ by"):
        artefacts.verified(task.model, frames, tmp_path / "small")
