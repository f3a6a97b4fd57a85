"""The variants of HT: no test split, equal sizes, and changes that change what they say."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht
from ht_jax.formats.weight import squared_norm
from ht_jax.models import VideoClassifier
from ht_jax.train.report import Summary


@pytest.fixture
def program():
    from experiments.research import improve

    return improve


@pytest.fixture
def changes():
    from experiments.research import variants

    return variants


@pytest.fixture
def model(changes):
    cell = ht.nn.LSTMCell(57_600, 256, input=changes.HT, rngs=nnx.Rngs(0))
    return VideoClassifier(ht.nn.RNN(cell), 256, 8, rngs=nnx.Rngs(0))


def test_no_variant_reads_the_test_split_nor_shares_a_folder(program):
    runs = [run for v in program.VARIANTS for run in program.runs_of(program.Options(), v)]
    assert not any(run.config.test for run in runs)
    assert len({run.config.workdir for run in runs}) == len(runs)


def test_variants_of_ht_hold_no_more_than_the_published_numbers(program):
    found = [v.fmt for v in program.VARIANTS if isinstance(v.fmt, ht.HT)]
    sizes = {fmt.with_gates(4).num_params for fmt in found if fmt.in_features == 57_600}
    assert sizes == {1245, 1221}


def test_means_are_over_seeds_and_finished_runs_are_kept(program, monkeypatch, tmp_path):
    trained = []

    def train(config, task):
        trained.append(config.workdir.name)
        fields = dict.fromkeys((field.name for field in dataclasses.fields(Summary)), 2)
        summary = Summary(**{**fields, "validation_accuracy": 0.5 + 0.1 * config.seed})
        config.workdir.mkdir(parents=True)
        (config.workdir / "summary.json").write_text(json.dumps(dataclasses.asdict(summary)))

    monkeypatch.setattr(program, "train", train)
    monkeypatch.setattr(program, "build_task", lambda config: None)
    for _ in range(2):
        assert program.main(["--workdir", str(tmp_path), "--only", "papers"]) == 0
    (row,) = json.loads((tmp_path / "improve.json").read_text())["variants"]
    assert row["mean"]["value"] == pytest.approx(0.6)
    assert len(trained) == len(row["seeds"]) == 3


def test_unknown_variant(program, tmp_path, capsys):
    assert program.main(["--workdir", str(tmp_path), "--only", "magic"]) == 2
    assert "--only 'magic' is no variant: choose from papers, " in capsys.readouterr().err


def test_smooth_start_keeps_the_norm_and_changes_slowly(changes, model):
    layer = model.rnn.cell.input
    before, norm = layer.cores["leaf_1"][...], squared_norm(layer.weight)
    changes.smooth(2.0)(model, 0)
    after = layer.cores["leaf_1"][...]
    assert float(squared_norm(layer.weight)) == pytest.approx(float(norm), rel=1e-4)

    def roughness(core):
        return jnp.mean(jnp.square(jnp.diff(core, axis=0))) / jnp.mean(jnp.square(core))

    assert roughness(after) < 0.5 * roughness(before)


def test_interleaving_only_reorders_a_frame(changes, model):
    changes.interleaved(model, 0)
    frames = np.random.default_rng(0).integers(0, 256, (1, 1, 120, 160, 3), np.uint8)
    found = np.asarray(model.features(frames))
    assert found.shape == (1, 1, 57_600)
    np.testing.assert_array_equal(np.sort(found.ravel()), np.sort(frames.ravel()))
    # The slowest mode is a grid of 2 x 4 patches: its last value holds the lower right one.
    assert set(found[0, 0, -7200:]) == set(frames[0, 0, 60:, 120:].ravel())


def test_rates_of_the_cores_alone_are_scaled(changes):
    from ht_jax.train import OptimizerConfig

    params = {"input": {"cores": {"leaf_0": jnp.ones(3)}}, "classifier": {"kernel": jnp.ones(3)}}
    optimizer = changes.adam(None, OptimizerConfig(0.1, warmup_steps=0), 10, cores=3.0)
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = optimizer.update(params, optimizer.init(params), params)
    ratio = updates["input"]["cores"]["leaf_0"] / updates["classifier"]["kernel"]
    np.testing.assert_allclose(ratio, 3.0, rtol=1e-5)
