"""Joining the processes of one run, before anything else touches a device.

All of it is `jax.distributed`: on a TPU, under Slurm, Kubernetes or Open MPI it finds the others by
itself, elsewhere three flags name them.
"""

import jax

from ht_jax.train.config import DistributedConfig
from ht_jax.train.errors import UserError


def initialize(config: DistributedConfig) -> None:
    """Joins the other processes; does nothing for one process, or when that is done already.

    Args:
        config: Where they are.

    Raises:
        UserError: If they are not all named, or cannot be reached.

    Example:
        >>> initialize(DistributedConfig())  # one process: nothing to do
        >>> initialize(DistributedConfig(process_id=1))
        Traceback (most recent call last):
        ht_jax.train.errors.UserError: DistributedConfig(...) names the processes in part: pass ...
    """
    named = (config.coordinator, config.num_processes, config.process_id)
    if config == DistributedConfig() or jax.distributed.is_initialized():
        return
    if None in named and not config.auto:
        raise UserError(
            f"{config} names the processes in part: pass --distributed.coordinator HOST:PORT, "
            "--distributed.num-processes and --distributed.process-id, or --distributed.auto"
        )
    try:
        jax.distributed.initialize(*named)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"the processes of the run did not find each other ({error}): check that "
            f"{config.coordinator or 'the cluster'} is reachable and that all of them were started"
        ) from error
