"""The tables that `report.py` makes of results/: what was measured, beside what was published."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.configs import systems
from experiments.research import stats
from ht_jax.train import UserError
from ht_jax.train.table import print_table

COMPRESSED = {
    "compress_finetuned": "each matrix for itself",
    "finetune_joint": "both matrices as one joint tensor",
    "compress_plain": "singular values alone, no calibration",
}
NAMES = {"fdht_lstm": "FDHT-LSTM", "ht_lstm": "HT-LSTM", "lstm": "LSTM"}


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: stands above, where the form has titles.
        header: of the columns.
        rows: of texts.
        texts: how many columns, from the left, are texts and not numbers.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1

    def markdown(self) -> str:
        """As Markdown, numbers to the right."""
        rule = "".join("---|" if n < self.texts else "---:|" for n in range(len(self.header)))
        lines = [f"| {' | '.join(row)} |" for row in (self.header, *self.rows)]
        return "\n".join([lines[0], f"|{rule}", *lines[1:]])

    def print(self, form: str) -> None:
        """Prints it as "markdown", "latex", or "rich" for the terminal."""
        if form == "markdown":
            print(f"{self.markdown()}\n")
        else:
            print_table(form, self.title, self.header, self.rows)


def read(path: Path) -> dict[str, Any]:
    """Reads a result.

    Raises:
        UserError: it is not there, or no JSON.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): measure it first") from error


def all_tables(results: Path) -> list[Table]:
    """All tables there are, the accuracy study first."""
    study, vowels = (read(results / f"{name}.json") for name in ("study", "study_vowels"))
    repeats = read_repeats(results)
    return [
        published_sizes(study),
        budgets(study),
        compared(study),
        factors(read(results / "study_factors.json")),
        published_sizes(vowels),
        compared(vowels),
        runs_table(read_runs(results)),
        bench_table(read(results / "bench_layer.json")),
        compressed_table(results),
        repeats_table(repeats),
        published_table(repeats),
    ]


def read_runs(results: Path) -> dict[str, dict[str, Any]]:
    """The single runs on Moving Digits, fewest numbers first."""
    runs = {name: read(results / f"train_{key}.json") for key, name in NAMES.items()}
    return dict(sorted(runs.items(), key=lambda pair: pair[1]["matrix_params"]))


def read_repeats(results: Path) -> dict[str, dict[str, Any]]:
    """The repeated runs, by preset."""
    paths = sorted(results.glob("repeat_*.json"))
    return {path.stem.removeprefix("repeat_"): read(path) for path in paths}


def runs_table(runs: dict[str, dict[str, Any]]) -> Table:
    """Of single runs."""
    header = "system,numbers in the compressed matrices,compression,test accuracy,training"
    rows = [
        (
            name,
            f"{run['matrix_params']:,}",
            f"{run['compression_ratio']:,.0f}x",
            f"{run['test_accuracy']:.1%}",
            f"{run['steps']} steps in {run['seconds'] + run['compile_seconds']:.0f} s",
        )
        for name, run in runs.items()
    ]
    return Table("Moving Digits, one seed", header.split(","), rows)


def compressed_table(results: Path) -> Table:
    """Of the dense LSTM, compressed to a thousandth and less."""
    rows = []
    for name, method in COMPRESSED.items():
        found = read(results / f"{name}.json")
        small = [row for row in found["rows"] if row["params"] * 900 < found["dense"]["params"]]
        rows += [_compressed(method, row) for row in sorted(small, key=lambda row: -row["params"])]
    dense = read(results / "compress_finetuned.json")["dense"]
    rows.append(("dense", f"{dense['params']:,}", "", f"{dense['test_accuracy']:.1%}", ""))
    header = (
        "compression",
        "numbers in the model",
        "for the input",
        "test accuracy",
        "after 50 steps of fine-tuning",
    )
    return Table("A dense LSTM, compressed", header, rows)


def _compressed(method: str, row: dict[str, Any]) -> tuple[str, ...]:
    numbers, tuned = row.get("input_to_hidden"), row.get("finetuned_test_accuracy")
    times = numbers and f"{numbers:,} ({row['input_to_hidden_dense'] / numbers:,.0f}x fewer)"
    after = "" if tuned is None else f"{tuned:.1%}"
    return method, f"{row['params']:,}", times or "", f"{row['test_accuracy']:.1%}", after


