"""Executes the notebooks: `python .ci/notebooks.py [--write] [notebooks/01_five_minutes.py ...]`.

The sources are py:percent; with --write the executed notebook is stored beside its source.
"""

import base64
import io
import sys
import time
from pathlib import Path

import jupytext
import nbclient
import nbformat
from PIL import Image

ROOT = Path(__file__).parents[1]


def execute(source: Path) -> nbformat.NotebookNode:
    """The notebook of a source, executed, without what changes from run to run."""
    notebook = jupytext.read(source)
    place = {"metadata": {"path": source.parent}}
    nbclient.NotebookClient(notebook, timeout=600, resources=place).execute()
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            _shrink(output.get("data", {}))
    python = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": python})
    return notebook


def _shrink(data: dict[str, str]) -> None:
    """Stores a large picture with 256 colours, a third of the size."""
    if len(data.get("image/png", "")) > 30_000:
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
        small = io.BytesIO()
        picture.quantize(256, Image.Quantize.MAXCOVERAGE).save(small, "PNG", optimize=True)
        data["image/png"] = base64.b64encode(small.getvalue()).decode()


def main(arguments: list[str]) -> None:
    """Executes all notebooks, or those that are named."""
    names = [Path(name) for name in arguments if name != "--write"]
    for source in names or sorted((ROOT / "notebooks").glob("*.py")):
        start = time.perf_counter()
        notebook = execute(source.resolve())
        if "--write" in arguments:
            nbformat.write(notebook, source.with_suffix(".ipynb"))
        print(f"{source.name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
