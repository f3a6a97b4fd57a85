"""Files are whole or absent, and a place that takes none is told before there is work to lose."""

import tempfile
from pathlib import Path

import pytest

from ht_jax.files import check_file, check_folder, write_atomic


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(self, content):
        self.touch()
        raise OSError(28, "No space left on device")

    (tmp_path / "run.json").write_text("before")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"run.json cannot be written \(No space left on device\)"):
        write_atomic(tmp_path / "run.json", "after")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert (tmp_path / "run.json").read_text() == "before"


def test_a_device_is_not_replaced():
    with pytest.raises(OSError, match="/dev/null is a folder or a device: name a file"):
        write_atomic(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()


def test_a_file_is_checked_and_left_alone(tmp_path):
    (tmp_path / "run.json").write_text("before")
    check_file(tmp_path / "run.json")
    check_file(tmp_path / "other.json")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    with pytest.raises(OSError, match="is a folder or a device"):
        check_file(tmp_path)


def test_a_folder_that_takes_no_files(tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(30, "Read-only file system")

    check_folder(tmp_path / "new" / "newer")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OSError, match=r"takes no files \(Read-only file system\)"):
        check_folder(tmp_path / "new")
