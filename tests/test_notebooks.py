"""Every notebook is the executed form of the source beside it, without errors, and small."""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
IDS = [path.stem for path in SOURCES]


def cells_of_source(path):
    """(kind, text) of the cells of a py:percent file, magics uncommented."""
    parts = re.split(r"^# %%(.*)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for head, body in zip(parts[1::2], parts[2::2]):
        body = body.strip("\n")
        if head.strip() == "[markdown]":
            yield "markdown", re.sub(r"^# ?", "", body, flags=re.MULTILINE)
        else:
            yield "code", re.sub(r"^# (?=%\w)", "", body, flags=re.MULTILINE)


def notebook(path):
    return json.loads(path.with_suffix(".ipynb").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_notebook_and_source_agree(path):
    cells = notebook(path)["cells"]
    assert [(c["cell_type"], "".join(c["source"])) for c in cells] == list(cells_of_source(path))


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_every_cell_was_executed_without_an_error(path):
    code = [cell for cell in notebook(path)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [out for c in code for out in c["outputs"] if out["output_type"] == "error"]


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_a_notebook_ends_with_something_to_look_at(path):
    outputs = [out for cell in notebook(path)["cells"] for out in cell.get("outputs", [])]
    assert any("image/png" in out.get("data", {}) for out in outputs[-2:])


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_a_notebook_is_small_and_names_no_place_of_this_machine(path):
    text = path.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert len(text) < 300_000
    assert not re.search(r"/(?:root|home|tmp|work)/", text)


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_the_first_code_cell_makes_colab_new_enough(path):
    kind, first = list(cells_of_source(path))[1]
    assert kind == "code"
    assert '"jax", "jaxlib", "flax"' in first
