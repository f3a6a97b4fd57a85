"""Files that are whole or absent: written beside their place, then moved into it.

A run that is killed while it writes leaves the previous file as it was. Whether a place can be
written is asked before the work whose result it is to hold.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_atomic(path: Path, content: str | bytes) -> None:
    """Writes a file in one move.

    Args:
        path: The file; its folder exists.
        content: Text or bytes.

    Raises:
        FileNotFoundError: If there is no such folder.
        OSError: If it cannot be written; nothing is left of it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomic(Path(folder, "note.txt"), "whole or absent")
        ...     [path.name for path in Path(folder).iterdir()]
        ['note.txt']
    """
    _check_name(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(
            f"{path} cannot be written ({error.strerror}): free some space or choose another place"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Writes plain data as indented JSON in one move.

    Args:
        path: The file; its folder exists.
        value: What JSON holds.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder, "run.json"), {"steps": 800})
        ...     print(Path(folder, "run.json").read_text().strip())
        {
          "steps": 800
        }
    """
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def check_file(path: Path) -> None:
    """Checks that a file can be written; what is there stays as it is.

    Args:
        path: The file; its folder exists.

    Raises:
        FileNotFoundError: If there is no such folder.
        OSError: If the folder takes no file, or the path is a folder or a device.

    Example:
        >>> check_file(Path("nowhere", "run.json"))
        Traceback (most recent call last):
        FileNotFoundError: nowhere/run.json: its folder does not exist; make it first
    """
    _check_name(path)
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Checks that a folder can be made, if it is not there, and written to.

    Args:
        folder: The folder.

    Raises:
        OSError: If not.

    Example:
        >>> check_folder(Path("runs", "first"))
    """
    near = nearest(folder)
    if not near.is_dir():
        raise NotADirectoryError(f"{folder}: {near} is a file, not a folder")
    try:
        with tempfile.TemporaryFile(dir=near):  # permissions alone do not tell, root has them all
            pass
    except OSError as error:
        raise OSError(f"{folder}: {near} takes no files ({error.strerror})") from error


def nearest(path: Path) -> Path:
    """The path itself or the nearest folder above it that exists.

    Below a regular file that is the file.

    Example:
        >>> nearest(Path("nowhere", "run.json")) == Path.cwd()
        True
    """
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.exists())


def _check_name(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: its folder does not exist; make it first")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is a folder or a device: name a file")
