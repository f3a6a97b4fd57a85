"""Schedules: in which order a tensor network is contracted with its input, and why."""

import functools

from ht_jax.network import TensorNetwork
from ht_jax.schedule.cost import Device, device, price
from ht_jax.schedule.lower import run
from ht_jax.schedule.schedule import Mode, Schedule, Step
from ht_jax.schedule.search import candidates

__all__ = ["Device", "Mode", "Schedule", "Step", "best", "device", "price", "ranked", "run"]


@functools.lru_cache(1024)
def best(network: TensorNetwork, batch: int, dtype: str, mode: Mode, device_kind: str) -> Schedule:
    """The schedule that the cost model likes best; the same one every time.

    Args:
        network: what is contracted.
        batch: rows of input.
        dtype: name of the dtype, such as "float32".
        mode: "train" weighs forward and backward together, "infer" the forward pass alone.
        device_kind: "cpu", "gpu" or "tpu".
    """
    return ranked(network, batch, dtype, mode, device_kind)[0]


def ranked(
    network: TensorNetwork, batch: int, dtype: str, mode: Mode, device_kind: str
) -> list[Schedule]:
    """All candidates, priced, the best first. Arguments as for `best`."""
    dev = device(device_kind)
    priced = (price(found, dev) for found in candidates(network, batch, dtype, mode, dev))
    return sorted(priced, key=lambda schedule: schedule.seconds)


def plan(fmt, batch: int, mode: Mode = "train", *, dtype="float32", tune: bool = False) -> Schedule:
    """The schedule for applying a format to `batch` rows on the default device.

    Args:
        fmt: a format.
        batch: rows of input.
        mode: "train" weighs forward and backward together, "infer" the forward pass alone.
        dtype: of cores and input.
        tune: choose by measurement; not available yet.

    Example:
        >>> import ht_jax as ht
        >>> ht.plan(ht.HT((8, 6), (4, 4), rank=3), batch=4).flops
        7344.0
    """
    if tune:
        raise NotImplementedError("tune=True: schedules are not tuned by measurement yet")
    return fmt.plan(batch, mode=mode, dtype=dtype)
