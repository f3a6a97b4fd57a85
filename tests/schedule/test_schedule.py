"""Schedules: every candidate computes the same, costs order them, JSON keeps them."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ht_jax as ht
from ht_jax import schedule as schedules

PAPER = ht.HT((8, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5).with_gates(4)
SMALL = ht.HT((4, 5, 3), (2, 3, 4), rank=3)
# Rank and term indices that stand in many cores, as in CP and block-term formats.
HYPER = ht.TensorNetwork.of(
    {"a": ("n", "i", "r"), "b": ("n", "j", "r"), "c": ("n", "o", "r"), "d": ("n", "p", "r")},
    {"n": 2, "r": 3, "i": 4, "j": 5, "o": 3, "p": 2},
    ("i", "j"),
    ("o", "p"),
)


def cores_of(net, seed=0):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=net.shape(name))) for name in net.cores}


@pytest.mark.parametrize("net", [SMALL.network(), HYPER], ids=["tree", "hyperindices"])
@pytest.mark.parametrize("mode", ["train", "infer"])
def test_all_candidates_compute_the_same(net, mode):
    cores = cores_of(net)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(7, net.in_size)))
    number = {index: n for n, (index, _) in enumerate(net.sizes)}
    operands = [(np.asarray(cores[name]), [number[i] for i in at]) for name, at in net.operands]
    opened = [number[i] for i in (*net.inputs, *net.outputs)]
    kernel = np.einsum(*itertools.chain(*operands), opened)
    wanted = np.asarray(x) @ kernel.reshape(net.in_size, net.out_size)
    found = schedules.ranked(schedules.Problem(net, 7, "float64", mode))
    assert len(found) >= 4
    for schedule in found:
        run = jax.jit(lambda cores, x, s=schedule: schedules.run(s, cores, x))
        np.testing.assert_allclose(run(cores, x), wanted, rtol=1e-10, err_msg=schedule.found_by)


def test_search_finds_both_families():
    found = [s.found_by for s in schedules.ranked(PAPER.problem(96))]
    assert any("groups" in name for name in found)
    assert any("cotengra" in name for name in found)


def test_the_chosen_schedule_is_shaped_as_few_large_products():
    schedule = ht.plan(PAPER, batch=96)
    fewest = min(schedules.ranked(PAPER.problem(96)), key=lambda s: s.flops)
    first = next(step for step in schedule.steps if "@x" in (step.left, step.right))
    product = schedule.product(first)
    assert not product.transposes_left
    inner = np.prod([schedule.size[i] for i in product.inner])
    assert inner >= 360  # skinnier products run at a few percent of the peak
    assert schedule.flops > 1.5 * fewest.flops
    assert schedule.seconds < 0.5 * fewest.seconds


def test_the_choice_is_the_same_every_time():
    chosen = [schedules.ranked(PAPER.problem(96))[0] for _ in range(2)]
    assert chosen[0] == chosen[1]


def test_flops_and_peak_are_those_of_the_steps():
    net = ht.TensorNetwork.of({"u": "ir", "v": "ro"}, {"i": 6, "r": 2, "o": 4}, "i", "o")
    steps = (
        schedules.Step("@x", "u", "@t0", ("@batch", "r")),
        schedules.Step("@t0", "v", "@t1", ("@batch", "o")),
    )
    given = schedules.Schedule(net, 10, "float32", "infer", steps)
    priced = schedules.price(given, schedules.device("cpu"))
    assert priced.flops == 2 * 10 * (6 * 2 + 2 * 4)
    assert priced.backward_flops == 2 * 10 * (6 * 2 + 2 * 2 * 4)  # x itself has no gradient
    assert priced.peak_bytes == 4 * 10 * (2 + 4)
    assert priced.bytes_moved == 4 * (10 * 6 + 6 * 2 + 10 * 2) + 4 * (10 * 2 + 2 * 4 + 10 * 4)


def test_json_reads_back():
    schedule = ht.plan(SMALL, batch=5, mode="infer")
    assert ht.Schedule.from_json(schedule.to_json()) == schedule


@pytest.mark.parametrize(
    "spoil",
    [
        lambda fields: fields.pop("steps"),
        lambda fields: fields.update(version=3),
        lambda fields: fields["steps"].pop(),
        lambda fields: fields["steps"].append(fields["steps"][0]),
        lambda fields: fields["steps"][0].update(left="nothing"),
        lambda fields: fields["steps"][-1].update(indices=["@batch"]),
        lambda fields: fields["steps"][0]["indices"].remove(_bond(fields)),
        lambda fields: fields["network"].update(inputs=["elsewhere"]),
        lambda fields: fields.update(unknown=1),
    ],
)
def test_spoiled_json_is_refused(spoil):
    fields = json.loads(ht.plan(SMALL, batch=5).to_json())
    spoil(fields)
    with pytest.raises(ValueError, match=r"schedule|step|index"):
        ht.Schedule.from_json(json.dumps(fields))


def _bond(fields):
    """An index that the first step keeps for a later one."""
    made, net = fields["steps"][0]["indices"], fields["network"]
    return next(i for i in made if i not in ("@batch", *net["outputs"]))


def test_json_of_version_1_is_read():
    schedule = ht.plan(SMALL, batch=5)
    fields = json.loads(schedule.to_json())
    fields["version"], fields["reading"] = 1, fields.pop("arithmetic")
    net = fields["network"]
    net["cores"] = net.pop("operands")
    del net["shared"]
    assert ht.Schedule.from_json(json.dumps(fields)) == schedule


def test_text_that_is_not_json_is_refused():
    with pytest.raises(ValueError, match="not the JSON of a schedule"):
        ht.Schedule.from_json("{")


def test_a_schedule_runs_with_another_number_of_rows(key):
    weight = SMALL.init(key, jnp.float64)
    x = jnp.ones((3, 60))
    schedule = ht.plan(SMALL, batch=5)
    wanted = x @ weight.to_dense()
    np.testing.assert_allclose(ht.apply(weight, x, schedule=schedule), wanted, rtol=1e-12)


def test_explain_has_a_line_for_every_step():
    schedule = ht.plan(SMALL, batch=5)
    text = schedule.explain()
    assert len(text.splitlines()) == 1 + len(schedule.steps)
    assert "60 -> 24, 5 rows" in text


def test_an_unknown_device_counts_as_a_gpu():
    assert schedules.device("abacus") == schedules.device("gpu")


def test_bfloat16_moves_half_the_bytes():
    schedule = ht.plan(SMALL, batch=5)
    half = schedules.price(dataclasses.replace(schedule, dtype="bfloat16"), schedules.device("cpu"))
    assert half.bytes_moved == schedule.bytes_moved / 2
