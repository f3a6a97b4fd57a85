"""The presets: name -> (what it is, configuration).

`digits` runs at once on the embedded data, `sequences` on those of two small packages, `papers` on
the data of the papers, which the user holds.
"""

from collections.abc import Sequence

from ht_jax.train import TrainConfig, UserError, command

from . import digits, papers, sequences

DEFAULT = "fdht_lstm"
PRESETS: dict[str, tuple[str, TrainConfig]] = {
    **digits.PRESETS,
    **sequences.PRESETS,
    **papers.PRESETS,
}


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
