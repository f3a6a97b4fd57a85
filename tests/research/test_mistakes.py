"""Mistakes on the command lines end before any work, in one line that says what to do."""

import importlib

import pytest

MISTAKES = [
    ("soak", "--every 0", "--every is 0: pass 1 or more"),
    ("soak", "--steps 600 --every 500", "--steps is 600: pass 1000 or more"),
    ("soak", "--output none/x.json", "none/x.json: its folder does not exist; make it first"),
    ("kill", "--kills 0", "--kills is 0: pass 1 or more"),
    ("kill", "--output none/x.json", "its folder does not exist"),
    ("fuzz", "--cases -1", "--cases is -1: pass 1 or more"),
    ("fuzz", "--output FILE/x.json", "its folder does not exist"),
    ("improve", "--json-file none/x.json", "its folder does not exist"),
    ("report", "none", "none is no folder"),
    ("report", "--runs none", "pass --pictures-dir too"),
    ("report", "--pictures-dir FILE/x", "is a file, not a folder"),
    ("report", "--runs none --pictures-dir here", "none holds no run"),
]


@pytest.mark.parametrize(("name", "words", "says"), MISTAKES)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, name, words, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("{")
    (tmp_path / "experiments" / "results").mkdir(parents=True)
    program = importlib.import_module(f"experiments.research.{name}")
    assert program.main(words.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert says in printed.err
    assert printed.err.count("\n") == 1
