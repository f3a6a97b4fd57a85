"""Data parallelism in two forms behind one face: pmap, or jit with sharded arrays.

The state is replicated in both, never stacked, so it is checkpointed and read as it stands; only
the batch is split over the devices.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

HostBatch: TypeAlias = Mapping[str, np.ndarray]  # this process' share of a batch


@dataclasses.dataclass(frozen=True)
class Parallel:
    """How a step is compiled and how its arguments reach the devices.

    Args:
        axis: The axis name to reduce over inside the step.
        compile_train: Compiles `(state, batch) -> (state, metrics)`; the old state is donated.
        compile_eval: Compiles `(params, batch) -> sums`.
        replicate: Puts a pytree on every device.
        shard: Splits this process' share of a batch over its devices.
    """

    axis: str
    compile_train: Callable[[Callable], Callable]
    compile_eval: Callable[[Callable], Callable]
    replicate: Callable[[Any], Any]
    shard: Callable[[HostBatch], dict[str, Any]]


def make_parallel(kind: Literal["pmap", "jit"]) -> Parallel:
    """Builds the data parallelism over all devices.

    Args:
        kind: "pmap" or "jit".

    Returns:
        The chosen form.
    """
    return _pmap() if kind == "pmap" else _jit()


def _pmap() -> Parallel:
    def compile_step(step: Callable, donate: tuple[int, ...]) -> Callable:
        return jax.pmap(
            step, axis_name="batch", in_axes=(None, 0), out_axes=None, donate_argnums=donate
        )

    def shard(batch: HostBatch) -> dict[str, np.ndarray]:
        local = jax.local_device_count()
        return {name: x.reshape(local, -1, *x.shape[1:]) for name, x in batch.items()}

    return Parallel(
        axis="batch",
        compile_train=lambda step: compile_step(step, (0,)),
        compile_eval=lambda step: compile_step(step, ()),
        replicate=lambda tree: _own(tree, _sharding(PartitionSpec())),
        shard=shard,
    )


def _jit() -> Parallel:
    specs = PartitionSpec(), PartitionSpec("batch")
    whole, split = map(_sharding, specs)

    def compile_step(step: Callable, donate: tuple[int, ...]) -> Callable:
        # Each device contracts its own share. Left to XLA, the tiles of rows of a projection are
        # cut across the devices, and megabytes of frames travel: bench.py --suite scaling.
        share = jax.shard_map(
            step, mesh=whole.mesh, in_specs=specs, out_specs=specs[0], check_vma=False
        )
        return jax.jit(
            share, in_shardings=(whole, split), out_shardings=whole, donate_argnums=donate
        )

    def shard(batch: HostBatch) -> dict[str, jax.Array]:
        put = jax.make_array_from_process_local_data
        return {name: put(split, x) for name, x in batch.items()}

    return Parallel(
        axis="batch",
        compile_train=lambda step: compile_step(step, (0,)),
        compile_eval=lambda step: compile_step(step, ()),
        replicate=lambda tree: _own(tree, whole),
        shard=shard,
    )


def _own(tree: Any, sharding: NamedSharding) -> Any:
    # No aliasing: the steps donate the state, which must not take the caller's arrays with it.
    return jax.device_put(tree, sharding, may_alias=False)


def _sharding(spec: PartitionSpec) -> NamedSharding:
    mesh = jax.make_mesh((jax.device_count(),), ("batch",), axis_types=(AxisType.Auto,))
    return NamedSharding(mesh, spec)
