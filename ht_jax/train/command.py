"""What every program of the experiments does around its work.

An error of the user's making is one line, with the traceback only under --debug. Status 0 is
success, 2 such an error, 75 ("try again") a training run that a signal stopped after it had saved
everything, 130 an interruption by the keyboard of anything else.
"""

import sys
from collections.abc import Callable
from types import ModuleType

from ht_jax.train.errors import Stopped, UserError


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
