"""What every program of the experiments does around its work.

An error of the user's making is one line, with the traceback only under --debug. Status 0 is
success, 2 such an error, 75 ("try again") a training run that a signal stopped after it had saved
everything, 130 an interruption by the keyboard of anything else.
"""

import math
import shlex
import sys
from collections.abc import Callable
from types import ModuleType

from ht_jax.train.errors import Stopped, UserError


def line() -> str:
    """The command line that started this program, for the files that it writes.

    A module is named as `python -m` was given it, not by its path on one machine.

    >>> line().split()[0]
    'python'
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = sys.argv[:1] if spec is None else ["-m", spec.name]
    return shlex.join(["python", *program, *sys.argv[1:]])


def run(action: Callable[[], object], *, debug: bool = False) -> int:
    """Runs a program's work and turns its end into an exit status.

    Args:
        action: The work.
        debug: Let errors through, with their traceback.

    Returns:
        The exit status.

    >>> run(lambda: 3)
    0
    """
    try:
        action()
    except (UserError, OSError, ImportError) as error:
        if debug:
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return 75
    except KeyboardInterrupt:
        print("interrupted: a training run resumes by the same command", file=sys.stderr)
        return 130
    return 0


def at_least(low: int, **options: float | None) -> None:
    """Checks numbers of a command line.

    Args:
        low: The least that each may be.
        **options: Numbers by the names of their options; None is let pass.

    Raises:
        UserError: If one is less.

    >>> at_least(1, batch_size=0)
    Traceback (most recent call last):
    ht_jax.train.errors.UserError: --batch-size is 0: pass 1 or more
    """
    for name, value in options.items():
        if value is not None and not low <= value < math.inf:
            raise UserError(f"--{name.replace('_', '-')} is {value}: pass {low} or more")


def require_tyro() -> ModuleType:
    """Imports the package that reads command lines.

    Returns:
        The module.

    Raises:
        ImportError: If it is not installed; the message names the extra.
    """
    try:
        import tyro
    except ImportError as error:
        raise ImportError("the command line needs tyro: pip install 'ht_jax[train]'") from error
    return tyro
