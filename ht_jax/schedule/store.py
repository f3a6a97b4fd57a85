"""The store: what was measured on this machine, kept on disk for later processes.

One small JSON file a key. A file that is not just what was written counts as absent, and a disk
that refuses is passed over: a measurement can always be made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

import jax

from ht_jax.files import write_atomic


def cache_folder() -> Path:
    """Where measurements lie: HT_JAX_CACHE_DIR, or a folder in the user's cache.

    Example:
        >>> os.environ["HT_JAX_CACHE_DIR"] = "measured"
        >>> cache_folder().name
        'measured'
    """
    if given := os.environ.get("HT_JAX_CACHE_DIR"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ht_jax" / "schedules"


def machine() -> dict[str, Any]:
    """What a measurement depends on beside the problem."""
    device = jax.devices()[0]
    kind = [device.platform, device.device_kind, platform.machine(), os.cpu_count()]
    return {"jax": jax.__version__, "kind": kind}


def read(key: dict[str, Any]) -> Any:
    """What `write` kept under the key, or None."""
    try:
        stored = json.loads(_path(key).read_text())
    except (OSError, ValueError):
        return None
    good = isinstance(stored, dict) and stored.get("key") == _plain(key)
    return stored.get("value") if good else None


def write(key: dict[str, Any], value: Any) -> None:
    """Keeps plain data under a key of plain data."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        write_atomic(_path(key), json.dumps({"key": key, "value": value}))
    except OSError:
        return


def _path(key: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder() / f"{digest[:32]}.json"


def _plain(key: dict[str, Any]) -> Any:
    return json.loads(json.dumps(key))
