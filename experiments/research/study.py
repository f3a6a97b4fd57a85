"""The accuracy study: `python -m experiments.research.study --data-dir DIR [--plan]`.

First it states the hours that are left, from steps measured here. Then every family tries the same
number of learning rates on validation clips, and every system trains with the chosen one and all
seeds. The same command again carries on; --plan stops after the estimate. The result is written
anew after every system, so a part of the study can be read while the rest of it runs.

Fixed beforehand: accuracies are of the test split, measured once, after the last step; HT at 1,245
numbers is compared with LSTM, TT, TR, BT and KCP at their published sizes, and with those of at
most 1,250 numbers, by two-sided t-tests paired by seed, corrected by Holm, at the level 0.05. On
Japanese Vowels (--data) FDHT is compared with all others.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.research import stats
from experiments.research.runs import Run, at, work
from experiments.research.study_systems import RATES, Data, StudySystem, cannot, systems
from ht_jax.files import check_file, write_json
from ht_jax.train import UserError, command, train
from ht_jax.train.report import versions

TUNING_SEED = 100  # none of the seeds that are reported
TIMED_STEPS = 12
COMPARED: dict[Data, tuple[tuple[str, str], ...]] = {
    "moving_fashion_mnist": (
        *(("HT", name) for name in ("LSTM", "TT", "TR", "BT", "KCP")),
        *(("HT", f"{name}-1250") for name in ("TT", "TR", "BT", "KCP")),
        ("FDHT", "LSTM"),
    ),
    "japanese_vowels": tuple(("FDHT", n) for n in ("LSTM", "GRU", "TT", "TR", "BT", "KCP")),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """The accuracy study."""

    data: Data = "moving_fashion_mnist"
    """What to train on."""
    workdir: Path = Path("runs/study")
    """Folder of all runs on these data."""
    data_dir: Path | None = None
    """Folder of the prepared data; None is TFDS's own."""
    steps: int = 1000
    """Optimizer steps of a run, of 32 clips each."""
    seeds: int = 5
    """Runs of every system."""
    first_seed: int = 0
    """Seed of the first of them."""
    improved: bool = False
    """All systems with normalised projections, and Muon for their cores."""
    only: tuple[str, ...] = ()
    """Families to train, such as HT TT; all unless given."""
    published: bool = False
    """The published sizes alone, without those of equal budgets."""
    plan: bool = False
    """State what would be run and how long it takes, and stop."""
    json_file: Path | None = None
    """Where to write the result, too."""
    debug: bool = False
    """Show the traceback of an error."""


def tuning(options: Options, system: StudySystem) -> list[Run]:
    """The runs that choose a family's learning rate; they never measure the test split."""

    def run(rate: float) -> Run:
        name = f"tune_{system.family}_{rate:g}"
        config = _config(options, system, rate, name, TUNING_SEED)
        return Run(system.family, dataclasses.replace(config, test=False))

    return [run(rate) for rate in RATES]


def best_rate(runs: Sequence[Run]) -> float:
    """The learning rate with the best validation accuracy; the lower one of two that tie."""
    found = [(run.result, run.config.optimizer.learning_rate) for run in runs]
    return max(found, key=lambda pair: (pair[0].validation_accuracy, -pair[1]))[1]


def measured(options: Options, system: StudySystem, rate: float) -> list[Run]:
    """The runs of a system that are reported."""
    return [
        Run(system.name, _config(options, system, rate, system.name, seed))
        for seed in _seeds(options)
    ]


def _seeds(options: Options) -> range:
    return range(options.first_seed, options.first_seed + options.seeds)


def _config(options: Options, system: StudySystem, rate: float, name: str, seed: int) -> Any:
    config = system.config(rate, options.steps, options.data_dir, improved=options.improved)
    return at(config, options.workdir, name.replace("-", "_"), seed, None)


def costs(options: Options, families: Sequence[StudySystem]) -> dict[str, dict[str, float]]:
    """Seconds of a step, and of what a run costs besides, by family; measured once and kept."""
    path = options.workdir / "costs.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for system in families:
        if system.family not in known:
            print(f"timing {system.family}", flush=True)
            known[system.family] = _time(options, system)
            write_json(path, known)
    return known


def _time(options: Options, system: StudySystem) -> dict[str, float]:
    config = system.config(RATES[0], TIMED_STEPS, options.data_dir, improved=options.improved)
    workdir = options.workdir / "timing" / system.family
    start = time.perf_counter()
    summary = train(dataclasses.replace(config, workdir=workdir, quiet=True))
    return {
        "step": summary.seconds / (TIMED_STEPS - 1),
        "rest": time.perf_counter() - start - summary.seconds,
    }


