import gzip

import numpy as np
import pytest
import tensorflow_datasets as tfds

from ht_jax.data import Scene, describe, eval_batches, load, moving_images, train_batches

SMALL = Scene(30, 40, sizes=(14, 18), travels=(4.0, 10.0))
TRAIN, TEST = 200, 40


def write_idx(folder, prefix, count, seed):
    images = np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8)
    labels = np.arange(count, dtype=np.uint8) % 10
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(bytes(16) + images.tobytes())
    )
    (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(bytes(8) + labels.tobytes())
    )
    return images


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fashion")
    write_idx(folder, "train", TRAIN, 0)
    write_idx(folder, "t10k", TEST, 1)
    return folder


@pytest.fixture(scope="module")
def data(source, tmp_path_factory):
    return load("moving_fashion_mnist", tmp_path_factory.mktemp("data"), source=source, scene=SMALL)


def test_splits_are_the_official_ones_less_validation(data):
    assert (len(data.train), len(data.validation), len(data.test)) == (180, 20, TEST)
    ids = [{record["image_id"] for record in part} for part in (data.train, data.validation)]
    assert ids[0] | ids[1] == set(range(TRAIN))
    assert [int(r["item"]) for r in data.validation].count(3) == 2


def test_sprites_are_the_images_of_the_files(data, tmp_path):
    images = write_idx(tmp_path, "t10k", TEST, 1)
    for record in data.test:
        np.testing.assert_array_equal(record["sprite"], images[record["image_id"]])
        assert record["item"] == record["image_id"] % 10


def test_classes_are_items_and_directions(data):
    names, shape = describe("moving_fashion_mnist", num_frames=3)
    assert len(names) == len(set(names)) == 80
    assert names[8] == "trouser right"
    assert shape == (3, 120, 160, 3)
    assert data.class_names == names


def test_batches_are_rendered(data):
    batch = next(train_batches(data, batch_size=4, seed=0))
    assert batch["frames"].shape == (4, 6, 30, 40, 3)
    labels = np.concatenate([b["label"] for b in eval_batches(data, "test", batch_size=TEST)])
    assert sorted(set(labels // 8)) == list(range(10))


def test_default_items_have_room():
    assert moving_images.SCENE.sizes == (72, 96)


class Shapes(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    name = "shapes"
    code_path = None

    def _info(self):
        image = tfds.features.Tensor(shape=(6, 8, 3), dtype=np.uint8)
        label = tfds.features.ClassLabel(names=["low", "high"])
        features = tfds.features.FeaturesDict({"image": image, "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(20), "test": self._generate_examples(4)}

    def _generate_examples(self, count):
        for n in range(count):
            yield n, {"image": np.full((6, 8, 3), 100 + 100 * (n % 2), np.uint8), "label": n % 2}


def test_images_of_a_prepared_tfds_set_move(tmp_path):
    Shapes(data_dir=tmp_path).download_and_prepare(file_format="array_record")
    data = load("moving_shapes", tmp_path, scene=SMALL, label="item")
    assert data.class_names == ("low", "high")
    record = data.test[0]
    assert record["sprite"].shape == (8, 8)
    np.testing.assert_array_equal(record["sprite"][1:7], 100 + 100 * record["item"])
    assert not record["sprite"][[0, 7]].any()  # wide images stand between black bars


def test_missing_images_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(moving_images, "_DEBIAN", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion-mnist, or"):
        load("moving_fashion_mnist", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"images of 'kmnist', and .* holds no"):
        load("moving_kmnist", tmp_path)
    with pytest.raises(FileNotFoundError, match="pass its folder"):
        load("moving_fashion_mnist", tmp_path, source=tmp_path)