def bench_table(bench: dict[str, Any]) -> Table:
    """Of a benchmark."""
    rows = []
    for row in (row for row in bench["rows"] if "ms" in row):
        low, high = row["times_faster_range"]
        ratio = f"{row['times_faster']:.1f} ({low:.1f} to {high:.1f})"
        rows.append((row["system"], f"{row['params']:,}", f"{row['ms']:.1f}", ratio))
    header = ("one training step", "numbers", "ms", "times faster (range)")
    return Table("Time of one training step", header, rows)


def repeats_table(repeats: dict[str, dict[str, Any]]) -> Table:
    """Of repeated runs, whatever their data."""
    rows = []
    for name, found in repeats.items():
        run = found["runs"][0]
        data, mean = run["config"]["data"]["name"], stats.Mean(**found["mean"])
        numbers = (f"{run['params']:,}", f"{run['matrix_params']:,}", mean.percent())
        rows.append((name, data, *numbers, str(len(found["runs"]))))
    header = (
        "preset",
        "data",
        "numbers in all",
        "in the compressed matrices",
        "test accuracy",
        "runs",
    )
    return Table("Repeated runs, mean and 95 % interval", header, rows, texts=2)


def published_table(repeats: dict[str, dict[str, Any]]) -> Table:
    """The papers' rows, each beside what its preset reached here; other work follows."""
    rows = []
    for system in systems.SYSTEMS:
        key = f"{system.dataset.lower()}_{systems.key(system.name)}"
        reached = stats.Mean(**repeats[key]["mean"]).percent() if key in repeats else "-"
        accuracy = "-" if system.accuracy is None else f"{system.accuracy:.1f} %"
        params = "-" if system.params is None else f"{system.params:,}"
        rows.append((system.name, system.dataset, params, accuracy, reached))
    rows += [(name, data, "-", f"{accuracy} %", "-") for name, data, accuracy, _ in systems.OTHERS]
    header = ("system", "data", "numbers", "published accuracy", "measured here")
    return Table("Published and measured", header, rows, texts=2)


def published_sizes(study: dict[str, Any]) -> Table:
    """Of the accuracy study: the systems at their published sizes."""
    rows = [
        (
            row["system"],
            f"{row['matrix_params']:,}",
            f"{row['params']:,}",
            stats.Mean(**row["mean"]).percent(),
            f"{row['learning_rate']:g}",
        )
        for row in sorted(study["systems"], key=lambda row: -row["mean"]["value"])
        if row["budget"] is None
    ]
    header = ("system", "numbers in the matrix", "in all", "test accuracy", "learning rate")
    title = f"{study['data']}: {len(study['seeds'])} seeds, {study['steps']} steps"
    return Table(title, header, rows)


def budgets(study: dict[str, Any]) -> Table:
    """Of the accuracy study: the largest size of each family within each budget."""
    known = sorted({row["budget"] for row in study["systems"]} - {None})
    families = dict.fromkeys(row["family"] for row in study["systems"] if row["format"])
    rows = [(name, *(_within(study, name, budget) for budget in known)) for name in families]
    header = ("test accuracy within", *(f"{budget:,} numbers" for budget in known))
    return Table(f"{study['data']}: equal budgets", header, rows)


def _within(study: dict[str, Any], family: str, budget: int) -> str:
    rows = [row for row in study["systems"] if row["family"] == family]
    rows = [row for row in rows if row["matrix_params"] <= budget]
    if not rows:
        return "-"
    largest = max(rows, key=lambda row: row["matrix_params"])
    return f"{stats.Mean(**largest['mean']).percent()} ({largest['matrix_params']:,})"


def compared(study: dict[str, Any]) -> Table:
    """Of the accuracy study: the comparisons fixed beforehand."""
    rows = [
        (
            f"{row['first']} - {row['second']}",
            f"{100 * row['difference']:+.1f} ± {100 * row['half_width']:.1f}",
            f"{row['p_value']:.2g}",
            f"{row['p_holm']:.2g}",
        )
        for row in study["comparisons"]
    ]
    header = ("difference", "points", "p, paired by seed", "p, Holm")
    return Table("Comparisons fixed beforehand", header, rows)


def factors(found: dict[str, Any]) -> Table:
    """Of the factors of the study's classes, and of the accuracy during training."""
    names = ("both", "item", "direction")
    steps = list(found["systems"][0]["curve"])
    rows = [
        (
            row["system"],
            *(stats.Mean(**row[name]).percent() for name in names),
            *(f"{100 * row['curve'][step]:.1f} %" for step in steps),
        )
        for row in found["systems"]
    ]
    header = ("system", "validation accuracy", *names[1:], *(f"step {step}" for step in steps))
    return Table("Item and direction apart, and accuracy during training", header, rows)
