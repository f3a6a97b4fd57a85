"""What one training run is: a frozen dataclass, from which the command line is made.

A configuration is plain data, weight formats included (as text), so that it is stored as JSON
beside the run and two runs are compared field by field.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The recurrent classifier.

    Example:
        >>> ModelConfig(cell="gru", input="TT((8, 6), (4, 4), 2)", hidden=16).recurrent is None
        True
    """

    cell: Literal["lstm", "gru", "simple"] = "lstm"
    """Recurrent cell."""
    hidden: int = 256
    """Hidden features of the cell."""
    input: str | None = None
    """Format of the input-to-hidden matrix, as text; None keeps it dense."""
    recurrent: str | None = None
    """Format of the hidden-to-hidden matrix, as text; None keeps it dense."""
    joint: str | None = None
    """Format of both matrices together, as text; excludes the other two."""
    pixel_scale: float = 1 / 64
    """Factor on uint8 pixels: the dark background stays 0, the items are of the order of 1."""
    arithmetic: Literal["float", "split", "bfloat16"] = "float"
    """Arithmetic of the product with uint8 pixels. split and bfloat16 are faster where the device
    multiplies bfloat16 numbers faster; their relative errors are about 1e-5 and 1e-2."""
    dropout: float = 0.0
    """Share of the features dropped before the classifier while training, in [0, 1)."""
    recurrent_dropout: float = 0.0
    """Share of the hidden state hidden from the recurrent product while training, in [0, 1)."""
    layer_norm: bool = False
    """Normalise the projections of the input and of the hidden state. On moving images it is the
    largest improvement found, in every format: experiments/results/improvements.md."""
    features: Literal["input", "cnn"] = "input"
    """What the cell reads: the input as it is, or a small convolutional network's view of it."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The clips to learn from.

    Example:
        >>> DataConfig(num_frames=8).options()
        {'num_frames': 8}
    """

    name: str = "moving_digits"
    """Data set."""
    data_dir: Path | None = None
    """Folder of the prepared data; None is the data set's own default."""
    label: str | None = None
    """Which label of the clips to learn; None is the data set's own default."""
    num_frames: int | None = None
    """Frames of a clip; None is the data set's own default."""
    protocol: str | None = None
    """How the clips are divided into splits; None is the data set's own default."""
    fold: int | None = None
    """Which of the protocol's folds is the test split; None is the first."""
    cnn: str | None = None
    """Network of keras.applications whose stored features replace the frames; None reads frames."""

    def options(self) -> dict[str, Any]:
        """What is passed on to the data set: the fields that are set, but name and folder."""
        fields = dataclasses.asdict(self)
        return {k: v for k, v in fields.items() if v is not None and k not in ("name", "data_dir")}


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Adam with decoupled weight decay, clipped gradients and a schedule.

    Example:
        >>> OptimizerConfig(schedule="constant", warmup_steps=0).clip_norm
        1.0
    """

    learning_rate: float = 1e-2
    """Peak learning rate."""
    warmup_steps: int = 50
    """Steps of linear warm-up; never more than half of the run."""
    schedule: Literal["cosine", "constant", "inverse", "drops"] = "cosine"
    """Course after the warm-up: cosine to 0, constant, 1 / (1 + decay * step), or drops."""
    decay: float = 0.0
    """Of the schedule "inverse", a step."""
    drop_every: int = 0
    """Of the schedule "drops": steps between drops."""
    drop_factor: float = 0.2
    """Of the schedule "drops": factor on the learning rate at each."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient; 0 does not clip."""
    fan_in: int = 0
    """Matrices of more inputs than this learn slower in proportion; 0 treats all alike."""
    cores: Literal["adam", "muon"] = "adam"
    """Step of the cores of compressed matrices: Adam's, or Muon's, whose updates are orthogonal
    (the other parameters then take NAdam's). Compared in experiments/results/improvements.md."""
    weight_decay: float = 0.0
    """Decoupled weight decay; 0 is plain Adam."""
    classifier_l2: float = 0.0
    """Factor on the sum of squares of the classifier's kernel, which is added to the loss."""


