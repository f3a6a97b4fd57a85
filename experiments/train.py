"""Trains a recurrent video classifier: `python experiments/train.py [PRESET] [--steps N ...]`.

This file is kept short: the presets are in configs/, everything else in `ht_jax.train`.
"""

import sys
from collections.abc import Sequence

from configs import DEFAULT, PRESETS

from ht_jax.train import TrainConfig, UserError, command, train


def parse(args: Sequence[str]) -> TrainConfig:
    """Reads a command line.

    Args:
        args: A preset (or none, for the default) and the options that change it.

    Returns:
        The configuration.

    Raises:
        UserError: If there is no such preset.
    """
    tyro = command.require_tyro()
    args = ["--data.data-dir" if each == "--data-dir" else each for each in args]
    if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
        args = [DEFAULT, *args]
    name = args[0].replace("-", "_")
    if not args[0].startswith("-") and name not in PRESETS:
        raise UserError(f"unknown preset {args[0]!r}: choose one of {', '.join(PRESETS)}")
    help_text = f"Trains a recurrent video classifier; {DEFAULT} unless a preset is named."
    return tyro.extras.overridable_config_cli(PRESETS, args=args, description=help_text)


def main(args: Sequence[str]) -> int:
    """Trains as the command line says; returns the exit status."""
    return command.run(lambda: train(parse(args)), debug="--debug" in args)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
