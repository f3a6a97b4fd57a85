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
    return [
        {"system": name, "params": params[name], **_measured(name, batch, repeats)}
        for name in NAMES
    ]


def _measured(name: str, batch: int, repeats: int) -> Row:
    task = {"module": "layer", "name": name, "batch": batch, "repeats": repeats}
    return dict(alone.measure(task))
