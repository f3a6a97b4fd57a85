"""The table of the papers: counts, references, forms, exit status."""

import dataclasses
import json
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
PUBLISHED = {
    ("LSTM", "UCF11"): 58_982_400,
    ("LSTM", "YTC"): 58_982_400,
    ("TT-LSTM", "UCF11"): 3_360,
    ("TT-GRU", "UCF11"): 3_232,
    ("TT-LSTM", "YTC"): 3_392,
    ("TT-GRU", "YTC"): 3_328,
    ("BT-LSTM", "UCF11"): 3_392,
    ("TR-LSTM", "UCF11"): 1_725,
    ("CNN + TR-LSTM", "UCF11"): 663_552,
    ("CNN + TR-LSTM", "HMDB51"): 663_552,
    ("HT-LSTM", "UCF11"): 1_245,
    ("HT-LSTM", "YTC"): 810,
    ("KCP-LSTM", "UCF11"): 212,
    ("KCP-LSTM", "YTC"): 212,
    ("KCP-LSTM", "UCF50"): 212,
}
FIELDS = {
    *("system", "dataset", "cell", "in_modes", "out_modes", "ranks", "params", "published_params"),
    *("match", "compression_ratio", "published_accuracy", "published_cr_reference"),
    *("flops_per_frame", "dense_flops_per_frame", "backward_flops_per_frame"),
}


@pytest.fixture(scope="module")
def tables():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXPERIMENTS)
        import tables

        yield tables


@pytest.fixture(scope="module")
def rows(tables):
    return {(r["system"], r["dataset"]): r for r in map(tables.row, tables.SYSTEMS)}


@pytest.mark.parametrize(("system", "params"), PUBLISHED.items())
def test_published_count_is_that_of_the_built_cell(rows, system, params):
    assert rows[system]["params"] == rows[system]["published_params"] == params
    assert rows[system]["match"] is True


def test_nothing_else_claims_a_match(rows):
    assert {system for system, r in rows.items() if r["match"] is not None} == set(PUBLISHED)


def test_fdht_is_a_candidate(rows):
    r = rows["FDHT-LSTM", "several"]
    assert (r["params"], r["match"]) == (3_132, None)


@pytest.mark.parametrize(
    ("system", "params"),
    [
        (("HT-GRU", "UCF11"), 1_117),
        (("FDHT-GRU", "several"), 2_748),
        (("KCP-GRU", "UCF11"), 208),
        (("CNN + HT-LSTM", "UCF11"), None),
        (("CNN + LSTM", "HMDB51"), 2_048 * 8_192),
    ],
)
def test_rows_without_a_published_count(rows, system, params):
    assert rows[system]["params"] == params
    assert rows[system]["published_params"] is None


@pytest.mark.parametrize(
    ("system", "dense"),
    [
        (("TT-LSTM", "YTC"), 57_600 * 256 * 4),
        (("TT-GRU", "YTC"), 57_600 * 256 * 3),
        (("CNN + TR-LSTM", "HMDB51"), 2_048 * 2_048 * 4),
        (("FDHT-LSTM", "several"), 4_096 * 2_048 * 4),
        (("LSTM", "UCF11"), 58_982_400),
    ],
)
def test_ratio_is_against_the_dense_counterpart(rows, system, dense):
    assert rows[system]["compression_ratio"] == dense / rows[system]["params"]


def test_published_ratio_of_a_gru_refers_to_the_lstm(rows):
    r = rows["TT-GRU", "YTC"]
    assert r["published_cr_reference"] // r["params"] == 17_723
    assert round(r["compression_ratio"]) == 13_292


def test_note_on_the_printed_count(rows):
    assert "3,387" in rows["BT-LSTM", "UCF11"]["note"]


def test_flops_of_a_dense_cell(rows):
    r = rows["LSTM", "UCF11"]
    products = 57_600 * 1_024 + 256 * 1_024
    assert r["flops_per_frame"] == r["dense_flops_per_frame"] == 2 * products
    # Gradients of both kernels, and of the hidden state; the input has none.
    assert r["backward_flops_per_frame"] == 2 * products + 2 * 256 * 1_024


def test_ht_needs_a_tenth_of_the_flops(rows):
    r = rows["HT-LSTM", "UCF11"]
    assert r["flops_per_frame"] < r["dense_flops_per_frame"] / 10
    assert r["flops_per_frame"] > 2 * 256 * 1_024  # its recurrent matrix is dense


@pytest.fixture
def few(tables, monkeypatch):
    """Two systems in place of all."""
    chosen = [s for s in tables.SYSTEMS if s.name in ("BT-LSTM", "CNN + HT-LSTM")][:2]
    monkeypatch.setattr(tables, "SYSTEMS", tuple(chosen))
    return chosen


def test_json_is_a_list_of_rows(tables, few, capsys):
    assert tables.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [set(r) >= FIELDS for r in found] == [True, True]
    assert [r["system"] for r in found] == ["BT-LSTM", "CNN + HT-LSTM"]


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("--markdown", "| BT-LSTM | UCF11 | 8 20 20 18 | 4 4 4 4 | rank 4, terms 2 | 3,392 |"),
        ("--latex", "BT-LSTM & UCF11 & 8 20 20 18 & 4 4 4 4 & rank 4, terms 2 & 3,392 &"),
        ("", "│ BT-LSTM"),
    ],
)
def test_forms(tables, few, capsys, form, line):
    assert tables.main(form.split()) == 0
    text = capsys.readouterr().out
    assert line in text
    assert "Feichtenhofer 2016" in text


def test_mismatch_is_the_exit_status(tables, few, monkeypatch, capsys):
    wrong = dataclasses.replace(few[0], params=3_387)
    monkeypatch.setattr(tables, "SYSTEMS", (wrong,))
    assert tables.main(["--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["match"] is False
    assert err == "error: counts differ from the published ones: BT-LSTM UCF11\n"


def test_forms_exclude_each_other(tables, capsys):
    assert tables.main(["--json", "--latex"]) == 2
    assert "--json and --latex exclude each other" in capsys.readouterr().err


def test_complexity_of_dense_is_exact(tables, monkeypatch, capsys):
    monkeypatch.setattr(tables, "CLAIMS", {name: tables.CLAIMS[name] for name in ("dense", "TT")})
    assert tables.main(["--complexity", "--json"]) == 0
    found = {(r["system"], r["quantity"]): r for r in json.loads(capsys.readouterr().out)}
    assert found["dense", "forward"]["counted_growth"] == {"d": 0, "m": 0, "n": 0, "r": 0, "N": 1}
    claimed = found["TT", "numbers"]["claimed_growth"]
    assert claimed == {"d": 1, "m": 1, "n": 1, "r": 2, "N": 0}
    # The plans beat the claimed orders: a gradient costs about as much as the product.
    backward = found["TT", "backward"]
    assert backward["counted_growth"]["r"] < 2 < backward["claimed_growth"]["r"] == 4
    assert backward["counted"] < backward["claimed"]


def test_order_is_read_as_printed(tables):
    at = {"d": 3, "m": 4, "r": 2, "N": 64}
    assert tables._value("d m r^2 N + r^d", at) == 3 * 4 * 2**2 * 64 + 2**3
