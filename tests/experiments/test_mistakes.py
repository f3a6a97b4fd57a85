"""Mistakes on the command lines end before any work, in one line that says what to do."""

import importlib

import pytest

from ht_jax.train import command

MISTAKES = [
    ("export", "none .", ". is a folder or a device: name a file"),
    ("evaluate", "FILE", "is a file, not a folder"),
    ("stream", "FILE --model none.safetensors", "no checkpoint is named 'none.safetensors'"),
    ("prepare", "ucf11 . --workers 0", "--workers is 0: pass 1 or more"),
    ("prepare", "ucf11 . --weights none.h5", "--weights none.h5 are of a network: pass --cnn"),
    ("prepare", "ucf11 . --data-dir FILE/x", "is a file, not a folder"),
    ("compress", "--calibration 0", "--calibration is 0: pass 1 or more"),
    ("compress", "--budgets 1000 0", "--budgets is 0: pass 1 or more"),
    ("compress", "--formats", "--budgets and --formats take one or more each"),
    ("compress", "--stretches 2", "pass --finetune too"),
    ("compress", "--finetune 2 --stretches 3", "--stretches is 3: pass --finetune, 2, or less"),
    ("compress", "--learning-rate nan", "--learning-rate is nan: pass a positive number"),
    ("compress", "--output none/x.json", "its folder does not exist"),
    ("compress", "--workdir FILE", "is a file, not a folder"),
    ("compress", "--latency --output FILE", "is not a file of results"),
]


@pytest.mark.parametrize(("name", "words", "says"), MISTAKES)
def test_a_mistake_is_one_line(experiments, tmp_path, monkeypatch, capsys, name, words, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("{")
    (tmp_path / "experiments" / "results").mkdir(parents=True)
    assert importlib.import_module(name).main(words.split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert says in told.err
    assert told.err.count("\n") == 1
    assert not (tmp_path / "here").exists()


def test_a_bench_of_no_clips(experiments, capsys):
    import bench

    assert command.run(lambda: bench.bench(batch=0)) == 2
    assert capsys.readouterr().err == "error: --batch is 0: pass 1 or more\n"
