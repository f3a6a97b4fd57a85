"""One file for each clip while a set is being prepared: made in parallel, resumed after a kill.

A file appears by a rename, so one that is there is whole; what is there is not made again.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from ht_jax.data.video.decode import BadClip

Advance = Callable[[int, int], None]  # told (clips done, clips in all)


def stage(
    names: Sequence[str],
    make: Callable[[str], np.ndarray],
    folder: Path,
    *,
    workers: int,
    keep_going: bool,
    advance: Advance = lambda done, total: None,
) -> dict[str, str]:
    """Makes the files that are missing.

    Args:
        names: of the clips.
        make: the array of a clip; it may run in several threads at once.
        folder: for the files.
        workers: threads. Decoding leaves Python's lock, so a thread keeps a core busy.
        keep_going: whether a bad clip is noted, or ends the work.
        advance: told of every clip that is done.

    Returns:
        The bad clips: name -> what is wrong.

    Raises:
        BadClip: the first bad clip, unless the work keeps going.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in names if not staged(folder, name).exists()]
    done, bad = len(names) - len(missing), {}
    advance(done, len(names))
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(_make, folder, name, make): name for name in missing}
        try:
            for future in as_completed(futures):
                name, done = futures[future], done + 1
                try:
                    future.result()
                except BadClip as error:
                    if not keep_going:
                        raise BadClip(f"{name} {error}") from error
                    bad[name] = str(error)
                advance(done, len(names))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return bad


def staged(folder: Path, name: str) -> Path:
    """The file of a clip; names that differ only in their slashes would clash, and none do."""
    return folder / (name.replace("/", "--") + ".npy")


def _make(folder: Path, name: str, make: Callable[[str], np.ndarray]) -> None:
    path = staged(folder, name)
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    with unfinished.open("wb") as file:
        try:
            np.save(file, make(name), allow_pickle=False)
        except BadClip:
            unfinished.unlink()
            raise
    unfinished.replace(path)
