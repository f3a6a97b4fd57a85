"""The presets: name -> (what it is, configuration).

`digits` runs at once on the embedded data, `sequences` on those of two small packages, `papers` on
the data of the papers, which the user holds, and `study` is the comparison of all systems.
"""

from configs import digits, papers, sequences
from ht_jax.train import TrainConfig

DEFAULT = "fdht_lstm"
PRESETS: dict[str, tuple[str, TrainConfig]] = {
    **digits.PRESETS,
    **sequences.PRESETS,
    **papers.PRESETS,
}
