"""Digests of files, kept in their folder: whether they are what was written.

They are compared before any library reads the files, so that none has to make sense of damage.
"""

import hashlib
import json
from pathlib import Path

from ht_jax.files import write_json

NAME = "digests.json"


def write_digests(folder: Path, *patterns: str) -> None:
    """Writes the digests of files into their folder.

    Args:
        folder: the folder; the files are complete.
        patterns: which files, as for `Path.glob`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = Path(name, "labels.txt").write_text("up down")
    ...     write_digests(Path(name), "*.txt")
    ...     list(json.loads(Path(name, NAME).read_text()))
    ['labels.txt']
    """
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    files = sorted(path for path in found if path.is_file())
    write_json(folder / NAME, {str(path.relative_to(folder)): _digest(path) for path in files})


def check_digests(folder: Path) -> None:
    """Checks that the files that a folder had are there unchanged.

    Args:
        folder: the folder.

    Raises:
        ValueError: a file has changed, or the digests cannot be read.
        OSError: a file is missing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = Path(name, "labels.txt").write_text("up down")
    ...     write_digests(Path(name), "*.txt")
    ...     _ = Path(name, "labels.txt").write_text("up")
    ...     check_digests(Path(name))
    Traceback (most recent call last):
    ValueError: labels.txt has changed since it was written
    """
    for name, digest in dict(json.loads((folder / NAME).read_text())).items():
        if _digest(folder / name) != digest:
            raise ValueError(f"{name} has changed since it was written")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
