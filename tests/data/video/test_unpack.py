import io
import tarfile
import zipfile

import pytest

from ht_jax.data.video import unpack as module
from ht_jax.data.video.unpack import UnsafeArchive, unpack


def tar(path, **files):
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_files_are_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("a/b.avi", b"12")
        archive.writestr("c.txt", b"")
    folder = unpack(tmp_path / "set.zip", tmp_path / "out")
    assert folder == tmp_path / "out" / "set"
    assert contents(folder) == {"a/b.avi": b"12", "c.txt": b""}


def test_archives_inside_are_unpacked_beside_themselves(tmp_path):
    inner = tar(tmp_path / "wave.tar", **{"wave/clip.avi": b"1"}).read_bytes()
    folder = unpack(tar(tmp_path / "set.tar", **{"x/wave.tar": inner}), tmp_path / "out")
    assert contents(folder) == {"x/wave/clip.avi": b"1"}


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "a\\..\\..\\evil", "C:/evil"])
def test_entry_that_leads_out_is_refused(tmp_path, name):
    archive = tar(tmp_path / "set.tar", **{"fine": b"1", name: b"2"})
    with pytest.raises(UnsafeArchive, match="leads out of its folder: refused"):
        unpack(archive, tmp_path / "in" / "out")
    assert not [path for path in tmp_path.rglob("*evil*")]
    assert not list((tmp_path / "in" / "out").iterdir())


def test_links_are_not_made(tmp_path):
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        info = tarfile.TarInfo("link/file")
        archive.addfile(info, io.BytesIO(b""))
    folder = unpack(tmp_path / "set.tar", tmp_path / "out")
    assert not (tmp_path / "file").exists()
    assert not (folder / "link").is_symlink()


def test_damaged_archive_leaves_nothing(tmp_path):
    (tmp_path / "set.rar").write_bytes(b"Rar!\x1a\x07\x00" + b"x" * 100)
    with pytest.raises(OSError, match=r"set\.rar cannot be unpacked"):
        unpack(tmp_path / "set.rar", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_what_is_unpacked_is_not_unpacked_again(tmp_path, monkeypatch):
    archive = tar(tmp_path / "set.tar", a=b"1")
    unpack(archive, tmp_path / "out")
    monkeypatch.setattr(module, "_extract", lambda *args: pytest.fail("again"))
    unpack(archive, tmp_path / "out")


def test_missing_library_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "libarchive", None)
    with pytest.raises(ImportError, match=r"ht_jax\[video\].*unpack the archive yourself"):
        unpack(tar(tmp_path / "set.tar", a=b"1"), tmp_path / "out")
