"""Formats of like ranks over one and two threads and a sweep of batches: training steps.

KCP's claim is the best potential for parallel computing: `speedup` is the gain from the second
thread.
"""

from suites import alone
from suites.timing import Row

CELLS = ("HT-LSTM", "TT rank 4-LSTM", "TR-LSTM", "BT-LSTM", "KCP-LSTM", "FDHT-LSTM")
BATCHES = (1, 16, 64)


def run(batch: int, repeats: int) -> list[Row]:
    """Rows of the suite.

    Args:
        batch: not used: the suite sweeps it.
        repeats: steps.
    """
    del batch
    return [_row(name, batch, repeats) for name in CELLS for batch in BATCHES]


def _row(name: str, batch: int, repeats: int) -> Row:
    task = {"module": "layer", "name": name, "batch": batch, "repeats": repeats}
    one, two = (alone.milliseconds(task, threads) for threads in (1, 2))
    speeds = {"ms_one_thread": one, "ms_two_threads": two, "speedup": one / two}
    return {"system": name, "batch": batch, **speeds}
