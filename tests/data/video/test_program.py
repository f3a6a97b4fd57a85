"""`experiments/prepare.py` as a user types it."""

import sys
from pathlib import Path

import pytest
from clips import write_clip, write_set

EXPERIMENTS = Path(__file__).parents[3] / "experiments"


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import prepare

    yield prepare
    sys.modules.pop("prepare")


@pytest.fixture
def source(tmp_path):
    folder = write_set(tmp_path / "source", ["0187_02_020_al_gore.avi", "1034_03_006_jet_li.avi"])
    write_clip(folder / "0001_01_001_al_pacino.avi", num_frames=1)
    return folder


def test_report_is_printed(program, source, tmp_path, capsys):
    args = ["youtube_celebrities", str(source), "--data-dir", str(tmp_path), "--num-frames", "3"]
    args += ["--height", "8", "--width", "8", "--on-bad-clip", "skip"]
    assert program.main(args) == 0
    output = capsys.readouterr().out
    assert "2 clips of 1,910 documented" in output
    assert "left out: 0001_01_001_al_pacino.avi has 1 frames, but 3 are needed" in output
    assert "2 left out in all" in output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "youtube_celebrities has 3 classes, not 47: pass --on-bad-clip skip"),
        (["--height", "0"], "--height is 0: pass 1 or more"),
    ],
)
def test_error_is_one_line(program, source, tmp_path, capsys, args, message):
    known = ["youtube_celebrities", str(source), "--data-dir", str(tmp_path)]
    assert program.main([*known, *args]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_folder_without_clips(program, tmp_path, capsys):
    assert program.main(["ucf50", str(tmp_path), "--data-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "holds no clip of ucf50" in error
    assert "UCF50.rar" in error
