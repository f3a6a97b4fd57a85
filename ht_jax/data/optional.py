"""Imports of packages that only an extra installs.

`import ht_jax.data` stays light: heavy packages are imported by the function that needs them.
"""

import importlib
from types import ModuleType


def require(module: str, extra: str = "train") -> ModuleType:
    """Imports a module of an extra, or one of ours that needs such a package.

    Args:
        module: the full dotted name.
        extra: the extra that installs it.

    Returns:
        The module.

    Raises:
        ImportError: a package is missing; the message names it and the extra.

    Example:
        >>> require("no_such_package")
        Traceback (most recent call last):
        ImportError: ht_jax.data needs the package 'no_such_package': pip install 'ht_jax[train]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = str(error.name).split(".")[0]
        if package == "ht_jax":
            raise
        message = f"ht_jax.data needs the package {package!r}: pip install 'ht_jax[{extra}]'"
        raise ImportError(message) from error
