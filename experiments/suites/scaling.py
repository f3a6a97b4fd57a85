"""Weak scaling of data-parallel training on fake devices, and the bytes that a step exchanges.

Fake devices share the processors of one machine, so their efficiency says how much the exchange and
the smaller programs cost here, never what a pod would do; the bytes hold anywhere.
"""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from suites.timing import Row

DEVICES = (1, 2, 4)
BYTES = {"f32": 4, "s32": 4, "u32": 4, "bf16": 2, "u8": 1, "pred": 1}
COLLECTIVE = r"= (.*?) (?:all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)\("


def run(batch: int, repeats: int) -> list[Row]:
    """Rows of the suite: an FDHT-LSTM, each number of devices in a process of its own.

    Args:
        batch: clips of 6 frames on every device.
        repeats: steps.
    """
    rows = [_measured(n, kind, batch, repeats) for kind in ("pmap", "jit") for n in DEVICES]
    alone = {row["system"]: row["ms"] for row in rows if row["devices"] == 1}
    processors = len(os.sched_getaffinity(0))
    for row in rows:
        # One device may use every processor, so `throughput` cannot reach n with n devices.
        row["throughput"] = row["devices"] * alone[row["system"]] / row["ms"]
        row["weak_efficiency"] = alone[row["system"]] / row["ms"]
        row["processors"] = processors
    return rows


def _measured(devices: int, kind: str, batch: int, repeats: int) -> Row:
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    found = subprocess.run(
        [sys.executable, "-m", "suites.scaling", json.dumps([kind, batch * devices, repeats])],
        env={**environment, "PYTHONPATH": path},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return {"system": kind, "devices": devices, **json.loads(found.stdout.splitlines()[-1])}


def exchanged(program: str) -> int:
    """Bytes of the results of a compiled program's collectives.

    >>> exchanged("ROOT %a = (f32[2,3]{1,0}, f32[]) all-reduce(%b, %c), channel_id=1")
    28
    """
    results = re.findall(COLLECTIVE, program)
    arrays = re.findall(r"(\w+)\[([\d,]*)\]", " ".join(results))
    return sum(BYTES[kind] * math.prod(map(int, filter(None, n.split(",")))) for kind, n in arrays)


def _alone(kind: Any, batch: int, repeats: int) -> Row:
    import jax
    import numpy as np
    import optax
    from flax import nnx

    from ht_jax.models import VideoClassifier
    from ht_jax.train.parallel import make_parallel
    from ht_jax.train.step import init_state, make_train_step, split_model
    from suites import layer, shapes
    from suites.timing import seconds

    rnn = layer.rnn({"joint": shapes.FDHT})()
    model = VideoClassifier(rnn, shapes.HIDDEN, 11, rngs=nnx.Rngs(0))
    apply, params = split_model(model)
    optimizer, parallel = optax.adam(1e-3), make_parallel(kind)
    step: Any = parallel.compile_train(make_train_step(apply, optimizer, 0, parallel.axis))
    data = {"frames": shapes.clips(batch), "label": np.zeros(batch, np.int32)}
    data = parallel.shard(data)
    state = parallel.replicate(init_state(params, optimizer))
    program = step.lower(state, data).compile().as_text()

    def call() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(step(state, data))

    for _ in range(2):
        call()
    taken = [seconds(call) for _ in range(repeats)]
    count = sum(x.size for x in jax.tree.leaves(params))
    times = {"ms": float(np.median(taken)) * 1e3, "ms_fastest": min(taken) * 1e3}
    return {"params": count, "bytes_exchanged": exchanged(program), **times}


if __name__ == "__main__":
    print(json.dumps(_alone(*json.loads(sys.argv[1]))))