@dataclasses.dataclass(frozen=True)
class DistributedConfig:
    """The processes of one run; nothing set is one process.

    Example:
        >>> DistributedConfig() == TrainConfig().distributed
        True
    """

    auto: bool = False
    """Ask the TPU, Slurm, Kubernetes or Open MPI for what is not set below."""
    coordinator: str | None = None
    """Host and port of process 0, as host:port."""
    num_processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """Which of them this is, from 0."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One training run; the same command on the same workdir resumes it.

    Example:
        >>> config = TrainConfig(workdir=Path("runs/gru"), model=ModelConfig(cell="gru"), steps=100)
        >>> config.model.hidden, config.batch_size
        (256, 32)
    """

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    distributed: DistributedConfig = DistributedConfig()
    workdir: Path = Path("runs/default")
    """Folder for checkpoints, metrics and the summary."""
    steps: int = 800
    """Optimizer steps."""
    batch_size: int = 32
    """Clips of a step, over all devices."""
    accumulate: int = 1
    """Parts that a device takes its share of a batch in, one after the other, to save memory."""
    seed: int = 0
    """Seed of the weights, the order of the data and the dropout."""
    parallel: Literal["pmap", "jit"] = "pmap"
    """Data parallelism: pmap, or jit with sharded arrays; the losses are the same."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; parameters and loss stay float32."""
    max_skipped: int = 10
    """Steps in a row that may be skipped because loss or gradient is not finite."""
    resume: Literal["auto", "never"] = "auto"
    """What to do with a workdir that holds this run: continue it, or refuse."""
    tune: bool = False
    """Measure the best few schedules before the first step, once on each kind of machine."""
    eval_every: int = 100
    """Steps between evaluations on the validation split."""
    test: bool = True
    """Measure the test split once, at the end; not where runs are compared to choose something."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    log_every: int = 20
    """Steps between lines of progress where the output is not a terminal."""
    quiet: bool = False
    """Show no progress, only the table at the end."""
    debug: bool = False
    """Show the traceback of an error."""


# These change the parameters by rounding at most (and the devices' draws of dropout), so they may
# differ on resume.
# `steps` is not among them: the cosine schedule ends at it, so a longer run differs from its start.
HARMLESS = frozenset(
    {
        "workdir",
        "data.data_dir",
        "distributed.auto",
        "distributed.coordinator",
        "distributed.num_processes",
        "distributed.process_id",
        "accumulate",
        "parallel",
        "max_skipped",
        "resume",
        "eval_every",
        "test",
        "checkpoint_every",
        "log_every",
        "quiet",
        "debug",
    }
)


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """Turns a configuration into plain data that JSON holds.

    Args:
        config: The configuration.

    Returns:
        Nested dicts of strings, numbers, booleans and None.

    >>> to_dict(TrainConfig())["model"]["cell"]
    'lstm'
    """
    return _plain(dataclasses.asdict(config))


def from_dict(stored: Mapping[str, Any]) -> TrainConfig:
    """Reads a configuration back from what `to_dict` gave.

    Args:
        stored: The plain data.

    Returns:
        The configuration.

    Raises:
        TypeError: If a field is unknown.

    >>> from_dict(to_dict(TrainConfig(steps=7))).steps
    7
    """
    data = dict(stored["data"])
    data["data_dir"] = None if data["data_dir"] is None else Path(data["data_dir"])
    rooms = {
        "model": ModelConfig(**stored["model"]),
        "data": DataConfig(**data),
        "optimizer": OptimizerConfig(**stored["optimizer"]),
        "distributed": DistributedConfig(**stored.get("distributed", {})),
        "workdir": Path(stored["workdir"]),
    }
    return TrainConfig(**{**stored, **rooms})


def flatten(stored: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the fields of a plain configuration by their dotted names.

    Args:
        stored: What `to_dict` gave.
        prefix: Put before every name.

    Yields:
        Pairs of a name, as the command line spells it, and a value.

    >>> dict(flatten({"model": {"cell": "gru"}, "steps": 3}))
    {'model.cell': 'gru', 'steps': 3}
    """
    for name, value in stored.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return str(value) if isinstance(value, Path) else value
