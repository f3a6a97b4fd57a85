"""Trains a recurrent video classifier: `python experiments/train.py [PRESET] [--steps N ...]`.

This file is kept short: the presets are in configs/, everything else in `ht_jax.train`.
"""

import sys
from collections.abc import Sequence

from configs import parse

from ht_jax.train import command, train


def main(args: Sequence[str]) -> int:
    """Trains as the command line says; returns the exit status."""
    return command.run(lambda: train(parse(args)), debug="--debug" in args)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
