"""pmap and jit, on one device and on four, give the same losses and the same counts."""

import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def runs(start_toy):
    processes = {devices: start_toy("losses", devices=devices) for devices in (1, 4)}
    found = {}
    for devices, process in processes.items():
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        found |= {(kind, devices): run for kind, run in json.loads(output).items()}
    return found


CASES = [("pmap", 4), ("jit", 1), ("jit", 4)]


@pytest.mark.parametrize("case", CASES)
def test_losses_equal_those_of_one_device(runs, case):
    losses, reference = runs[case][0], runs["pmap", 1][0]
    assert len(losses) == 20
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(losses, reference, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_confusion_counts_are_exact(runs, case):
    assert runs[case][1] == runs["pmap", 1][1]
    assert np.sum(runs[case][1]) == 19  # every test example once, the padding not at all
