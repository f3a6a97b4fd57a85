"""The systems of the accuracy study: every format at its published size and at equal budgets.

On clips all read Moving Fashion-MNIST at the papers' frame size, 80 classes (item x direction). On
Japanese Vowels, 12 features a frame, every format holds [x; h] at the size of FDHT. Systems differ
in the matrices of the cell and in the learning rate, which is tuned alike for each family.
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import ht_jax as ht
from experiments.configs import sequences
from experiments.configs import systems as papers
from ht_jax.train import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

Data = Literal["moving_fashion_mnist", "japanese_vowels"]

BUDGETS = (250, 810, 1250, 3400)
RATES = (3e-3, 1e-2, 3e-2)
FDHT_IN = (9, 10, 10, 9, 8)


@dataclasses.dataclass(frozen=True)
class StudySystem:
    """A system of the study.

    Attributes:
        name: unique.
        family: systems of one family share their learning rate.
        fmt: of the compressed matrix; None if dense.
        place: which matrix that is.
        cell: "lstm" or "gru".
        budget: of numbers in that matrix; None at the published size.
        data: what it is trained on.
    """

    name: str
    family: str
    fmt: ht.Format | None = None
    place: str = "input"
    cell: Any = "lstm"
    budget: int | None = None
    data: Data = "moving_fashion_mnist"

    @property
    def matrix_params(self) -> int:
        """Numbers in the matrix that the study counts, gates included.

        Of dense cells the one that others compress: input-to-hidden, on Japanese Vowels both.
        """
        gates = 3 if self.cell == "gru" else 4
        if self.fmt is not None:
            return self.fmt.with_gates(gates).num_params
        if self.data == "japanese_vowels":
            return gates * sequences.HIDDEN * (sequences.VOWELS + sequences.HIDDEN)
        return gates * papers.HIDDEN * papers.PIXELS

    def config(
        self, rate: float, steps: int, data_dir: Path | None, *, improved: bool = False
    ) -> TrainConfig:
        """The configuration of a run, its seed and folder still to be set."""
        formats: dict[str, Any] = {} if self.fmt is None else {self.place: repr(self.fmt)}
        cores: Any = "muon" if improved else "adam"
        if self.data == "japanese_vowels":
            _, base = sequences.PRESETS["vowels_lstm"]
            optimizer = OptimizerConfig(rate, cores=cores)
        else:
            model = ModelConfig(hidden=papers.HIDDEN)
            base = TrainConfig(model=model, data=DataConfig(self.data, label="both", num_frames=6))
            optimizer = OptimizerConfig(rate, fan_in=papers.HIDDEN, cores=cores)
        return dataclasses.replace(
            base,
            model=dataclasses.replace(base.model, cell=self.cell, layer_norm=improved, **formats),
            data=dataclasses.replace(base.data, data_dir=data_dir),
            optimizer=optimizer,
            steps=steps,
            eval_every=max(steps // 4, 1),
            checkpoint_every=max(steps // 2, 1),
        )


def _ht(leaf_rank: int, rank: int, in_modes: tuple[int, ...] = papers.HT_IN) -> ht.Format:
    return ht.HT(in_modes, papers.HT_OUT, leaf_rank=leaf_rank, rank=rank)


def _tt(*ranks: int) -> ht.Format:
    return ht.TT(papers.UCF, papers.FOURS, ranks)


def _tr(*ranks: int) -> ht.Format:
    return ht.TR(papers.TR_IN, papers.HT_OUT, rank=ranks)


def _bt(rank: int, terms: int) -> ht.Format:
    return ht.BT(papers.UCF, papers.FOURS, rank, terms)


def _kcp(rank: int, terms: int) -> ht.Format:
    return ht.KCP(papers.UCF, papers.FOURS, rank, terms)


# family -> the format at its published size, then the largest with even ranks within each budget;
# None where the published modes cannot go that low.
FAMILIES: dict[str, tuple[ht.Format | None, ...]] = {
    "HT": (_ht(4, 5), _ht(1, 1), _ht(3, 3), _ht(4, 5), _ht(8, 7)),
    "FDHT": (
        _ht(4, 5, FDHT_IN),
        *(None, _ht(3, 1, FDHT_IN), _ht(4, 4, FDHT_IN), _ht(8, 7, FDHT_IN)),
    ),
    "TT": (_tt(4, 4, 4), None, _tt(2, 2, 1), _tt(3, 2, 1), _tt(4, 4, 4)),
    "TR": (
        ht.TR(papers.TR_IN, papers.HT_OUT, 5, 10),
        _tr(2, 1, *[2] * 11),
        _tr(4, 3, 3, 3, 3, 4, 4, 4, 4, 4, 3, 3, 3),
        _tr(5, 4, 4, 4, 4, 5, 5, 5, 5, 4, 5, 4, 4),
        _tr(8, 7, 7, 7, 7, 7, 8, 8, 8, 7, 8, 7, 7),
    ),
    "BT": (_bt(4, 2), None, _bt(2, 1), _bt(3, 1), _bt(4, 2)),
    "KCP": (_kcp(2, 2), _kcp(2, 2), _kcp(5, 3), _kcp(11, 2), _kcp(16, 4)),
}


# On Japanese Vowels: the largest of even ranks within FDHT's 1,476 numbers, of its own modes.
VOWELS: dict[str, ht.Format] = {
    "FDHT": ht.parse_format(sequences.FDHT),
    "TT": ht.TT((5, 4, 7), (8, 4, 4), (5, 6)),
    "TR": ht.TR((5, 4, 7), (8, 4, 4), rank=5),
    "BT": ht.BT((5, 4, 7), (8, 4, 4), 6, 1),
    "KCP": ht.KCP((5, 4, 7), (8, 4, 4), 6, 6),
}


def systems(data: Data = "moving_fashion_mnist") -> list[StudySystem]:
    """All systems: the dense ones last, because they take longest."""
    found = _on_vowels() if data == "japanese_vowels" else _on_clips()
    dense = StudySystem("LSTM", "LSTM", data=data)
    return [*found, dense, StudySystem("GRU", "GRU", cell="gru", data=data)]


def _on_vowels() -> list[StudySystem]:
    return [
        StudySystem(name, name, fmt, "joint", data="japanese_vowels")
        for name, fmt in VOWELS.items()
    ]


def _on_clips() -> list[StudySystem]:
    found = []
    for budget, place in zip((None, *BUDGETS), range(1 + len(BUDGETS))):
        for family, formats in FAMILIES.items():
            fmt, name = formats[place], family if budget is None else f"{family}-{budget}"
            if fmt is None or any(fmt == system.fmt for system in found):
                continue
            matrix = "joint" if family == "FDHT" else "input"
            found.append(StudySystem(name, family, fmt, matrix, budget=budget))
    return found


def cannot() -> list[str]:
    """The families that cannot go as low as a budget, in words."""
    return [
        f"{family} cannot go down to {budget} numbers with its published modes"
        for family, (_, *formats) in FAMILIES.items()
        for budget, fmt in zip(BUDGETS, formats)
        if fmt is None
    ]
