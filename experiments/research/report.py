"""Tables and pictures of what was measured: `python -m experiments.research.report`.

Reads the JSON files in results/ and writes nothing that is not in them: single and repeated runs,
the benchmark of layers, compressed models, the accuracy study. With --runs it draws learning
curves, confusion matrices and sample clips of finished runs, from their folders.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from experiments.research import pictures, results_tables
from ht_jax.files import check_folder
from ht_jax.train import UserError, command
from ht_jax.train.restore import read_config

RESULTS = Path(__file__).parents[1] / "results"


def report(
    results: Path = RESULTS,
    /,
    *,
    form: Literal["rich", "markdown", "latex"] = "markdown",
    pictures_dir: Path | None = None,
    runs: tuple[Path, ...] = (),
    debug: bool = False,
) -> None:
    """Prints the measured results, and draws them.

    Args:
        results: Folder with the JSON files.
        form: For the terminal, the README, or a paper.
        pictures_dir: Folder for the pictures; none are drawn unless given.
        runs: Folders of finished runs, to be drawn too.
        debug: Show the traceback of an error.
    """
    del debug  # read before the command line is parsed
    _check(results, pictures_dir, runs)
    for table in results_tables.all_tables(results):
        table.print(form)
    if pictures_dir is not None:
        draw(results, pictures_dir)
        draw_runs(runs, pictures_dir)


def _check(results: Path, pictures_dir: Path | None, runs: Sequence[Path]) -> None:
    if not results.is_dir():
        raise UserError(f"{results} is no folder: pass that of the JSON files")
    if runs and pictures_dir is None:
        raise UserError("--runs draws pictures: pass --pictures-dir too")
    if pictures_dir is not None:
        check_folder(pictures_dir)
    for workdir in runs:
        read_config(workdir)


def draw(results: Path, folder: Path) -> None:
    """Draws the overview of accuracy and speed, and the compressed models.

    Args:
        results: folder with the JSON files.
        folder: for the pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study, bench = (results_tables.read(results / f"{n}.json") for n in ("study", "bench_layer"))
    pictures.overview(study, bench, folder / "overview.png")
    compressed = [results_tables.read(path) for path in sorted(results.glob("compress_*.json"))]
    pictures.compression(compressed, folder / "compress.png")


def draw_runs(workdirs: Sequence[Path], folder: Path) -> None:
    """Draws curves, confusion matrices and sample clips of finished runs.

    Args:
        workdirs: of the runs.
        folder: for the pictures.
    """
    if workdirs:
        pictures.curves(workdirs, folder / "curves.png")
    for workdir in workdirs:
        draw_run(workdir, folder)


def draw_run(workdir: Path, folder: Path, clips: int = 6) -> None:
    """Draws the confusion matrix, and clips of the test split with what the model takes them for.

    Args:
        workdir: of the run.
        folder: for the pictures.
        clips: how many.
    """
    import jax
    import numpy as np

    from ht_jax.train import evaluate_run, load_run
    from ht_jax.train.curve import plot_confusion
    from ht_jax.train.step import split_model

    _, task = load_run(workdir)
    result = evaluate_run(workdir, ["test"], task)["test"]
    plot_confusion(folder / f"confusion_{workdir.name}.png", result, workdir.name)
    if len(task.clip_shape) != 4:
        return  # features and sequences are no pictures
    batch = next(iter(task.eval_batches("test")))
    apply, params = split_model(task.model)
    found = np.argmax(jax.jit(apply)(params, batch["frames"][:clips]), axis=-1)
    labels, names = batch["label"][:clips], task.class_names
    texts = [f"{names[label]}: taken for {names[guess]}" for label, guess in zip(labels, found)]
    path = folder / f"samples_{workdir.name}.png"
    pictures.samples(batch["frames"][:clips], texts, list(labels == found), path)


def main(args: Sequence[str]) -> int:
    """Reports as the command line says; returns the exit status."""
    return command.run(
        lambda: command.require_tyro().cli(report, args=args), debug="--debug" in args
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
