"""The tables and pictures of results: from the files alone, in every form."""

import json
from pathlib import Path

import numpy as np
import pytest

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
MEAN = {"value": 0.875, "half_width": 0.0213, "count": 5}


@pytest.fixture
def program():
    from experiments.research import report

    return report


@pytest.fixture
def results(tmp_path):
    """The committed results, a repeated run and a study of three systems."""
    folder = tmp_path / "results"
    folder.mkdir()
    for pattern in ("*_lstm.json", "bench_layer.json", "compress_*.json", "finetune_*.json"):
        for path in RESULTS.glob(pattern):
            (folder / path.name).write_text(path.read_text())
    run = {"params": 3149, "matrix_params": 1476, "config": {"data": {"name": "ucf11"}}}
    repeat = {"mean": MEAN, "runs": [run] * 5}
    (folder / "repeat_ucf11_ht_lstm.json").write_text(json.dumps(repeat))
    row = {"matrix_params": 1245, "params": 9, "learning_rate": 0.01, "seconds": 90.0, "mean": MEAN}
    row |= {"budget": None, "format": "HT(...)"}
    systems = [{**row, "system": name, "family": name} for name in ("HT", "TT")]
    systems.append({**row, "system": "LSTM", "family": "LSTM", "format": None})
    larger = {"budget": 3400, "matrix_params": 3300, "mean": {**MEAN, "value": 0.8}}
    systems.append({**row, "system": "HT-3400", "family": "HT", **larger})
    smaller = {"budget": 810, "matrix_params": 800, "mean": {**MEAN, "value": 0.7}}
    systems.append({**row, "system": "TT-810", "family": "TT", **smaller})
    pair = {"first": "HT", "second": "TT", "difference": 0.02, "half_width": 0.01, "p_value": 0.004}
    study = {"systems": systems, "comparisons": [{**pair, "p_holm": 0.02}]}
    study |= {"data": "moving_fashion_mnist", "seeds": [0, 1], "steps": 3000}
    for name in ("study", "study_vowels"):
        (folder / f"{name}.json").write_text(json.dumps(study))
    factors = {"both": MEAN, "item": MEAN, "direction": MEAN, "curve": {"250": 0.25}}
    found = {"systems": [{"system": "HT", **factors}]}
    (folder / "study_factors.json").write_text(json.dumps(found))
    return folder


def test_tables_of_the_readme_come_from_the_results(program, capsys):
    readme = (RESULTS.parents[1] / "README.md").read_text()
    write_up = (RESULTS / "study.md").read_text()
    assert program.main([]) == 0
    tables = [block for block in capsys.readouterr().out.split("\n\n") if block.strip()]
    assert all(table in readme for table in (*tables[:2], *tables[6:9]))
    assert all(table in write_up for table in tables[:6])


def test_every_kind_of_result_has_its_table(program, results, capsys):
    assert program.main([str(results)]) == 0
    output = capsys.readouterr().out
    assert "| ucf11_ht_lstm | ucf11 | 3,149 | 1,476 | 87.5 ± 2.1 % | 5 |" in output
    assert "| HT-LSTM | UCF11 | 1,245 | 87.2 % | 87.5 ± 2.1 % |" in output  # beside the published
    assert "| HT | 1,245 | 9 | 87.5 ± 2.1 % | 0.01 |" in output
    assert "| HT | - | 80.0 ± 2.1 % (3,300) |" in output
    assert "| TT | 70.0 ± 2.1 % (800) | 87.5 ± 2.1 % (1,245) |" in output
    assert "| HT - TT | +2.0 ± 1.0 | 0.004 | 0.02 |" in output
    assert "| HT | 87.5 ± 2.1 % | 87.5 ± 2.1 % | 87.5 ± 2.1 % | 25.0 % |" in output
    assert "| Cho 2014 | UCF11 | - | 88.0 % | - |" in output


def test_other_forms(program, results, capsys):
    assert program.main([str(results), "--form", "latex"]) == 0
    assert capsys.readouterr().out.count("\\begin{tabular}") == 11
    assert program.main([str(results), "--form", "rich"]) == 0
    assert "┃" in capsys.readouterr().out


def test_pictures_are_drawn(program, results, tmp_path):
    assert program.main([str(results), "--pictures-dir", str(tmp_path / "drawn")]) == 0
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "drawn").iterdir()}
    assert set(drawn) == {"overview.png", "compress.png"}
    assert all(data.startswith(b"\x89PNG") for data in drawn.values())


def test_missing_result_is_named(program, tmp_path, capsys):
    assert program.main([str(tmp_path)]) == 2
    assert "study.json cannot be read" in capsys.readouterr().err


def test_samples_and_curves(tmp_path):
    from experiments.research import pictures

    frames = np.zeros((2, 3, 8, 8, 3), np.uint8)
    pictures.samples(
        frames, ["a: taken for a", "b: taken for a"], [True, False], tmp_path / "s.png"
    )
    record = {"step": 1, "split": "validation", "loss": 1.0, "accuracy": 0.5}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    pictures.curves([tmp_path], tmp_path / "c.png")
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("s.png", "c.png"))


def test_the_picture_of_compressed_models_shows_costs_that_were_measured(tmp_path):
    from experiments.research import pictures

    row = {"params": 10, "test_accuracy": 0.5}
    tuned = {**row, "finetuned_test_accuracy": 0.6, "finetuned_steps": 5}
    dense = {"params": 99, "test_accuracy": 0.9}
    results = [
        {"method": "plain", "rows": [row], "dense": dense},
        {
            "method": "aware",
            "rows": [{**tuned, "ms_a_frame": 0.1}],
            "dense": {**dense, "ms_a_frame": 7.0},
        },
    ]
    pictures.compression(results, tmp_path / "both.png")
    assert (tmp_path / "both.png").stat().st_size > 10_000
