"""The rooms of the library: imports point upwards only, and importing it stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ht_jax

PACKAGE = Path(ht_jax.__file__).parent
# From the top: a file imports only rooms that stand before its own, or its own.
TOP = (
    "files",
    "digests",
    "tree",
    "network",
    "schedule",
    "tensor",
    "formats",
    "nn",
    "models",
    "summary",
    "suggest",
)
REST = (
    "plot",
    "cite",
    "surgery",
    "compression",
    "export",
    "convert",
    "pretrained",
    "data",
    "train",
)
ROOMS = (*TOP, *REST)


def imported(path):
    """The modules of ht_jax that a file imports, as dotted names below the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (n.removeprefix("ht_jax.") for n in names if n.startswith("ht_jax."))


def room(dotted):
    return dotted.split(".")[0]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.name))
def test_imports_point_upwards(path):
    own = room(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    if own == "__init__":
        return
    for name in imported(path):
        if name != "__version__":
            assert ROOMS.index(room(name)) <= ROOMS.index(own), f"{path.name} imports {name}"


@pytest.mark.parametrize("room", ["nn", "train"])
def test_layers_and_training_name_no_format(room):
    names = {"HT", "TT", "TR", "BT", "KCP", "CP", "Tucker", "LowRank"}
    for path in (PACKAGE / room).rglob("*.py"):
        if path.name != "named.py":
            used = {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
            assert not used & names, path.name


def test_importing_is_light():
    code = (
        "import sys, jax, flax.nnx; before = {*sys.modules}; import ht_jax; "
        "print(*{*sys.modules} - before)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = (
        "cotengra scipy h5py tensorflow_datasets grain orbax matplotlib sklearn tyro av keras torch"
    )
    assert not {name.split(".")[0] for name in run.stdout.split()} & {*heavy.split()}
