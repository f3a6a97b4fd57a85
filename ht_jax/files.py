"""Files that are whole or absent: written beside their place, then moved into it.

A run that is killed while it writes leaves the previous file as it was.
"""

import json
import os
from pathlib import Path
from typing import Any


def write_atomic(path: Path, content: str | bytes) -> None:
    """Writes a file in one move.

    Args:
        path: The file; its folder exists.
        content: Text or bytes.

    Raises:
        FileNotFoundError: If there is no such folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomic(Path(folder, "note.txt"), "whole or absent")
        ...     [path.name for path in Path(folder).iterdir()]
        ['note.txt']
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: its folder does not exist; make it first")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(temporary, path)


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
