"""Suggestions: within the budget, in the stated order, sensible for awkward sizes."""

import math
import warnings

import pytest

import ht_jax as ht
from ht_jax.suggest import factorizations

BUDGETS = {
    "ht": 1_300,
    "tt": 3_400,
    "tr": 1_800,
    "bt": 3_400,
    "kcp": 300,
    "cp": 1_000,
    "tucker": 5_000,
    "low_rank": 200_000,
}


@pytest.mark.parametrize(("name", "budget"), BUDGETS.items())
def test_every_format_keeps_the_budget(name, budget):
    for found in ht.suggest(57_600, 256, budget, name, gates=4, count=2, max_modes=4):
        cell_format = found.format.with_gates(4)
        assert cell_format.num_params == found.num_params <= budget
        assert (cell_format.in_features, cell_format.out_features) == (57_600, 1_024)


def test_budget_is_used():
    best = ht.suggest(57_600, 256, 1_300, gates=4)[0]
    assert best.num_params > 1_000
    assert best.rank >= 4.35  # the published HT-LSTM has leaf ranks 4 and inner ranks 5


def test_awkward_size():
    # 57,856 = 2^9 * 113 has no similar factors.
    for found in ht.suggest(57_856, 256, 2_000, gates=4):
        modes = found.format.in_modes
        assert math.prod(modes) >= 57_856
        assert found.padding < 0.05
        assert max(modes) <= 2 * min(modes)
        assert len(modes) >= 4


def test_order_is_by_rank_then_padding_then_time():
    found = ht.suggest(57_600, 256, 3_400, "tt", gates=4)
    top = max(f.rank for f in found)
    keys = [(int(math.log(top / f.rank, 1.1)), f.padding, f.seconds) for f in found]
    assert keys == sorted(keys)


def test_no_suggestion_has_a_rank_that_is_clipped():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found in ht.suggest(500, 20, 700, "ht"):
            assert ht.parse_format(repr(found.format)) == found.format


def test_latency_is_kept():
    free = ht.suggest(4_096, 64, 2_000, "tt", max_modes=3)[0]
    fast = ht.suggest(4_096, 64, 2_000, "tt", max_modes=3, latency=0.8 * free.seconds)
    assert all(found.seconds <= 0.8 * free.seconds for found in fast)


def test_faster_is_what_the_schedule_says():
    found = ht.suggest(4_096, 64, 2_000, "tt", max_modes=3, batch=50)[0]
    assert found.seconds == found.format.plan(50, mode="infer").seconds


def test_given_fields_are_kept():
    tree = ht.DimensionTree.linear(4)
    assert all(found.format.tree == tree for found in ht.suggest(625, 81, 500, "ht", tree=tree))
    assert all(found.format.terms == 3 for found in ht.suggest(625, 81, 500, "bt", terms=3))


def test_class_in_place_of_a_name():
    assert ht.suggest(625, 81, 500, ht.TT)[0] == ht.suggest(625, 81, 500, "tt")[0]


def test_toy_format_is_suggested_too():
    class Pair(ht.LowRank):
        pass

    assert isinstance(ht.suggest(64, 16, 200, "pair")[0].format, Pair)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (2, 100), (10_007, 1_009)])
def test_small_and_prime_sizes(size):
    fmt = ht.suggest(*size, format="tt")[0].format
    assert (fmt.in_features, fmt.out_features) == size
    assert fmt.num_params <= max(size[0] * size[1], 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 30}, "budget 30 is below the smallest TT, 96 numbers"),
        ({"latency": 1e-9}, "latency 1e-09 s is below"),
        ({"format": "xx"}, "'xx' is not a format with ranks: choose one of .*'TT'"),
        ({"format": "dense"}, "'dense' is not a format with ranks"),
        ({"terms": 2}, "'terms' is not an option of TT here: there are none"),
        ({"format": "ht", "tree": ht.DimensionTree.linear(9)}, "no HT can be made"),
    ],
)
def test_impossible(arguments, message):
    with pytest.raises(ValueError, match=message):
        ht.suggest(57_856, 256, **{"format": "tt", "max_modes": 6, **arguments})


@pytest.mark.parametrize("size", [1, 2, 113, 256, 2_048, 57_600, 57_856, 1_000_003])
@pytest.mark.parametrize("count", [2, 4, 6])
def test_factorizations_cover(size, count):
    for modes in factorizations(size, count):
        assert len(modes) == count
        assert math.prod(modes) >= size
        assert list(modes) == sorted(modes)


@pytest.mark.parametrize(("size", "count"), [(57_600, 4), (256, 4), (2_048, 3), (1_000, 3)])
def test_exact_factorizations_are_found(size, count):
    assert math.prod(factorizations(size, count)[0]) == size
