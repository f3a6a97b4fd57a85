"""Random input over the public surface: a clean error or a right answer, never anything else.

HT_FUZZ_EXAMPLES cases a test; the few of the fast tests are the same every time.
"""

import contextlib
import copy
import json
import math
import os

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

import ht_jax as ht
from ht_jax.export.files import read as read_safetensors
from ht_jax.formats import Format, parse_format
from ht_jax.schedule import Schedule
from ht_jax.train import TrainConfig, UserError
from ht_jax.train.check import check_values
from ht_jax.train.config import to_dict
from ht_jax.train.metrics import read_metrics
from ht_jax.train.report import read_summary
from ht_jax.train.restore import read_config

pytestmark = pytest.mark.filterwarnings("ignore::ht_jax.RankWarning")
EXAMPLES = int(os.environ.get("HT_FUZZ_EXAMPLES", "20"))
settings = hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES == 20,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)

MODES = st.lists(st.integers(1, 5), min_size=3, max_size=3).map(tuple) | st.lists(
    st.integers(-1, 5), max_size=5
).map(tuple)
RANK = st.integers(1, 6) | st.lists(st.integers(-1, 4), max_size=4).map(tuple)
LEAF = st.integers(-1, 3)
TREES = st.recursive(LEAF, lambda inner: st.tuples(inner, inner), max_leaves=5)
BUILDERS = {
    "HT": st.fixed_dictionaries(
        {"in_modes": MODES, "out_modes": MODES, "rank": RANK},
        optional={"leaf_rank": RANK, "tree": TREES, "in_features": st.integers(0, 60)},
    ),
    "TT": st.fixed_dictionaries({"in_modes": MODES, "out_modes": MODES, "rank": RANK}),
    "TR": st.fixed_dictionaries(
        {"in_modes": MODES, "out_modes": MODES, "rank": RANK},
        optional={"closing_rank": st.integers(0, 4)},
    ),
    "BT": st.fixed_dictionaries(
        {"in_modes": MODES, "out_modes": MODES, "rank": RANK, "terms": st.integers(-1, 3)}
    ),
    "KCP": st.fixed_dictionaries(
        {"in_modes": MODES, "out_modes": MODES, "rank": RANK, "terms": st.integers(-1, 3)}
    ),
    "CP": st.fixed_dictionaries({"in_modes": MODES, "out_modes": MODES, "rank": RANK}),
    "Tucker": st.fixed_dictionaries({"in_modes": MODES, "out_modes": MODES, "rank": RANK}),
    "LowRank": st.fixed_dictionaries(
        {"in_features": st.integers(-1, 9), "out_features": st.integers(-1, 9), "rank": RANK}
    ),
}
CALLS = st.sampled_from(sorted(BUILDERS)).flatmap(
    lambda name: st.tuples(st.just(name), BUILDERS[name])
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**9) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


def built(call):
    """The format of a call, or None where its constructor refuses."""
    name, arguments = call
    with contextlib.suppress(ValueError):
        return getattr(ht, name)(**arguments)


@settings
@given(CALLS)
def test_formats_count_their_numbers_or_refuse(call):
    fmt = built(call)
    if fmt is not None:
        net = fmt.network()
        sizes = [math.prod(net.shape(name)) for name in net.indices]
        assert fmt.num_params == sum(sizes) > 0


@settings
@given(CALLS, st.integers(1, 4))
def test_gates_multiply_the_outputs_or_are_refused(call, gates):
    fmt = built(call)
    if fmt is not None:
        assert fmt.with_gates(gates).out_features == gates * fmt.out_features
        assert fmt.with_gates(gates).in_features == fmt.in_features


@settings
@given(st.data())
def test_text_is_a_format_or_refused(data):
    name, arguments = data.draw(CALLS)
    text = f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
    text = data.draw(st.sampled_from([text, mutated(data, text)]) | st.text(max_size=40))
    with contextlib.suppress(ValueError):
        assert isinstance(parse_format(text), Format)


def mutated(data, text):
    """A text with a piece cut out, doubled, or replaced."""
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 12)))
    piece = data.draw(st.text(max_size=3) | st.just(text[start:stop] * 2) | st.just(""))
    return text[:start] + piece + text[stop:]


def spoiled(data, value):
    """Plain data with one value, somewhere inside, replaced, or its text changed."""
    value = copy.deepcopy(value)
    if data.draw(st.booleans()):
        return mutated(data, json.dumps(value))
    node = value
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            node[key] = data.draw(JSON_VALUES)
            return json.dumps(value)
        node = node[key]


SCHEDULE = json.loads(ht.plan(ht.HT((3, 4), (2, 3), rank=2), batch=4).to_json())


@settings
@given(st.data())
def test_schedule_file_is_a_schedule_or_refused(data):
    text = spoiled(data, SCHEDULE)
    with contextlib.suppress(ValueError):
        assert isinstance(Schedule.from_json(text).explain(), str)


