"""Checkpoints of the wheel: small, described, good, and alike in every runtime."""

import jax
import numpy as np
import pytest

import ht_jax as ht
from ht_jax import data
from ht_jax.export import load_stablehlo, onnx, runtime, stablehlo
from ht_jax.pretrained import card, path_of, pretrained

NAMES = pretrained()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_small_and_its_card_complete(name):
    assert path_of(name).stat().st_size < 16 * 1024
    about = card(name)
    assert about["command"].startswith("python experiments/train.py ")
    assert about["test_accuracy"] > 0.95
    assert len(about["class_names"]) == 8
    assert about["license"] == "Apache-2.0"


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(ValueError, match=r"'fdht'.*fdht_moving_digits"):
        ht.load_pretrained("fdht")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    batches = data.eval_batches(
        data.load("moving_digits", tmp_path_factory.mktemp("data")), "test", batch_size=100
    )
    return next(iter(batches))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_runtime_gives_the_same_logits_on_100_clips(name, clips, tmp_path):
    frames, model = clips["frames"], ht.load_pretrained(name)
    expected = np.asarray(jax.jit(model)(frames))
    assert (expected.argmax(1) == clips["label"]).mean() > 0.9
    loaded = runtime.Classifier(path_of(name))
    actual = np.stack([loaded(clip) for clip in frames])
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)
    stablehlo(model, ("b", "t", 120, 160, 3), dtype="uint8", path=tmp_path / "model.hlo")
    actual = load_stablehlo(tmp_path / "model.hlo").call(frames)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # jax2onnx and what it imports
def test_onnx_gives_the_same_logits_on_100_clips(clips):
    pytest.importorskip("jax2onnx", reason="pip install 'ht_jax[onnx]'")
    import onnxruntime

    frames, model = clips["frames"], ht.load_pretrained("fdht_moving_digits")
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        proto = onnx(model, (100, 6, 120, 160, 3), dtype="uint8")
        expected = np.asarray(jax.jit(model)(frames))
    (actual,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(
        None, {"inputs": frames}
    )
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)
