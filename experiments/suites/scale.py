"""Cost and memory of an HT-LSTM's training step with the frame size, the rank, d and the batch.

The largest frame is a raw 4K one: 24.9 million inputs, for which a dense layer has 25.5 billion
weights, 102 GB.
"""

from collections.abc import Iterator

import ht_jax as ht
from suites import alone, layer, shapes
from suites.timing import Row, System

FRAMES = {
    "160 x 120": ((8, 10, 10, 9, 8), (4, 4, 2, 4, 2)),
    "640 x 480": ((16, 16, 15, 15, 16), (4, 4, 2, 4, 2)),
    "1920 x 1080": ((16, 15, 15, 16, 12, 9), (4, 4, 2, 2, 2, 2)),
    "3840 x 2160": ((16, 16, 16, 15, 15, 27), (4, 4, 2, 2, 2, 2)),
}
RANKS = (2, 4, 8, 16)
MODES = {
    2: ((240, 240), (16, 16)),
    3: ((40, 40, 36), (8, 8, 4)),
    4: ((8, 20, 20, 18), (4, 4, 4, 4)),
    6: ((8, 5, 6, 6, 8, 5), (4, 4, 2, 2, 2, 2)),
    8: ((4, 2, 5, 8, 6, 5, 3, 2), (2, 2, 2, 2, 2, 2, 2, 2)),
}
BATCHES = (1, 4, 16, 64)


def run(batch: int, repeats: int) -> list[Row]:
    """Rows of the suite.

    Args:
        batch: clips of 6 frames where the batch is not swept; of the two largest frames, 2.
        repeats: steps.
    """
    rows = []
    for system in systems(batch):
        size = int(system.name.rsplit(" ", 1)[1]) if "batch" in system.name else batch
        size = min(size, 2) if "0 x 2160" in system.name or "0 x 1080" in system.name else size
        task = {"module": "scale", "name": system.name, "batch": size, "repeats": repeats}
        ms, peak = alone.milliseconds(task), alone.peak_mb(task)
        rows.append({"system": system.name, "params": system.params, "clips": size, "ms": ms})
        rows[-1] |= {"frames_per_second": size * shapes.FRAMES / ms * 1e3, "peak_mb": peak}
    return rows


def systems(batch: int) -> Iterator[System]:
    """HT-LSTMs of all sizes."""
    for name, modes in FRAMES.items():
        yield _system(f"frames {name}", ht.HT(*modes, leaf_rank=4, rank=5), batch)
    for rank in RANKS:
        yield _system(f"rank {rank}", ht.HT(*FRAMES["160 x 120"], rank=rank), batch)
    for d, modes in MODES.items():
        yield _system(f"d = {d}", ht.HT(*modes, rank=4), batch)
    for clips in BATCHES:
        yield _system(f"batch {clips}", shapes.HT, batch)


def _system(name: str, fmt: ht.Format, batch: int) -> System:
    return layer.system(name, layer.rnn({"input": fmt}, fmt.in_features), batch, fmt.in_features)
