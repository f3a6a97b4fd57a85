"""Training a model from a configuration: the Optax loop, checkpoints, metrics, resume.

`train(config)` is the whole of it; `load_run(workdir)` reads a run back.
"""

from ht_jax.train.config import (
    DataConfig,
    DistributedConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)
from ht_jax.train.counts import Counts
from ht_jax.train.distributed import initialize
from ht_jax.train.errors import Stopped, UserError
from ht_jax.train.loop import train
from ht_jax.train.restore import evaluate_run, load_run
from ht_jax.train.task import Task

__all__ = [
    "Counts",
    "DataConfig",
    "DistributedConfig",
    "ModelConfig",
    "OptimizerConfig",
    "Stopped",
    "Task",
    "TrainConfig",
    "UserError",
    "evaluate_run",
    "initialize",
    "load_run",
    "train",
]
