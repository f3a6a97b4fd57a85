"""Stored features of frames. The real Keras runs in the slow test, with weights made here."""

import jax
import numpy as np
import pytest
from clips import write_set

from ht_jax.data import load, video
from ht_jax.data.video import cnn
from ht_jax.data.video.layouts import LAYOUTS

PATHS = ["0187_02_020_al_gore.avi", "0188_03_001_al_gore.avi", "1034_03_006_jet_li.avi"]
SIZE = video.Size(4, 32, 32)


def brightness(frames):
    return frames.mean((1, 2)).astype(np.float32)


def prepare(folder, network):
    source = write_set(folder / "source", PATHS)
    options = {"size": SIZE, "on_bad_clip": "skip", "cnn": network}
    return video.prepare(LAYOUTS["youtube_celebrities"], source, folder, **options)


@pytest.fixture
def network():
    return cnn.FrozenCNN("bright", "none", 3, None, None)


def test_features_stand_in_for_frames(tmp_path, network, monkeypatch):
    monkeypatch.setattr(cnn.FrozenCNN, "__call__", lambda self, frames: brightness(frames))
    report = prepare(tmp_path, network)
    assert (report.clips, report.folder.parent.name) == (3, "bright-4x32x32")
    data = load(
        "youtube_celebrities", tmp_path, num_frames=4, protocol="random_5fold", cnn="bright"
    )
    assert data.clip_shape == (4, 3)
    record = data.train[0]
    np.testing.assert_allclose(record["frames"][:, 0], [10, 40, 70, 100], atol=4)
    assert record["frames"].dtype == np.float32


def test_features_by_other_weights_are_not_taken(tmp_path, network, monkeypatch):
    monkeypatch.setattr(cnn.FrozenCNN, "__call__", lambda self, frames: brightness(frames))
    prepare(tmp_path, network)
    other = cnn.FrozenCNN("bright", "better.h5", 3, None, None)
    with pytest.raises(video.BadData, match=r"with the weights none, not better\.h5: remove it"):
        prepare(tmp_path, other)


def test_features_already_computed_are_kept(tmp_path, network, monkeypatch):
    calls = []

    def dying(self, frames):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return brightness(frames)

    monkeypatch.setattr(cnn.FrozenCNN, "__call__", dying)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, network)
    assert prepare(tmp_path, network).clips == 3
    assert len(calls) == 4  # one was kept


def test_features_of_another_network_are_not_taken(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--cnn inception_v3"):
        load("youtube_celebrities", tmp_path, cnn="inception_v3")


@pytest.fixture
def as_users_run_it():
    """Keras knows neither strict dtype promotion nor float64."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")  # Keras'
def test_weights_of_a_local_file(tmp_path):
    keras = cnn._keras()
    shape = {"input_shape": (32, 32, 3), "include_top": False, "pooling": "avg"}
    reference = keras.applications.VGG16(weights=None, **shape)
    reference.save_weights(tmp_path / "vgg16.weights.h5")
    network = video.frozen_cnn("vgg16", 32, 32, tmp_path / "vgg16.weights.h5")
    assert network.out_features == 512
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    floats = keras.applications.vgg16.preprocess_input(frames.astype(np.float32))
    expected = np.asarray(reference.predict_on_batch(floats))
    np.testing.assert_allclose(network(frames), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="do not fit vgg19"):
        video.frozen_cnn("vgg19", 32, 32, tmp_path / "vgg16.weights.h5")
    with pytest.raises(ValueError, match="unknown network 'alexnet': choose one of"):
        video.frozen_cnn("alexnet", 32, 32)
    with pytest.raises(FileNotFoundError, match="are no file"):
        video.frozen_cnn("vgg16", 32, 32, tmp_path / "none.h5")
