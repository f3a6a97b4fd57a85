import itertools

import numpy as np
import pytest

from ht_jax.data.video.protocols import PROTOCOLS, Clip, divide

GROUPS, CLASSES, EACH = 25, 3, 4


def clip(label, group, number):
    side = "test" if group < 7 else "train"
    official = (side, "train" if side == "test" else "test", "" if group == 0 else side)
    return Clip(f"{label}/{group}/{number}", label, f"{label}/{group}", official)


CLIPS = list(itertools.starmap(clip, itertools.product(range(CLASSES), range(GROUPS), range(EACH))))


def groups(indices):
    return {CLIPS[index].group for index in indices}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_splits_share_no_clip_and_ascend(name):
    for fold in range(min(PROTOCOLS[name].folds, 5)):
        split = divide(CLIPS, name, fold)
        parts = [split.train, split.validation, split.test]
        joined = np.concatenate(parts)
        assert len(set(joined)) == len(joined)
        assert all(len(part) and np.all(np.diff(part) > 0) for part in parts)


@pytest.mark.parametrize("name", ["random_5fold", "group_5fold", "group_25fold"])
def test_folds_test_every_clip_once(name):
    tests = [divide(CLIPS, name, fold).test for fold in range(PROTOCOLS[name].folds)]
    assert sorted(np.concatenate(tests)) == list(range(len(CLIPS)))


@pytest.mark.parametrize("name", ["group_5fold", "group_25fold", "official"])
def test_no_group_is_on_two_sides(name):
    for fold in range(PROTOCOLS[name].folds):
        split = divide(CLIPS, name, fold)
        sides = [groups(split.train), groups(split.validation), groups(split.test)]
        assert not any(a & b for a, b in itertools.combinations(sides, 2))


def test_random_folds_do_share_groups():
    split = divide(CLIPS, "random_5fold", 0)
    assert groups(split.train) & groups(split.test)


def test_group_folds_hold_the_classes_evenly():
    for fold in range(5):
        labels = [CLIPS[index].label for index in divide(CLIPS, "group_5fold", fold).test]
        assert [labels.count(label) for label in range(CLASSES)] == [5 * EACH] * CLASSES


def test_official_sides_are_kept():
    split = divide(CLIPS, "official", 2)
    assert {CLIPS[n].official[2] for n in split.test} == {"test"}
    assert {CLIPS[n].official[2] for n in (*split.train, *split.validation)} == {"train"}


def test_holdout_tests_a_fifth_and_repeats_differ():
    first, second = (divide(CLIPS, "holdout_80_20", fold).test for fold in (0, 1))
    assert len(first) == len(second) == len(CLIPS) // 5
    assert list(first) != list(second)


def test_a_protocol_gives_the_same_split_again():
    for name in PROTOCOLS:
        np.testing.assert_array_equal(divide(CLIPS, name, 1).train, divide(CLIPS, name, 1).train)


@pytest.mark.parametrize(
    ("protocol", "fold", "message"),
    [
        ("leave_one_out", 0, "unknown protocol 'leave_one_out': choose one of random_5fold"),
        ("group_5fold", 5, "fold 5 of group_5fold must lie in 0 to 4"),
    ],
)
def test_unknown_divisions_are_refused(protocol, fold, message):
    with pytest.raises(ValueError, match=message):
        divide(CLIPS, protocol, fold)


def test_missing_official_splits_are_named():
    with pytest.raises(ValueError, match="needs official splits, and none were prepared"):
        divide([Clip("a", 0, "g")], "official", 0)