def hours(options: Options, chosen: Sequence[StudySystem], cost: dict[str, Any]) -> float:
    """Hours of all unfinished runs.

    Args:
        options: the command line.
        chosen: the systems.
        cost: what `costs` measured.
    """
    total = 0.0
    for system in chosen:
        runs = measured(options, system, RATES[0])
        runs += tuning(options, system) if system.budget is None else []
        left = sum(run.summary is None for run in runs)
        one = cost[system.family]
        total += left * (options.steps * one["step"] + one["rest"])
    return total / 3600


def result(options: Options, runs: dict[StudySystem, list[Run]]) -> dict[str, Any]:
    """What is reported, of finished runs.

    Args:
        options: the command line.
        runs: of every system.
    """
    accuracies = {s.name: [run.test_accuracy for run in found] for s, found in runs.items()}
    compared = _comparisons(COMPARED[options.data], accuracies) if options.seeds > 1 else []
    rows = [_row(system, found) for system, found in runs.items()]
    return {
        "command": command.line(),
        "versions": versions(),
        "data": options.data,
        "steps": options.steps,
        "seeds": list(_seeds(options)),
        "improved": options.improved,
        "systems": rows,
        "comparisons": _holm(compared, len(COMPARED[options.data])),
        "cannot": cannot() if options.data == "moving_fashion_mnist" else [],
    }


def _row(system: StudySystem, runs: Sequence[Run]) -> dict[str, Any]:
    summaries = [run.result for run in runs]
    values = [run.test_accuracy for run in runs]
    return {
        "system": system.name,
        "family": system.family,
        "format": None if system.fmt is None else repr(system.fmt),
        "budget": system.budget,
        "matrix_params": system.matrix_params,
        "params": summaries[0].params,
        "learning_rate": runs[0].config.optimizer.learning_rate,
        "test_accuracies": values,
        "mean": dataclasses.asdict(stats.mean(values)),
        "seconds": sum(summary.seconds for summary in summaries) / len(summaries),
    }


def _comparisons(
    pairs: Sequence[tuple[str, str]], accuracies: dict[str, list[float]]
) -> list[dict[str, Any]]:
    return [
        {"first": a, "second": b, **dataclasses.asdict(stats.paired(accuracies[a], accuracies[b]))}
        for a, b in pairs
        if a in accuracies and b in accuracies
    ]


def _holm(rows: list[dict[str, Any]], planned: int) -> list[dict[str, Any]]:
    """Adds Holm's corrected p-values: the k-th smallest of n times n - k + 1, made to ascend.

    n is `planned`: it counts every comparison of the plan, those still to be run too.
    """
    largest = 0.0
    for rank, row in enumerate(sorted(rows, key=lambda row: row["p_value"])):
        largest = max(largest, min(1.0, (planned - rank) * row["p_value"]))
        row["p_holm"] = largest
    return rows


def study(options: Options) -> None:
    """States the hours, then tunes, trains and reports.

    Args:
        options: the command line.
    """
    known = systems(options.data)
    chosen = [s for s in known if not options.only or s.family in options.only]
    chosen = [s for s in chosen if s.budget is None or not options.published]
    if not chosen:
        families = ", ".join(dict.fromkeys(s.family for s in known))
        raise UserError(f"--only {' '.join(options.only)} names no family: choose from {families}")
    command.at_least(1, seeds=options.seeds, steps=options.steps)
    command.at_least(0, first_seed=options.first_seed)
    if options.json_file is not None:
        check_file(options.json_file)
    firsts = [system for system in chosen if system.budget is None]
    estimate = hours(options, chosen, costs(options, firsts))
    runs = len(chosen) * options.seeds + len(firsts) * len(RATES)
    print(f"{len(chosen)} systems, {runs} runs of {options.steps} steps: {estimate:.1f} hours left")
    if options.data == "moving_fashion_mnist":
        print("\n".join(cannot()))
    if not options.plan:
        run_all(options, chosen, firsts)


def run_all(options: Options, chosen: Sequence[StudySystem], firsts: Sequence[StudySystem]) -> None:
    """Tunes every family, then trains every system and reports what is finished.

    Args:
        options: the command line.
        chosen: all systems.
        firsts: those of them at the published size, on which a family is tuned.
    """
    found: dict[StudySystem, list[Run]] = {}
    rates: dict[str, float] = {}
    for system in chosen:
        if system in firsts:
            work(tuning(options, system))
            rates[system.family] = best_rate(tuning(options, system))
        found[system] = measured(options, system, rates[system.family])
        work(found[system])
        write_result(options, found)


def write_result(options: Options, runs: dict[StudySystem, list[Run]]) -> None:
    """Writes the result beside the runs, and where it was asked for."""
    found = result(options, runs)
    write_json(options.workdir / "study.json", found)
    if options.json_file is not None:
        write_json(options.json_file, found)
    row = found["systems"][-1]
    print(f"{row['system']}: {stats.Mean(**row['mean']).percent()}", flush=True)


def main(args: Sequence[str]) -> int:
    """Studies as the command line says; returns the exit status."""
    return command.run(
        lambda: study(command.require_tyro().cli(Options, args=args)), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
