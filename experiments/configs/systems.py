"""The systems of the papers: their formats, and what was published of them."""

import dataclasses
import math
from typing import Any

from flax import nnx

import ht_jax as ht
from ht_jax.nn import GRUCell, LSTMCell, RecurrentCell

PIXELS, HIDDEN = 57_600, 256  # 160 x 120 x 3
CNN = 2048

UCF, YTC = (8, 20, 20, 18), (4, 20, 20, 36)
FOURS, HT_IN, HT_OUT = (4, 4, 4, 4), (8, 10, 10, 9, 8), (4, 4, 2, 4, 2)
TR_IN, FDHT_IN, FDHT_OUT = (4, 2, 5, 8, 6, 5, 3, 2), (16, 16, 16), (8, 16, 16)
HT_UCF = ht.HT(HT_IN, HT_OUT, leaf_rank=4, rank=5)
HT_YTC = ht.HT(HT_IN, HT_OUT, leaf_rank=3, rank=3)
FDHT = ht.HT(FDHT_IN, FDHT_OUT, leaf_rank=3, rank=5)
KCP_UCF = ht.KCP(UCF, FOURS, rank=2, terms=2)
TR_CNN = ht.TR((64, 32), (32, 64), rank=(40, 60, 48, 48))


@dataclasses.dataclass(frozen=True)
class System:
    """A line of the papers.

    Args:
        name: The system.
        dataset: Where it was measured.
        fmt: Format of its compressed matrix; None if that is dense.
        params: Published count of that matrix.
        ratio: Published compression ratio.
        accuracy: Published accuracy in percent.
        cell: Class of its cell; None if the modes were not published.
        place: The matrix that is compressed and counted: "input" or "joint".
        size: Input and hidden features.
        note: What else is to be known.
    """

    name: str
    dataset: str
    fmt: ht.Format | None = None
    params: int | None = None
    ratio: int | None = None
    accuracy: float | None = None
    cell: type[RecurrentCell] | None = LSTMCell
    place: str = "input"
    size: tuple[int, int] = (PIXELS, HIDDEN)
    note: str = ""

    @property
    def reference(self) -> int | None:
        """Dense numbers that the published ratio refers to: an LSTM's, even for a GRU."""
        return None if self.ratio is None else math.prod(self.size) * LSTMCell.gates

    def build(self) -> RecurrentCell | None:
        """The cell, its arrays without memory."""
        if self.cell is None:
            return None
        make = self.cell
        formats: dict[str, Any] = {} if self.fmt is None else {self.place: self.fmt}
        return nnx.eval_shape(lambda: make(*self.size, **formats, rngs=nnx.Rngs(0)))


AT_CNN: dict[str, Any] = {"size": (CNN, CNN)}
UNKNOWN: dict[str, Any] = {"cell": None, "note": "2,048 features; the modes were not published"}
SMALLEST = "a candidate for the smallest of the published 3,132 to 8,808 (3,985x to 10,711x)"
AGAINST_LSTM = "the published ratio is against the LSTM; it is 13,292 against a dense GRU"
MISPRINT = (
    "the tables print 3,387, which the formula cannot give; the abstract's 17,388x is that of 3,392"
)
ALIKE = "accuracy comparable to the others"

SYSTEMS = (
    System("LSTM", "UCF11", None, 58_982_400, 1, 69.7),
    System("LSTM", "YTC", None, 58_982_400, 1, 33.2),
    System("TT-LSTM", "UCF11", ht.TT(UCF, FOURS, 4), 3_360, 17_554, 79.6),
    System("TT-GRU", "UCF11", ht.TT(UCF, FOURS, 4), 3_232, None, 81.3, GRUCell),
    System("TT-LSTM", "YTC", ht.TT(YTC, FOURS, 4), 3_392, 17_388, 75.5),
    System("TT-GRU", "YTC", ht.TT(YTC, FOURS, 4), 3_328, 17_723, 80.0, GRUCell, note=AGAINST_LSTM),
    System("BT-LSTM", "UCF11", ht.BT(UCF, FOURS, 4, 2), 3_392, 17_414, 85.3, note=MISPRINT),
    System("TR-LSTM", "UCF11", ht.TR(TR_IN, HT_OUT, 5, 10), 1_725, 34_193, 86.9),
    System("CNN + TR-LSTM", "UCF11", TR_CNN, 663_552, 25, 93.8, **AT_CNN),
    System("CNN + TR-LSTM", "HMDB51", TR_CNN, 663_552, 25, 63.8, **AT_CNN),
    System("HT-LSTM", "UCF11", HT_UCF, 1_245, 47_375, 87.2),
    System("HT-LSTM", "YTC", HT_YTC, 810, 72_818, 88.1),
    System("CNN + HT-LSTM", "UCF11", accuracy=98.1, **UNKNOWN),
    System("CNN + HT-LSTM", "HMDB51", accuracy=64.2, **UNKNOWN),
    System("CNN + LSTM", "UCF11", ratio=1, accuracy=92.3, **AT_CNN),
    System("CNN + LSTM", "HMDB51", ratio=1, accuracy=62.9, **AT_CNN),
    System("FDHT-LSTM", "several", FDHT, place="joint", note=SMALLEST, **AT_CNN),
    System("KCP-LSTM", "UCF11", KCP_UCF, 212, 278_219, note=ALIKE),
    System("KCP-LSTM", "YTC", KCP_UCF, 212, 278_219, note=ALIKE),
    System("KCP-LSTM", "UCF50", KCP_UCF, 212, 278_219, note=ALIKE),
    System("HT-GRU", "UCF11", HT_UCF, cell=GRUCell, note="ours"),
    System("FDHT-GRU", "several", FDHT, cell=GRUCell, place="joint", note="ours", **AT_CNN),
    System("KCP-GRU", "UCF11", KCP_UCF, cell=GRUCell, note="ours"),
)

OTHERS = (  # accuracies of other work that the papers print beside theirs
    ("Wang 2015", "UCF11", 84.2, "pretrained features"),
    ("Sharma 2015", "UCF11", 86.0, "pretrained features"),
    ("Cho 2014", "UCF11", 88.0, "pretrained features"),
    ("Gammulle 2017", "UCF11", 94.6, "pretrained features"),
    ("Wang 2015", "HMDB51", 63.2, "-"),
    ("Feichtenhofer 2016", "HMDB51", 56.8, "-"),
    ("Carreira and Zisserman 2017", "HMDB51", 66.4, "RGB + flow"),
    ("Carreira and Zisserman 2017", "HMDB51", 49.8, "RGB"),
)


def key(name: str) -> str:
    """A system's name as presets and result files spell it.

    >>> key("CNN + HT-LSTM")
    'cnn_ht_lstm'
    """
    return name.lower().replace("cnn + ", "cnn_").replace("-", "_")
