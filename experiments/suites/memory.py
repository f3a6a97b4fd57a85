"""Peak memory of one training step beyond its inputs, parameters and code, process by process."""

from suites import alone, layer
from suites.timing import Row

NAMES = (
    "flax nnx.RNN, dense",
    "dense, frames projected first",
    "HT-LSTM",
    "FDHT-LSTM",
    "HT-LSTM, split",
    "HT-LSTM, bfloat16",
    "TT rank 4-LSTM",
    "BT-LSTM",
    "torch LSTM",
    "torch Linear(16) + LSTM",
    "tednet TT rank 5",
)


def run(batch: int, repeats: int) -> list[Row]:
    """Rows of the suite.

    Args:
        batch: clips of 6 frames.
        repeats: steps.
    """
    params = {system.name: system.params for system in layer.systems(batch)}
    task = {"module": "layer", "batch": batch, "repeats": repeats}
    peaks = {name: alone.peak_mb({**task, "name": name}) for name in NAMES}
    return [{"system": n, "params": params[n], "peak_mb": peak} for n, peak in peaks.items()]
