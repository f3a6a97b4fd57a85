import dataclasses

import numpy as np
import pytest

from ht_jax.data import ClipData, eval_batches, train_batches

SIZE, SHAPE = 10, (2, 3, 4, 3)


def train_transform(record, rng):
    frames = rng.integers(256, size=SHAPE, dtype=np.uint8)
    return {"frames": frames, "label": np.int32(record["id"])}


def eval_transform(record):
    return {"frames": np.full(SHAPE, record["id"], np.uint8), "label": np.int32(record["id"])}


def clips(size=SIZE):
    source = [{"id": index} for index in range(size)]
    names = tuple(str(index) for index in range(size))
    return ClipData("toy", names, SHAPE, source, source, [], train_transform, eval_transform)


def take(num, *, batch_size=4, seed=0, **options):
    batches = train_batches(clips(), batch_size=batch_size, seed=seed, **options)
    return [next(batches) for _ in range(num)]


def assert_equal(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for name in batch:
            np.testing.assert_array_equal(batch[name], other[name])


def join(batches, name):
    return np.concatenate([batch[name] for batch in batches])


def test_batch_has_the_documented_shapes_and_dtypes():
    batch = take(1)[0]
    assert {name: (str(a.dtype), a.shape) for name, a in batch.items()} == {
        "frames": ("uint8", (4, *SHAPE)),
        "label": ("int32", (4,)),
    }


@pytest.mark.parametrize("num_threads", [1, 3])
def test_seed_determines_the_batches(num_threads):
    assert_equal(take(6), take(6, num_threads=num_threads))


def test_another_seed_gives_other_batches():
    assert not np.array_equal(take(1)[0]["frames"], take(1, seed=1)[0]["frames"])


def test_an_epoch_meets_every_record_once():
    labels = join(take(10), "label").reshape(4, SIZE)
    for epoch in labels:
        assert sorted(epoch) == list(range(SIZE))


def test_every_epoch_has_its_own_order():
    labels = join(take(10), "label").reshape(4, SIZE)
    assert len(np.unique(labels, axis=0)) == 4


def test_every_epoch_draws_afresh():
    frames = join(take(10), "frames").reshape(4 * SIZE, -1)
    assert len(np.unique(frames, axis=0)) == 4 * SIZE


@pytest.mark.parametrize("count", [2, 4])
def test_global_batch_does_not_depend_on_the_process_count(count):
    parts = [take(6, process_index=index, process_count=count) for index in range(count)]
    for step, whole in enumerate(take(6)):
        for name, values in whole.items():
            shares = np.stack([part[step][name] for part in parts], axis=1)
            np.testing.assert_array_equal(shares.reshape(values.shape), values)


@pytest.mark.parametrize("step", [1, 2, 5])
@pytest.mark.parametrize("shard", [(0, 1), (1, 2)])
def test_start_step_continues_bit_for_bit(step, shard):
    options = dict(zip(("process_index", "process_count"), shard))
    assert_equal(take(8, **options)[step:], take(8 - step, start_step=step, **options))


def test_saved_state_continues_bit_for_bit():
    batches = train_batches(clips(), batch_size=4, seed=0)
    for _ in range(3):
        next(batches)
    state = batches.get_state()
    expected = [next(batches) for _ in range(4)]
    restored = train_batches(clips(), batch_size=4, seed=0)
    restored.set_state(state)
    assert_equal([next(restored) for _ in range(4)], expected)


@pytest.mark.parametrize("size", [1, 8, 10])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_evaluation_counts_every_example_once(size, count):
    shards = [
        list(eval_batches(clips(size), batch_size=4, process_index=index, process_count=count))
        for index in range(count)
    ]
    assert {len(shard) for shard in shards} == {-(-size // 4)}
    batches = [batch for shard in shards for batch in shard]
    assert {batch["mask"].shape for batch in batches} == {(4 // count,)}
    assert sorted(join(batches, "label")[join(batches, "mask")]) == list(range(size))


def test_evaluation_is_in_the_order_of_the_source():
    batches = list(eval_batches(clips(), "train", batch_size=4))
    assert join(batches, "label").tolist() == [*range(SIZE), 9, 9]
    assert join(batches, "frames")[:, 0, 0, 0, 0].tolist() == [*range(SIZE), 9, 9]
    assert join(batches, "mask").tolist() == [True] * SIZE + [False] * 2


@pytest.mark.parametrize("batches", [train_batches, eval_batches])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 6, "process_count": 4}, "batch_size 6 .* process_count 4"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"batch_size": 4, "process_count": 2, "process_index": 2}, "process_index 2"),
    ],
)
def test_impossible_shares_are_refused(batches, options, message):
    seed = {"seed": 0} if batches is train_batches else {}
    with pytest.raises(ValueError, match=message):
        batches(clips(), **options, **seed)


def test_negative_step_is_refused():
    with pytest.raises(ValueError, match="start_step -1"):
        take(1, start_step=-1)


@pytest.mark.parametrize(("split", "message"), [("dev", "unknown split 'dev'"), ("test", "empty")])
def test_unknown_and_empty_splits_are_refused(split, message):
    with pytest.raises(ValueError, match=message):
        eval_batches(clips(), split, batch_size=4)


@pytest.mark.parametrize("batches", ["train", "validation"])
def test_record_that_cannot_be_read_says_what_to_do(batches):
    class Broken(list):
        def __getitem__(self, index):
            raise RuntimeError("chunk data hash mismatch")

    broken = dataclasses.replace(clips(), **{batches: Broken([0] * 10)})
    with pytest.raises(OSError, match=r"cannot be read \(chunk data hash mismatch\): remove its"):
        next(
            train_batches(broken, batch_size=2, seed=0)
            if batches == "train"
            else eval_batches(broken, batch_size=2)
        )
