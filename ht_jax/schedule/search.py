"""The search: proposes schedules, of which the cost model takes the best."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ht_jax.network import TensorNetwork
from ht_jax.schedule.cost import Device
from ht_jax.schedule.grouped import grouped
from ht_jax.schedule.pairwise import pairwise
from ht_jax.schedule.schedule import Mode, Schedule


def candidates(
    network: TensorNetwork, batch: int, dtype: str, mode: Mode, dev: Device
) -> Iterator[Schedule]:
    """All schedules that the searches propose, unpriced.

    Args:
        network: what is to be contracted.
        batch: rows of input.
        dtype: name of the dtype of cores and input.
        mode: "train" or "infer".
        dev: the device's cost model, which steers the grouped search.
    """
    for found_by, steps in itertools.chain(
        grouped(network, batch, dtype, mode, dev), pairwise(network, batch)
    ):
        yield Schedule(network, batch, dtype, mode, tuple(steps), found_by)
