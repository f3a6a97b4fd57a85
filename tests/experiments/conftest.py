"""The programs, importable as when one of them runs."""

import sys
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def experiments(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    before = set(sys.modules)
    yield EXPERIMENTS
    for name in set(sys.modules) - before:
        if str(EXPERIMENTS) in str(getattr(sys.modules[name], "__file__", "")):
            sys.modules.pop(name)
