import numpy as np
import pytest

from ht_jax.data import describe, eval_batches, load, sequences, train_batches


def write_ts(path, lengths, seed):
    rng, lines, arrays = np.random.default_rng(seed), [], []
    for n, length in enumerate(lengths):
        values = rng.normal(3, 2, (length, 12)).round(6)
        arrays.append(values)
        features = [",".join(map(str, feature)) for feature in values.T]
        lines.append(":".join([*features, str(n % 9 + 1)]))
    path.write_text("@problemName JapaneseVowels\n@dimensions 12\n@data\n" + "\n".join(lines))
    return arrays


@pytest.fixture
def vowels(tmp_path):
    train = write_ts(tmp_path / "JapaneseVowels_TRAIN.ts", [7 + n % 5 for n in range(90)], 0)
    test = write_ts(tmp_path / "JapaneseVowels_TEST.ts", [15, 9, 8], 1)
    return tmp_path, train, test


def test_official_split_is_kept_and_validation_is_of_the_training_part(vowels):
    data = load("japanese_vowels", vowels[0])
    assert (len(data.train), len(data.validation), len(data.test)) == (72, 18, 3)
    assert [r["label"] for r in data.validation] == list(range(9)) * 2
    assert data.clip_shape == (15, 12)
    assert describe("japanese_vowels", vowels[0]) == (tuple("123456789"), (15, 12))


def test_sequences_are_normalised_by_the_training_split_and_padded(vowels):
    folder, train, test = vowels
    data = load("japanese_vowels", folder)
    (batch,) = eval_batches(data, "test", batch_size=3)
    np.testing.assert_array_equal(batch["length"], [15, 9, 8])
    stacked = np.concatenate(train)
    expected = (test[1] - stacked.mean(0)) / stacked.std(0)
    np.testing.assert_allclose(batch["frames"][1, :9], expected, rtol=1e-4, atol=1e-5)
    assert not batch["frames"][1, 9:].any()
    assert next(train_batches(data, batch_size=4, seed=0))["frames"].dtype == np.float32


def test_spoken_digits_are_split_by_class(tmp_path):
    labels = np.tile(np.arange(10), 20)
    lengths = 3 + np.arange(200) % 4
    values = np.repeat(np.arange(200.0), lengths)[:, None] + np.zeros((1, 13))
    np.savez(tmp_path / "digits.npz", X=values, y=labels, lengths=lengths)
    data = load("spoken_digits", tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (160, 20, 20)
    assert [int(r["values"][0, 0]) for r in data.test] == list(range(180, 200))
    assert all(len(r["values"]) == 3 + int(r["values"][0, 0]) % 4 for r in data.train)


def test_package_files_are_found_without_importing_it(tmp_path, monkeypatch, vowels):
    folder = tmp_path / "aeon" / "datasets" / "data" / "JapaneseVowels"
    folder.mkdir(parents=True)
    (tmp_path / "aeon" / "__init__.py").write_text("raise RuntimeError('imported')")
    for name in sequences.SOURCES["japanese_vowels"].files:
        (vowels[0] / name).rename(folder / name)
    monkeypatch.syspath_prepend(tmp_path)
    assert len(load("japanese_vowels").test) == 3


def test_missing_package_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps aeon, or pass a folder"):
        load("japanese_vowels")
    with pytest.raises(FileNotFoundError, match=r"is not in .*digits\.npz"):
        load("spoken_digits", tmp_path)
