"""What each format's constructor refuses, and the ranks that it clips or only reports."""

import re

import numpy as np
import pytest

import ht_jax as ht


def two(fmt, **kwargs):
    """The format over modes (8, 6) and (4, 4)."""
    return fmt((8, 6), (4, 4), **kwargs)


KCP = dict(rank=1, terms=1)
REFUSED = (
    (lambda: ht.TT((8, 6), (4,), rank=2), "out_modes (4,) are 1: .* fill up with modes of 1"),
    (lambda: ht.BT((8, 6), (4,), rank=2, terms=1), "fill up with modes of 1"),
    (lambda: two(ht.TT, rank=0), "rank 0 must be a whole number"),
    (lambda: two(ht.TT, rank=(2, 3)), "rank (2, 3) lists 2 ranks for 1 inner edges"),
    (lambda: two(ht.TT, rank=2.0), "rank (2.0,) must be whole numbers"),
    (lambda: two(ht.TT, rank=True), "rank (True,) must be whole numbers"),
    (lambda: two(ht.TR, rank=(1, 2, 3)), "rank (1, 2, 3) lists 3 ranks for 4 ring edges"),
    (lambda: two(ht.TR, rank=(1, 2, 3, 0)), "rank (1, 2, 3, 0)"),
    (lambda: two(ht.TR, rank=2, closing_rank=0), "closing_rank 0 "),
    (lambda: two(ht.TR, rank=(1, 2, 3, 4), closing_rank=2), "leave closing_rank=2 out"),
    (lambda: two(ht.BT, rank=0, terms=1), "rank 0 "),
    (lambda: two(ht.BT, rank=1, terms=0), "terms 0 "),
    (lambda: two(ht.BT, rank=(1, 2), terms=1), "rank (1, 2) must"),
    (lambda: two(ht.KCP, rank=1, terms=0), "terms 0 "),
    (lambda: two(ht.KCP, rank=-1, terms=1), "rank -1 "),
    (lambda: two(ht.KCP, splits=((2, 4), (2, 3)), **KCP), "are 2: give one pair for each of the 4"),
    (
        lambda: two(ht.KCP, splits=((2, 3), (2, 3), (2, 2), (2, 2)), **KCP),
        "(2, 3) multiplies to 6, but its mode is 8; (2, 4) would do",
    ),
    (lambda: two(ht.KCP, splits=((2, 2, 2), (2, 3), (2, 2), (2, 2)), **KCP), "not a pair"),
    (lambda: two(ht.KCP, splits=(8, 6, 4, 4), **KCP), "splits: 8 is not a pair"),
    (
        lambda: two(ht.KCP, gate_split=(2, 4), **KCP).with_gates(4),
        "gate_split: (2, 4) multiplies to 8, but its mode is 16; (4, 4) would do",
    ),
    (lambda: two(ht.CP, rank=0), "rank 0 "),
    (lambda: two(ht.Tucker, rank=(1, 2, 3)), "lists 3 ranks for 4 modes"),
    (lambda: two(ht.Tucker, rank=(1, 2, 3, 0)), "rank (1, 2, 3, 0)"),
    (lambda: ht.LowRank(8, 4, 0), "rank 0 "),
    (lambda: ht.LowRank(0, 4, 1), "in_features 0 "),
    (lambda: ht.LowRank(8, 4, 1).sized(9, 4), "is not of size (9, 4)"),
    (lambda: two(ht.CP, rank=1, in_features=49), "multiply to 48, which is below in_features 49"),
)
PAIRED = (ht.TT, ht.TR, ht.Tucker, ht.CP)


@pytest.mark.parametrize(("make", "says"), REFUSED)
def test_bad_input_is_quoted(make, says):
    with pytest.raises(ValueError, match=".*".join(map(re.escape, says.split(" .* ")))):
        make()


@pytest.mark.parametrize("fmt", PAIRED)
@pytest.mark.parametrize(
    ("modes", "says"), [((8, 0), "in_modes (8, 0)"), ((), "in_modes ()"), ((8, 2.5), "(8, 2.5)")]
)
def test_bad_modes_are_quoted(fmt, modes, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        fmt(modes, (4, 4), rank=1)


@pytest.mark.parametrize(
    ("make", "says", "params"),
    [
        (lambda: ht.TT((2, 9), (1, 9), rank=5), "rank 1 is 5 .* clipped to 2", 2 * 2 + 2 * 81),
        (lambda: ht.Tucker((2, 9), (9,), rank=3), "rank 0 is 3 .* clipped to 2", 4 + 54 + 18),
    ],
)
def test_overfull_rank_is_clipped_and_told(make, says, params):
    with pytest.warns(ht.RankWarning, match=says):
        assert make().num_params == params


@pytest.mark.parametrize(
    ("make", "says", "params"),
    [
        (lambda: ht.TR((2, 9), (9,), rank=(1, 3, 1)), "ring rank 1 is 3 .* 2 would do", 42),
        (lambda: ht.BT((2, 9), (1, 9), rank=3, terms=1), "rank is 3 .* 2 would do", 6 + 243 + 9),
        (lambda: ht.CP((2, 9), (3,), rank=7), "rank is 7 .* 6 would do", 7 * 14),
        (lambda: ht.KCP((4,), (4,), rank=3, terms=1), "rank is 3 .* 2 would do", 24),
        (lambda: ht.KCP((4,), (4,), rank=1, terms=5), "terms is 5 .* 4 would do", 40),
        (lambda: ht.LowRank(4, 3, 5), "rank is 5 .* 3 would do", 35),
    ],
)
def test_overfull_rank_is_kept_and_told(make, says, params):
    with pytest.warns(ht.RankWarning, match=says):
        assert make().num_params == params


def test_the_rank_is_told_once_and_not_again_with_gates():
    with pytest.warns(ht.RankWarning) as told:
        fmt = ht.CP((2, 9), (3,), rank=7)
    fmt.with_gates(4)  # a warning here would be an error
    assert len(told) == 1
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("fmt", "ranks"),
    [
        (ht.HT, dict(rank=2)),
        (ht.TT, dict(rank=2)),
        (ht.TR, dict(rank=2, closing_rank=3)),
        (ht.BT, dict(rank=2, terms=2)),
        (ht.KCP, dict(rank=2, terms=2)),
        (ht.CP, dict(rank=2)),
        (ht.Tucker, dict(rank=2)),
    ],
)
def test_integers_of_numpy_are_taken_as_those_of_python(fmt, ranks):
    of_numpy = two(fmt, **{name: np.int64(rank) for name, rank in ranks.items()})
    assert repr(of_numpy) == repr(two(fmt, **ranks))
