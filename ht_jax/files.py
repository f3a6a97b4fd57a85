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
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Writes plain data as indented JSON in one move.

    Args:
        path: The file; its folder exists.
        value: What JSON holds.
    """
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
