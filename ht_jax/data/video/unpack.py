"""Unpacking of the archives in which video sets come, with libarchive: .rar, .tar, .zip and more.

An archive is unpacked into a folder of its own that appears only when it is whole; an entry that
would leave that folder is refused, and links are not made.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

SUFFIXES = (".rar", ".tar", ".zip", ".tgz", ".tar.gz", ".7z")


class UnsafeArchive(ValueError):
    """An archive with an entry that leads out of the folder it is unpacked into."""


def unpack(archive: Path, folder: Path, advance: Callable[[int], None] = lambda n: None) -> Path:
    """Unpacks an archive, and the archives directly inside it; does nothing if that was done.

    Args:
        archive: the file.
        folder: where a folder named like the archive is made.
        advance: told the number of files unpacked so far.

    Returns:
        The folder of the archive.

    Raises:
        UnsafeArchive: an entry leads out of the folder.
        ImportError: libarchive is missing; the message says how to do without.
        OSError: the archive is damaged, or the folder cannot be written.
    """
    target = folder / archive.name.removesuffix("".join(archive.suffixes))
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="unpacking.") as staging:
        inside = Path(staging) / "whole"
        inside.mkdir()
        done = _extract(archive, inside, advance, 0)
        for inner in sorted(p for p in inside.rglob("*") if p.name.endswith(SUFFIXES)):
            done = _extract(inner, inner.parent, advance, done)  # hmdb51: one .rar a class
            inner.unlink()
        inside.rename(target)
    return target


def _extract(archive: Path, folder: Path, advance: Callable[[int], None], done: int) -> int:
    libarchive = _libarchive(archive)
    try:
        with libarchive.file_reader(os.fspath(archive)) as entries:
            for entry in entries:
                if entry.isfile:
                    _write(entry, _place(archive, entry.pathname, folder))
                    done += 1
                    advance(done)
    except libarchive.ArchiveError as error:
        raise OSError(f"{archive} cannot be unpacked: {error}") from error
    return done


def _place(archive: Path, name: str, folder: Path) -> Path:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in name:
        raise UnsafeArchive(f"{archive} holds {name!r}, which leads out of its folder: refused")
    return folder.joinpath(*parts.parts)


def _write(entry: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for block in entry.get_blocks():
            file.write(block)


def _libarchive(archive: Path) -> ModuleType:
    try:
        import libarchive

        return libarchive
    except (ImportError, OSError, TypeError, AttributeError) as error:  # or only its C library
        raise ImportError(
            f"{archive} is to be unpacked, and libarchive is missing ({error}): pip install "
            "'ht_jax[video]' and the system's libarchive, or unpack the archive yourself and pass "
            "the folder"
        ) from error
