"""A preset for every row of the papers' tables, trained as published code or text says.

The formats are those of `systems.py`. Steps are epochs of the documented number of training
clips, of which a tenth is kept for validation; what a paper does not say follows BT-LSTM's recipe.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import ht_jax as ht
from ht_jax.train import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

from . import systems

# data set -> name, protocol of the papers, training clips
DATA = {
    "UCF11": ("ucf11", "holdout_80_20", 1152),
    "YTC": ("youtube_celebrities", "random_5fold", 1375),
    "UCF50": ("ucf50", "random_5fold", 4810),
    "HMDB51": ("hmdb51", "official", 3213),
}
BATCH = 16
CNN = "inception_v3"
# Not published: ours, of the same features.
CNN_HT = ht.HT((8, 16, 16), (8, 16, 16), leaf_rank=4, rank=5)


BT = OptimizerConfig(1e-4, warmup_steps=0, schedule="inverse", decay=1.667e-4, clip_norm=0.0)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a system was trained; the defaults are those of BT-LSTM.

    Attributes:
        optimizer: Adam and its schedule.
        epochs: passes over the training clips.
        dropout: before the classifier.
        recurrent_dropout: of the hidden state.
        protocol: how clips are divided; None is the data set's in the papers.
    """

    optimizer: OptimizerConfig = BT
    epochs: int = 500
    dropout: float = 0.25
    recurrent_dropout: float = 0.0
    protocol: str | None = None


def _tt(rate: float) -> Recipe:
    optimizer = OptimizerConfig(
        rate, warmup_steps=0, schedule="constant", clip_norm=0.0, classifier_l2=1e-2
    )
    return Recipe(optimizer, dropout=0.25, recurrent_dropout=0.25, protocol="random_5fold")


def _features(epoch: int) -> Recipe:
    """TR-LSTM's on CNN features: the rate falls at epochs 100 and 200 of 300."""
    drops = {"schedule": "drops", "drop_every": 100 * epoch, "drop_factor": 0.2}
    optimizer = OptimizerConfig(2e-4, warmup_steps=0, clip_norm=0.0, weight_decay=1.667e-4, **drops)
    return Recipe(optimizer, epochs=300, dropout=0.0)


def preset(system: systems.System, dataset: str) -> tuple[str, str, TrainConfig]:
    """The preset of a row: its name, what it is, its configuration.

    Args:
        system: the row.
        dataset: in `DATA`.
    """
    name, protocol, clips = DATA[dataset]
    epoch = math.ceil(clips / BATCH)
    recipe = _recipe(system, dataset, epoch)
    steps, cnn = recipe.epochs * epoch, "CNN" in system.name or system.size == (2048, 2048)
    data = DataConfig(name, protocol=recipe.protocol or protocol, cnn=CNN if cnn else None)
    key = f"{dataset.lower()}_{systems.key(system.name)}"
    config = TrainConfig(
        model=_model(system, recipe, cnn),
        data=dataclasses.replace(data, num_frames=6),
        optimizer=recipe.optimizer,
        workdir=Path("runs") / key,
        steps=steps,
        batch_size=BATCH,
        eval_every=10 * epoch,
        checkpoint_every=10 * epoch,
        log_every=epoch,
    )
    return key, _about(system, dataset), config


def _recipe(system: systems.System, dataset: str, epoch: int) -> Recipe:
    if system.size == (2048, 2048) or "CNN" in system.name:
        return _features(epoch)
    if system.name.startswith("TT"):
        return _tt(1e-3 if dataset == "YTC" else 1e-4)
    return Recipe()


def _model(system: systems.System, recipe: Recipe, cnn: bool) -> ModelConfig:
    cell = system.cell or ht.nn.LSTMCell
    fmt = CNN_HT if system.cell is None else system.fmt
    formats: dict[str, Any] = {} if fmt is None else {system.place: repr(fmt)}
    return ModelConfig(
        cell="gru" if cell is ht.nn.GRUCell else "lstm",
        hidden=systems.CNN if cnn else systems.HIDDEN,
        pixel_scale=1.0 if cnn else 1 / 255,
        dropout=recipe.dropout,
        recurrent_dropout=recipe.recurrent_dropout,
        **formats,
    )


def _about(system: systems.System, dataset: str) -> str:
    published = f", published accuracy {system.accuracy} %" if system.accuracy else ""
    return f"{system.name} on {dataset}{published}."


def _rows() -> list[tuple[systems.System, str]]:
    """FDHT was measured on several sets: one row each for two of them."""
    rows = []
    for system in systems.SYSTEMS:
        several = system.dataset == "several"
        if several:
            system = dataclasses.replace(system, name=f"CNN + {system.name}")
        rows += [(system, d) for d in (("UCF11", "HMDB51") if several else (system.dataset,))]
    return rows


PRESETS = {key: (about, config) for key, about, config in (preset(*row) for row in _rows())}
