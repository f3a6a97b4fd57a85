"""Presets on real sequences of a few features: who speaks a vowel, which digit is spoken.

Sizes, rates and dropout were chosen on the validation part of the training split.
"""

from pathlib import Path

from ht_jax.train import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

HIDDEN = 128
VOWELS = 12  # features a frame
# [x; h] of 12 + 128 numbers, as 5 * 4 * 7, to 128 = 8 * 4 * 4 numbers of each gate.
FDHT = "HT(in_modes=(5, 4, 7), out_modes=(8, 4, 4), leaf_rank=6, rank=6)"
# [x; h] of 13 + 128 numbers, as 6 * 4 * 6.
FDHT_DIGITS = "HT(in_modes=(6, 4, 6), out_modes=(8, 4, 4), leaf_rank=6, rank=6)"


def _preset(name: str, data: str, joint: str | None, rate: float) -> TrainConfig:
    model = ModelConfig(
        hidden=HIDDEN, joint=joint, pixel_scale=1.0, dropout=0.3, recurrent_dropout=0.4
    )
    return TrainConfig(
        model=model,
        data=DataConfig(data),
        optimizer=OptimizerConfig(rate),
        workdir=Path("runs") / name,
        steps=1000,
        batch_size=24,
    )


PRESETS = {
    "vowels_lstm": (
        "LSTM on Japanese Vowels, official split.",
        _preset("vowels_lstm", "japanese_vowels", None, 3e-3),
    ),
    "vowels_fdht_lstm": (
        "FDHT-LSTM on Japanese Vowels, official split.",
        _preset("vowels_fdht_lstm", "japanese_vowels", FDHT, 1e-2),
    ),
    "spoken_digits_lstm": (
        "LSTM on spoken digits.",
        _preset("spoken_digits_lstm", "spoken_digits", None, 3e-3),
    ),
    "spoken_digits_fdht_lstm": (
        "FDHT-LSTM on spoken digits.",
        _preset("spoken_digits_fdht_lstm", "spoken_digits", FDHT_DIGITS, 1e-2),
    ),
}
