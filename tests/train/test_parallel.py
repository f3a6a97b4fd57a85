"""pmap and jit: the same losses and counts on one device, on four, on two processes of two."""

import json

import numpy as np
import pytest


def finished(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])  # gloo speaks before


@pytest.fixture(scope="module")
def runs(start_toy, free_port):
    processes = {devices: start_toy("losses", devices=devices) for devices in (1, 4)}
    pair = [start_toy("losses", "--port", free_port, "--process", n, devices=2) for n in (0, 1)]
    found = {devices: finished(process) for devices, process in processes.items()}
    found["2 x 2"], found["the other"] = map(finished, pair)
    return {(kind, name): found[name][kind] for name in found for kind in ("pmap", "jit")}


CASES = [("pmap", 4), ("jit", 1), ("jit", 4), ("pmap", "2 x 2"), ("jit", "2 x 2")]


@pytest.mark.parametrize("what", ["losses", "confusion"])
def test_pmap_and_jit_agree_on_the_devices_at_hand(toy, what):
    runs = [getattr(toy, what)(toy.make_config(parallel=kind, steps=3)) for kind in ("pmap", "jit")]
    np.testing.assert_allclose(*runs, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pmap", "jit"])
def test_processes_agree(runs, kind):
    assert runs[kind, "2 x 2"] == runs[kind, "the other"]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_losses_equal_those_of_one_device(runs, case):
    losses, reference = runs[case][0], runs["pmap", 1][0]
    assert len(losses) == 50
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(losses, reference, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_confusion_counts_are_exact(runs, case):
    assert runs[case][1] == runs["pmap", 1][1]
    assert np.sum(runs[case][1]) == 19  # every test example once, the padding not at all
