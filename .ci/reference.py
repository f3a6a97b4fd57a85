"""Hook of MkDocs: the pages are README.md and its like, and one of docstrings for every room.

What is public is what `ht_jax` and its rooms export; nothing is written to disk but the site.
"""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "docs/conversions.md": "conversions.md",
}
ROOMS = ("nn", "models", "tensor", "schedule", "plot", "compression", "convert", "export")
ROOMS = (*ROOMS, "pretrained", "data", "train")
DOCTEST = re.compile(r"^( *)>>> .*(?:\n *\S.*)*", re.MULTILINE)  # to the next blank line
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lists the pages in the order of the rooms."""
    pages = [{room: f"reference/{room}.md"} for room in ("ht_jax", *ROOMS)]
    last = ["conversions.md", "contributing.md", "changelog.md"]
    config.nav = ["index.md", {"Reference": pages}, *last]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages, and the pictures that they show."""
    made = []
    for source, target in DOCUMENTS.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        made.append(File.generated(config, target, content=LINK.sub(_relink, text)))
        for picture in {path for mark, _, path in LINK.findall(text) if mark}:
            made.append(File.generated(config, picture, abs_src_path=str(ROOT / picture)))
    for room in ("ht_jax", *ROOMS):
        made.append(File.generated(config, f"reference/{room}.md", content=_page(room)))
    return Files([*files, *made])


def _relink(link: re.Match) -> str:
    """Pictures and documents keep their links, other places in the repository become text."""
    mark, text, path = link.groups()
    if mark:
        return link[0]
    return f"[{text}]({DOCUMENTS[path]})" if path in DOCUMENTS else text


def _page(room: str) -> str:
    """The page of a room: its docstring, and what it exports of its own."""
    module = importlib.import_module("ht_jax" if room == "ht_jax" else f"ht_jax.{room}")
    public = (thing for key, thing in vars(module).items() if not key.startswith("_"))
    found = [thing for thing in public if _page_of(thing) == room]
    parts = [f"::: {each.__module__}.{each.__qualname__}" for each in dict.fromkeys(found)]
    return "\n\n".join([f"# {module.__name__}", inspect.getdoc(module) or "", *parts])


def _page_of(thing: Any) -> str | None:
    """The room on whose page a class or a function stands; `ht_jax` for rooms without a page."""
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return None
    package, _, path = thing.__module__.partition(".")
    room = path.split(".")[0]
    return (room if room in ROOMS else "ht_jax") if package == "ht_jax" else None


class Doctests(griffe.Extension):
    """Puts fences around the doctests of docstrings, so that they are shown as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = DOCTEST.sub(r"\1```pycon\n\g<0>\n\1```\n", obj.docstring.value)
