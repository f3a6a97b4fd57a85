import itertools
import shutil
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ht_jax.data import DIRECTIONS, Scene, eval_batches, load, moving, prepare, train_batches

SMALL = Scene(30, 40, sizes=(14, 18), travels=(4.0, 10.0))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    load("moving_digits", folder)
    return folder


@pytest.fixture(scope="session")
def data(data_dir):
    return load("moving_digits", data_dir)


def column(source, name):
    return [record[name] for record in source]


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*.array_record*")}


def test_splits_have_the_documented_sizes(data):
    assert (len(data.train), len(data.validation), len(data.test)) == (1197, 400, 800)


def test_splits_share_no_image(data):
    train, validation, test = (
        set(column(source, "image_id")) for source in (data.train, data.validation, data.test)
    )
    assert len(train) == len(data.train)
    assert train | validation | test == set(range(1797))
    assert len(train) + len(validation) + len(test) == 1797


@pytest.mark.parametrize("split", ["validation", "test"])
def test_held_out_digits_and_directions_are_balanced(data, split):
    source = getattr(data, split)
    pairs = list(zip(column(source, "item"), column(source, "direction")))
    counts = {pair: pairs.count(pair) for pair in itertools.product(range(10), range(8))}
    assert set(counts.values()) == {len(source) // 80}


def test_records_are_the_images_of_scikit_learn(data):
    digits = load_digits()
    for record in (*data.train[:20], *data.test[:20]):
        expected = np.minimum(digits.images[record["image_id"]] * 16, 255)
        np.testing.assert_array_equal(record["sprite"], expected)
        assert record["item"] == digits.target[record["image_id"]]


def test_preparing_again_is_silent_and_gives_the_same_bytes(data_dir, tmp_path, capfd):
    load("moving_digits", tmp_path)
    assert files(tmp_path) == files(data_dir)
    assert len(files(tmp_path)) == 3
    assert capfd.readouterr() == ("", "")


def test_prepared_data_are_not_prepared_again(data_dir, monkeypatch):
    monkeypatch.setattr(prepare, "_prepare", pytest.fail)
    load("moving_digits", data_dir)


def test_losing_a_race_to_prepare_is_no_error(tmp_path, monkeypatch):
    won = prepare._prepare

    def lose(*args):
        won(*args)
        raise OSError("directory not empty")

    monkeypatch.setattr(prepare, "_prepare", lose)
    assert len(load("moving_digits", tmp_path).test) == 800


def test_interrupted_preparation_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        yield from itertools.islice(whole(*args, **kwargs), 5)
        raise KeyboardInterrupt

    whole = moving.records
    monkeypatch.setattr(moving, "records", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load("moving_digits", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    monkeypatch.undo()
    assert len(load("moving_digits", tmp_path).test) == 800


def test_folder_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(OSError, match=r"moving_digits.*file.*TFDS_DATA_DIR"):
        load("moving_digits", blocked)


def test_default_clip_has_the_frame_of_the_papers(data):
    assert data.clip_shape == (6, 120, 160, 3)
    batch = next(train_batches(data, batch_size=2, seed=0))
    assert batch["frames"].shape == (2, *data.clip_shape)
    assert batch["label"].dtype == np.int32


@pytest.mark.parametrize(
    ("label", "expected", "last"),
    [
        ("direction", lambda item, direction: direction, "down-right"),
        ("digit", lambda item, direction: item, "9"),
        ("both", lambda item, direction: item * 8 + direction, "9 down-right"),
    ],
)
def test_labels_are_those_of_the_records(data_dir, label, expected, last):
    data = load("moving_digits", data_dir, label=label, num_frames=2, scene=SMALL)
    labels = np.concatenate([batch["label"] for batch in eval_batches(data, batch_size=100)])
    pairs = zip(column(data.validation, "item"), column(data.validation, "direction"))
    assert labels.tolist() == [expected(*pair) for pair in pairs]
    assert data.class_names[-1] == last
    assert len(set(data.class_names)) == max(labels) + 1


def test_drawn_label_is_the_motion_that_is_seen(data_dir):
    scene = Scene(30, 40, sizes=(14, 18), travels=(4.0, 10.0), noise=0)
    data = load("moving_digits", data_dir, scene=scene)
    batch = next(train_batches(data, batch_size=64, seed=0))
    ink = batch["frames"].max(-1).astype(float) * (batch["frames"].max(-1) > 60)
    rows, columns = np.indices(ink.shape[2:])
    middle = np.stack([(ink * rows).sum((2, 3)), (ink * columns).sum((2, 3))]) / ink.sum((2, 3))
    down, right = middle[:, :, -1] - middle[:, :, 0]
    seen = np.rint(np.arctan2(-down, right) / (np.pi / 4)).astype(int) % len(DIRECTIONS)
    np.testing.assert_array_equal(seen, batch["label"])


def test_evaluation_clips_are_fixed(data_dir):
    first, second = (
        next(eval_batches(load("moving_digits", data_dir), "test", batch_size=8)) for _ in range(2)
    )
    np.testing.assert_array_equal(first["frames"], second["frames"])


def test_directions_are_drawn_evenly_in_training(data_dir):
    data = load("moving_digits", data_dir, num_frames=1, scene=SMALL)
    batches = train_batches(data, batch_size=400, seed=0)
    counts = np.bincount(np.concatenate([next(batches)["label"] for _ in range(4)]), minlength=8)
    assert counts.min() > 150
    assert counts.max() < 250


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "speed"}, "unknown label 'speed': choose one of direction, digit, both"),
        ({"num_frames": 0}, "num_frames 0"),
    ],
)
def test_unknown_options_are_refused(data_dir, options, message):
    with pytest.raises(ValueError, match=message):
        load("moving_digits", data_dir, **options)


def test_unknown_data_set_is_refused():
    with pytest.raises(ValueError, match="unknown data set 'films': choose one of moving_digits"):
        load("films")


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "ht_jax.data.moving_digits", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"tensorflow_datasets.*pip install 'ht_jax\[train\]'"):
        load("moving_digits")


def test_import_is_light():
    heavy = "{'grain', 'tensorflow_datasets', 'sklearn'}"
    code = f"import sys, ht_jax.data; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_option_of_another_data_set_is_refused():
    with pytest.raises(ValueError, match="moving_digits has no option 'fold': its options are la"):
        load("moving_digits", fold=2)


def unlink(path):
    path.unlink()


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 8] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [unlink, truncate, flip])
def test_shard_that_is_damaged_ends_in_a_line_that_says_what_to_do(data_dir, tmp_path, damage):
    folder = shutil.copytree(data_dir, tmp_path / "datasets")
    damage(next(folder.rglob("*-train.array_record*")))
    with pytest.raises(OSError, match=r"'moving_digits' cannot be read .*: remove its") as caught:
        load("moving_digits", folder)
    assert "\n" not in str(caught.value)
