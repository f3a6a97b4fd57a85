"""What a run learns: a model and the batches to learn it from, behind one small face.

`build_task` makes it from a configuration; anyone may hand `train` a task of their own.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from ht_jax import data as clips
from ht_jax import nn
from ht_jax.formats import Format, parse_format
from ht_jax.models import VideoClassifier
from ht_jax.train.config import ModelConfig, TrainConfig
from ht_jax.train.counts import Counts, count
from ht_jax.train.errors import UserError
from ht_jax.train.parallel import HostBatch

_CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "simple": nn.SimpleCell}


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A model and its data.

    Args:
        model: A module with the call `model(frames, *, rngs=None) -> logits`, and `seq_lengths=` if
            its batches have a "length".
        train_batches: From a number of steps done to the batches that follow, without end; each
            holds this process' share of "frames", "label" and, where clips differ, "length".
        eval_batches: From the name of a split to its batches, every example once; each holds a
            "mask" too, False for padding.
        class_names: The names of the classes.
        clip_shape: Frames, height, width and channels of a clip; or frames and features.
        counts: How many numbers the model holds.
        train_ids: From a step to the numbers of the training records in its global batch, if the
            data can tell.
        wrap: What becomes of the optimizer before it is used, its state being the same; None
            leaves it.

    Example:
        >>> import itertools, numpy as np
        >>> clips = {"frames": np.zeros((4, 2, 2, 2, 3), np.uint8), "label": np.zeros(4, np.int32)}
        >>> split = [{**clips, "mask": np.ones(4, bool)}]
        >>> rngs = nnx.Rngs(0)
        >>> model = VideoClassifier(nn.RNN(nn.GRUCell(12, 8, rngs=rngs)), 8, 2, rngs=rngs)
        >>> batches = lambda start: itertools.repeat(clips), lambda name: split
        >>> task = Task(model, *batches, ("down", "up"), (2, 2, 2, 3), Counts(530, 480, 480))
        >>> next(task.train_batches(0))["frames"].shape
        (4, 2, 2, 2, 3)
    """

    model: nnx.Module
    train_batches: Callable[[int], Iterator[HostBatch]]
    eval_batches: Callable[[str], Iterable[HostBatch]]
    class_names: tuple[str, ...]
    clip_shape: tuple[int, ...]
    counts: Counts
    train_ids: Callable[[int], list[int]] | None = None
    wrap: Callable[[optax.GradientTransformation], optax.GradientTransformation] | None = None


def build_task(config: TrainConfig) -> Task:
    """Loads the data and builds the model of a configuration.

    Args:
        config: The configuration.

    Returns:
        The task.

    Raises:
        UserError: If the data or the model refuses a value.
    """
    chosen = config.data
    share = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    options = chosen.options()
    try:
        # The model first: what it refuses is said before any data is prepared.
        names, shape = clips.describe(chosen.name, chosen.data_dir, **options)
        model, counts = _build_model(config, shape, len(names))
        data = clips.load(chosen.name, chosen.data_dir, **options)
    except (ValueError, RuntimeError) as error:  # array_record's, of a missing or broken shard
        raise UserError(" ".join(str(error).split())) from error

    def train_batches(start_step: int) -> Iterator[HostBatch]:
        sizes = {"batch_size": config.batch_size, "start_step": start_step}
        return clips.train_batches(data, seed=config.seed, **sizes, **share)

    def eval_batches(split: str) -> Iterable[HostBatch]:
        return clips.eval_batches(data, split, batch_size=config.batch_size, **share)

    def train_ids(step: int) -> list[int]:
        sizes = {"batch_size": config.batch_size, "step": step}
        return clips.train_ids(data, seed=config.seed, **sizes)

    return Task(model, train_batches, eval_batches, names, shape, counts, train_ids)


def parse_formats(config: ModelConfig) -> dict[str, Format]:
    """Reads the formats of a model; those that are None are left out.

    Args:
        config: The model's settings.

    Returns:
        Formats by "input", "recurrent" and "joint".

    Raises:
        UserError: If a text is not a format.
    """
    formats: dict[str, Format] = {}
    for name in ("input", "recurrent", "joint"):
        text = getattr(config, name)
        try:
            formats |= {} if text is None else {name: parse_format(text)}
        except ValueError as error:
            raise UserError(f"model.{name} {text!r}: {error}") from error
    return formats


def _build_model(
    config: TrainConfig, clip_shape: tuple[int, ...], num_classes: int
) -> tuple[nnx.Module, Counts]:
    formats, rngs = parse_formats(config.model), nnx.Rngs(config.seed)
    dtype, chosen, hidden = jnp.dtype(config.dtype), config.model, config.model.hidden
    cnn = nn.SmallCNN(clip_shape[1:], dtype=dtype, rngs=rngs) if chosen.features == "cnn" else None
    features = cnn.out_features if cnn else math.prod(clip_shape[1:])
    cell = _CELLS[chosen.cell](
        features,
        hidden,
        **formats,
        recurrent_dropout=chosen.recurrent_dropout,
        layer_norm=chosen.layer_norm,
        dtype=dtype,
        rngs=rngs,
    )
    model = VideoClassifier(
        nn.RNN(cell, scale=chosen.pixel_scale, arithmetic=chosen.arithmetic),
        hidden,
        num_classes,
        features=cnn,
        dropout=chosen.dropout,
        dtype=dtype,
        rngs=rngs,
    )
    return model, count(model, cell, formats)
