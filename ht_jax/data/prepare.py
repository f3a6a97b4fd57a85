"""Preparation of a TFDS data set on its first use: once, quietly, all or nothing, no network.

It is written into a folder of its own, which is renamed at the end: a data set that is there is
whole, and of several processes that prepare it at once the first to finish serves all.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ht_jax.data.optional import require
from ht_jax.digests import NAME as DIGESTS
from ht_jax.digests import check_digests, write_digests

DESCRIPTION = "*.json", "*.txt"  # files of a data set; its records carry hashes of their own


def prepared(
    name: str, builder_class: Callable[..., Any], data_dir: str | os.PathLike[str] | None = None
) -> Any:
    """A builder of the class whose data set is on disk, preparing it if it is not.

    Args:
        name: of the data set.
        builder_class: a `tfds.core.GeneratorBasedBuilder`, or what makes one for a `data_dir`.
        data_dir: the folder of TFDS data sets; None is TFDS's own, which is the environment
            variable TFDS_DATA_DIR or `~/tensorflow_datasets`.

    Returns:
        The builder.

    Raises:
        OSError: the folder cannot be written, or the data set in it is damaged.
    """
    for digests in (home(data_dir) / name).rglob(DIGESTS):
        check(digests.parent)
    builder = builder_class(data_dir=data_dir)
    if os.path.isdir(builder.data_dir):
        return builder
    write(builder_class, builder)
    return builder_class(data_dir=data_dir)


def opened(folder: Path) -> Any:
    """The builder of a data set on disk.

    Args:
        folder: of its version.

    Raises:
        OSError: it is damaged.
    """
    check(folder)
    return require("tensorflow_datasets").builder_from_directory(folder)


def check(folder: Path) -> None:
    """Checks that the description of a data set is what was written, if it was written here.

    Args:
        folder: of its version.

    Raises:
        OSError: it is not.
    """
    try:
        if (folder / DIGESTS).exists():
            check_digests(folder)
    except (OSError, ValueError) as error:
        raise OSError(
            f"the data set in {str(folder)!r} is damaged ({error}): remove that folder, and "
            "prepare it anew"
        ) from error


def home(data_dir: str | os.PathLike[str] | None) -> Path:
    """The folder of TFDS data sets: the one given, or TFDS's own."""
    tfds: Any = require("tensorflow_datasets")
    return Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()


def write(builder_class: Callable[..., Any], builder: Any, parent: str | None = None) -> None:
    """Writes the data set of a builder, all or nothing.

    Args:
        builder_class: makes a builder like it for any `data_dir`.
        builder: its `data_dir` is where the data set goes, unless it is there.
        parent: a folder for the unfinished files, on the same disk.

    Raises:
        OSError: the folder cannot be written.
    """
    try:
        _prepare(builder_class, builder.data_dir, parent)
    except OSError as error:
        # The rename fails when another process has prepared the data set meanwhile.
        if not os.path.isdir(builder.data_dir):
            raise OSError(
                f"cannot prepare the data set {builder.name!r} in {builder.data_dir!r} ({error}): "
                "pass data_dir= or set TFDS_DATA_DIR to a folder that can be written"
            ) from error


def _prepare(builder_class: Callable[..., Any], target: str, parent: str | None) -> None:
    tfds = require("tensorflow_datasets")
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    parent = parent or os.path.dirname(target)
    # TFDS names its unfinished folder after Python's global random state, so processes that seed
    # it alike would write into the same one.
    with tempfile.TemporaryDirectory(dir=parent, prefix="incomplete.") as staging:
        builder = builder_class(data_dir=staging)
        with _quiet(tfds):
            builder.download_and_prepare(file_format="array_record", download_config=config)
        write_digests(Path(builder.data_dir), *DESCRIPTION)
        os.rename(builder.data_dir, target)


@contextlib.contextmanager
def _quiet(tfds: Any) -> Iterator[None]:
    # TFDS has a switch for its progress bars but no way to ask how it stands.
    active = tfds.core.utils.tqdm_utils._active
    tfds.display_progress_bar(False)
    try:
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
            yield
    finally:
        tfds.display_progress_bar(active)
