"""Presets on Moving Digits, the embedded data: the systems in a minute or two.

All classify the motion of 57,600-number frames with 256 hidden features; they differ in the
matrices that a format replaces, and the dense one in its learning rate.
"""

from pathlib import Path

from ht_jax.train import ModelConfig, OptimizerConfig, TrainConfig


def _preset(name: str, model: ModelConfig, **optimizer: float) -> TrainConfig:
    return TrainConfig(
        model=model,
        optimizer=OptimizerConfig(**{"learning_rate": 1e-2, **optimizer}),  # pyright: ignore
        workdir=Path("runs") / name,
    )


PRESETS: dict[str, tuple[str, TrainConfig]] = {
    "fdht_lstm": (
        "FDHT-LSTM: one HT tensor for the input-to-hidden and the hidden-to-hidden matrix.",
        _preset(
            "fdht_lstm",
            ModelConfig(
                joint="HT(in_modes=(9, 10, 10, 9, 8), out_modes=(4, 4, 2, 4, 2), "
                "leaf_rank=4, rank=5)"
            ),
        ),
    ),
    "ht_lstm": (
        "HT-LSTM: an HT tensor for the input-to-hidden matrix.",
        _preset(
            "ht_lstm",
            ModelConfig(
                input="HT(in_modes=(8, 10, 10, 9, 8), out_modes=(4, 4, 2, 4, 2), "
                "leaf_rank=4, rank=5)"
            ),
        ),
    ),
    "lstm": (
        "LSTM: dense matrices, the baseline.",
        _preset("lstm", ModelConfig(), learning_rate=3e-3, fan_in=256),
    ),
}
