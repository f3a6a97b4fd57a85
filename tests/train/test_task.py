"""The task that a configuration describes: real cells on clips made up here."""

import dataclasses

import numpy as np
import pytest

from ht_jax.data import ClipData
from ht_jax.train import DataConfig, ModelConfig, UserError, train
from ht_jax.train.task import build_task

MODEL = ModelConfig(hidden=8, input="HT(in_modes=(4, 6), out_modes=(2, 4), rank=2)")


def example(record):
    frames = np.full((2, 4, 6, 1), 60 * record["label"], np.uint8)
    return {"frames": frames, "label": np.int32(record["label"])}


@pytest.fixture
def clips(monkeypatch):
    records = [{"label": n % 3} for n in range(10)]
    splits = {"train": records, "validation": records[:5], "test": records[:9]}
    data = ClipData(
        name="clips",
        class_names=("low", "middle", "high"),
        clip_shape=(2, 4, 6, 1),
        **splits,
        train_transform=lambda record, rng: example(record),
        eval_transform=example,
    )
    described = data.class_names, data.clip_shape
    monkeypatch.setattr("ht_jax.data.describe", lambda *args, **options: described)
    monkeypatch.setattr("ht_jax.data.load", lambda *args, **options: data)
    return data


@pytest.fixture
def config(toy, tmp_path, clips):
    return toy.make_config(tmp_path / "run", model=MODEL, steps=3, checkpoint_every=2, quiet=True)


@pytest.mark.parametrize(
    ("cell", "dense"), [("lstm", 24 * 32), ("gru", 24 * 24), ("simple", 24 * 8)]
)
def test_counts_are_of_the_compressed_matrix(config, cell, dense):
    model = dataclasses.replace(MODEL, cell=cell)
    counts = build_task(dataclasses.replace(config, model=model)).counts
    assert counts.dense_matrix_params == dense
    assert counts.matrix_params < counts.params
    assert counts.compression_ratio == dense / counts.matrix_params


def test_dense_counts(config):
    counts = build_task(dataclasses.replace(config, model=ModelConfig(hidden=8))).counts
    assert counts.matrix_params == counts.dense_matrix_params == (24 + 8) * 32
    assert counts.params == (24 + 8) * 32 + 32 + 8 * 3 + 3  # the biases, the classifier


def test_configured_task_trains(config):
    summary = train(dataclasses.replace(config, dtype="bfloat16"))
    assert summary.steps == 3
    assert 0 <= summary.test_accuracy <= 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ModelConfig(hidden=8, input="HT(in_modes=(4,"), "model.input"),
        (ModelConfig(hidden=8, input="XY(rank=2)"), "'XY'"),
        (ModelConfig(hidden=8, input="__import__('os')"), "not a format"),
        (ModelConfig(hidden=8, input="HT(in_modes=(3, 6), out_modes=(2, 4), rank=2)"), "18"),
        (ModelConfig(hidden=8, joint="HT(in_modes=(4, 8), out_modes=(2, 3), rank=2)"), "6"),
    ],
)
def test_format_that_cannot_be_used(config, model, message):
    with pytest.raises(UserError) as caught:
        train(dataclasses.replace(config, model=model))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not config.workdir.exists()


def test_unknown_data(toy, tmp_path):
    config = toy.make_config(tmp_path / "run", data=DataConfig(name="films"))
    with pytest.raises(UserError, match="unknown data set 'films': choose one of"):
        train(config)
    assert not config.workdir.exists()


def test_modes_that_do_not_fit_are_refused_before_any_data_is_prepared(config, monkeypatch):
    monkeypatch.setattr("ht_jax.data.load", lambda *args, **options: pytest.fail("prepared"))
    model = ModelConfig(hidden=8, input="HT(in_modes=(4, 5), out_modes=(2, 4), rank=2)")
    with pytest.raises(UserError, match=r"\(4, 5\) multiply to 20, which is below in_features 24"):
        train(dataclasses.replace(config, model=model))
    assert not config.workdir.exists()


@pytest.mark.slow
def test_convolutional_features_are_trained_too(config):
    model = ModelConfig(hidden=8, features="cnn", pixel_scale=1.0)
    counts = build_task(dataclasses.replace(config, model=model)).counts
    assert counts.dense_matrix_params == (32 + 8) * 32  # 1 x 1 places of 32 channels


@pytest.mark.slow
def test_lengths_of_clips_reach_the_model(config, clips, monkeypatch):
    """Frames past a clip's length change nothing."""

    def losses(tail):
        def cut(record):
            frames = example(record)["frames"].copy()
            frames[1:] = tail
            return {"frames": frames, "label": np.int32(record["label"]), "length": np.int32(1)}

        data = dataclasses.replace(
            clips, train_transform=lambda record, rng: cut(record), eval_transform=cut
        )
        monkeypatch.setattr("ht_jax.data.load", lambda *args, **options: data)
        workdir = config.workdir.with_name(f"run{tail}")
        summary = train(dataclasses.replace(config, workdir=workdir))
        return summary.test_loss

    assert losses(0) == losses(200)
