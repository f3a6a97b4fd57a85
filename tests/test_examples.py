"""Every public class and function shows, in its docstring, a use that runs as a doctest."""

import importlib
import inspect
import pkgutil
import re

import pytest

import ht_jax

ROOMS = [name for _, name, _ in pkgutil.iter_modules(ht_jax.__path__)]
PUBLIC = ["ht_jax", *(f"ht_jax.{room}" for room in ROOMS), "ht_jax.data.video"]

# Public names whose example does not run here, and why.
EXEMPT = {"ht_jax.export.to_onnx.onnx": "jax2onnx and the train extra ask for different Orbaxes"}


def exported(module):
    """What a room offers: all that its `__init__` collects, or what its one file defines."""
    own = "ht_jax" if hasattr(module, "__path__") else module.__name__
    for name in getattr(module, "__all__", vars(module)):
        thing = getattr(module, name)
        called = inspect.isclass(thing) or inspect.isroutine(inspect.unwrap(thing))
        if called and not name.startswith("_") and thing.__module__.startswith(own):
            yield thing


def runs_an_example(thing):
    lines = re.findall(r"^ *>>> .*", thing.__doc__ or "", re.MULTILINE)
    return bool(lines) and "+SKIP" not in lines[-1]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_an_example(name):
    things = list(exported(importlib.import_module(name)))
    assert things
    lacking = {f"{t.__module__}.{t.__qualname__}" for t in things if not runs_an_example(t)}
    assert lacking <= EXEMPT.keys()


def test_what_is_exempt_exists_and_lacks_an_example():
    for path in EXEMPT:
        module, _, name = path.rpartition(".")
        assert not runs_an_example(getattr(importlib.import_module(module), name))
