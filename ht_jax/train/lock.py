"""One run a workdir: a lock that the system lets go when its process ends, however that ends.

The file that carries it stays behind and means nothing by itself.
"""

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from ht_jax.train.errors import UserError


@contextlib.contextmanager
def locked(workdir: Path, *, holds: bool = True) -> Iterator[None]:
    """Holds the lock of a workdir.

    Args:
        workdir: The run's folder; it exists.
        holds: Whether this process holds it; of several, one does.

    Yields:
        None.

    Raises:
        UserError: If another run holds it.
    """
    with contextlib.ExitStack() as stack:
        if holds:
            _lock(stack.enter_context((workdir / ".lock").open("a+")), workdir)
        yield


def _lock(file, workdir: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        raise UserError(
            f"workdir {workdir} is in use by {file.read().strip() or 'another run'}: wait for it, "
            "stop it, or choose another --workdir"
        ) from error
    file.truncate(0)
    print(f"process {os.getpid()} on {platform.node()}", file=file, flush=True)