def test_step_without_a_name_is_refused():  # found by fuzzing
    fields = copy.deepcopy(SCHEDULE)
    fields["steps"][-1]["out"] = None
    with pytest.raises(ValueError, match="has no name"):
        Schedule.from_json(json.dumps(fields))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@settings
@given(st.data())
def test_config_file_is_a_configuration_or_refused(folder, data):
    (folder / "config.json").write_text(spoiled(data, to_dict(TrainConfig())), errors="replace")
    with contextlib.suppress(UserError):
        check_values(read_config(folder))


@settings
@given(st.data())
def test_files_of_results_are_read_or_refused(folder, data):
    record = {"step": 3, "split": "train", "loss": 0.5}
    text = spoiled(data, record)
    for name in ("metrics.jsonl", "summary.json"):
        (folder / name).write_text(text + "\n", errors="replace")
    assert all({"step", "split"} <= each.keys() for each in read_metrics(folder / "metrics.jsonl"))
    with pytest.raises(UserError):
        read_summary(folder / "summary.json")


@pytest.fixture(scope="module")
def safetensors(folder):
    linear = ht.nn.TensorDense(ht.TT((3, 4), (2, 3), rank=2), rngs=nnx.Rngs(0))
    ht.export.save(linear, folder / "model.safetensors")
    return (folder / "model.safetensors").read_bytes()


def test_description_without_a_model_is_refused(folder, safetensors):
    path = folder / "found_by_fuzzing.safetensors"
    path.write_bytes(safetensors.replace(b'"model', b'"Bodel', 1).replace(b"model", b"Bodel"))
    with pytest.raises(ValueError, match="model"):
        ht.export.load(path)
    path.unlink()


@settings
@given(st.data())
def test_safetensors_are_read_or_refused(folder, safetensors, data):
    content, path = bytearray(safetensors), folder / "fuzzed.safetensors"
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    before = sorted(folder.iterdir())
    with contextlib.suppress(ValueError):
        arrays, _ = read_safetensors(path)
        assert all(isinstance(each, np.ndarray) for each in arrays.values())
        ht.export.load(path)
    assert sorted(folder.iterdir()) == before


@pytest.mark.slow
@hypothesis.settings(settings, max_examples=max(EXAMPLES // 20, 20))
@given(CALLS, st.integers(0, 3), st.sampled_from(["float32", "float64"]))
def test_product_is_that_with_the_dense_matrix(call, rows, dtype):
    fmt = built(call)
    if fmt is None or fmt.num_params > 10_000:
        return
    weight = fmt.init(jax.random.key(0), dtype=jnp.dtype(dtype))
    x = np.random.default_rng(0).normal(size=(rows, fmt.in_features)).astype(dtype)
    found, wanted = ht.apply(weight, x), x @ np.asarray(weight.to_dense())
    bound = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(found, wanted, atol=bound * max(1, np.abs(wanted).max(initial=0)))


CELLS = {
    "LSTM": (ht.nn.LSTMCell, {}),
    "HT-LSTM": (ht.nn.LSTMCell, {"input": ht.HT((2, 3), (2, 2), 2)}),
    "FDHT-LSTM": (ht.nn.LSTMCell, {"joint": ht.HT((5, 2), (2, 2), 2)}),
    "TT-GRU": (ht.nn.GRUCell, {"input": ht.TT((2, 3), (2, 2), 2)}),
    "RNN": (ht.nn.SimpleCell, {}),
}


@pytest.mark.slow
@hypothesis.settings(settings, max_examples=max(EXAMPLES // 20, 20))
@given(st.sampled_from(sorted(CELLS)), st.integers(0, 4), st.booleans(), st.data())
def test_masked_sequences_equal_those_cut_short(name, time, reverse, data):
    lengths = data.draw(st.lists(st.integers(-1, time + 1), min_size=1, max_size=3))
    dtype = data.draw(st.sampled_from(["float32", "float64", "uint8"]))
    make, options = CELLS[name]
    options = {**options, "param_dtype": jnp.float64 if dtype == "float64" else jnp.float32}
    rnn = ht.nn.RNN(make(6, 4, **options, rngs=nnx.Rngs(0)), scale=0.1, return_carry=True)
    x = np.random.default_rng(0).integers(0, 9, (len(lengths), time, 6)).astype(dtype)
    carry, y = rnn(x, seq_lengths=jnp.asarray(lengths), reverse=reverse, keep_order=True)
    for row, length in enumerate(np.clip(lengths, 0, time)):
        alone, wanted = rnn(x[row : row + 1, :length], reverse=reverse, keep_order=True)
        np.testing.assert_allclose(y[row, :length], wanted[0], atol=1e-5)
        assert not np.any(y[row, length:])
        for one, other in zip(jax.tree.leaves(carry), jax.tree.leaves(alone)):
            np.testing.assert_allclose(one[row], other[0], atol=1e-5)
