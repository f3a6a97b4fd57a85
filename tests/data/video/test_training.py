"""The presets of the papers, on tiny clips in the official layout: prepared, trained, reported."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from clips import write_set

from ht_jax.data import video
from ht_jax.data.video import cnn
from ht_jax.data.video.layouts import LAYOUTS

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
CLIPS = [
    f"{name}_{group:02d}/{name.split('/')[1]}_{group:02d}_01.mpg"
    for name in ("basketball/v_shooting", "walking/v_walk")
    for group in range(1, 13)
]
OPTIONS = ["--steps", "2", "--batch-size", "2", "--quiet"]


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import train

    yield train
    for name in [name for name, m in sys.modules.items() if str(EXPERIMENTS) in str(m)]:
        sys.modules.pop(name)


@pytest.fixture
def source(tmp_path):
    return write_set(tmp_path / "source", CLIPS)


def trained(program, folder, preset, *options):
    args = [preset, "--data-dir", str(folder), "--workdir", str(folder / "run"), *OPTIONS]
    assert program.main([*args, *options]) == 0
    return json.loads((folder / "run" / "summary.json").read_text())


@pytest.mark.slow
def test_preset_of_a_paper_trains_on_prepared_clips(program, source, tmp_path):
    video.prepare(LAYOUTS["ucf11"], source, tmp_path, on_bad_clip="skip")
    summary = trained(program, tmp_path, "ucf11_ht_lstm", "--data.protocol", "group_5fold")
    assert summary["matrix_params"] == 1245
    assert summary["config"]["data"]["protocol"] == "group_5fold"


@pytest.mark.slow
def test_preset_on_features_trains_on_stored_features(program, source, tmp_path, monkeypatch):
    def features(self, frames):
        rng = np.random.default_rng(int(frames.sum()))
        return rng.random((len(frames), 2048), np.float32)

    monkeypatch.setattr(cnn.FrozenCNN, "__call__", features)
    network = cnn.FrozenCNN("inception_v3", "none", 2048, None, None)
    size = video.Size(6, 9, 9)
    options = {"size": size, "cnn": network, "on_bad_clip": "skip"}
    video.prepare(LAYOUTS["ucf11"], source, tmp_path, **options)
    summary = trained(program, tmp_path, "ucf11_cnn_fdht_lstm")
    assert summary["matrix_params"] == 3132


@pytest.mark.slow
def test_small_network_trains_end_to_end_on_clips(program, source, tmp_path):
    video.prepare(LAYOUTS["ucf11"], source, tmp_path, on_bad_clip="skip")
    joint = "HT(in_modes=(12,16,16), out_modes=(4,8,8), leaf_rank=3, rank=3)"
    options = ["--model.features", "cnn", "--model.input", "None", "--model.joint", joint]
    summary = trained(program, tmp_path, "ucf11_ht_lstm", *options)
    assert summary["dense_matrix_params"] == (2560 + 256) * 4 * 256
