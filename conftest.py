"""Doctests run under JAX's own defaults, not under the strict ones of tests/.

What they measure is kept in a folder of their own, not in the user's cache.
"""

import jax
import pytest
from _pytest.doctest import DoctestItem


@pytest.fixture(autouse=True)
def _jax_defaults(request, tmp_path_factory, monkeypatch):
    if not isinstance(request.node, DoctestItem):
        yield
        return
    monkeypatch.setenv("HT_JAX_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "schedules"))
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield
