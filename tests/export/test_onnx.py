"""ONNX graphs in ONNX Runtime: the logits of the model; skipped where jax2onnx is not installed.

It is no development dependency: it holds Orbax back to a version below 0.11.37.
"""

import jax
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht
from ht_jax.export import onnx
from tests.export.models import FRAME, classifier, clips, deep_classifier

pytest.importorskip("jax2onnx", reason="pip install 'ht_jax[onnx]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # jax2onnx and what it imports
]


@pytest.fixture(autouse=True)
def _single_precision():
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield


def _session(proto):
    import onnxruntime

    return onnxruntime.InferenceSession(proto.SerializeToString())


def _padded():
    fmt = ht.HT((10, 5), (4, 4), rank=3, in_features=48)
    cell = ht.nn.LSTMCell(48, 16, input=fmt, rngs=nnx.Rngs(0))
    return classifier([ht.nn.RNN(cell, scale=1 / 64)])


def _kronecker():
    cell = ht.nn.LSTMCell(48, 16, input=ht.KCP((8, 6), (4, 4), 2, 2), rngs=nnx.Rngs(0))
    return classifier([ht.nn.RNN(cell, scale=1 / 64)])


@pytest.mark.parametrize("make", [classifier, _padded, _kronecker], ids=["fdht", "padded", "kcp"])
@pytest.mark.parametrize("shape", [(2, 3), ("batch", "time")], ids=["fixed", "open"])
def test_sequences(make, shape):
    model, frames = make(), np.asarray(clips())
    session = _session(onnx(model, (*shape, *FRAME), dtype="uint8"))
    (logits,) = session.run(["outputs"], {"inputs": frames})
    np.testing.assert_allclose(logits, model(frames), rtol=0, atol=1e-5)


def test_steps_end_in_the_logits_of_the_clip(tmp_path):
    model, frames = deep_classifier(ht.TT((8, 4), (4, 4), 2)), np.asarray(clips(2, 3))
    session = _session(onnx(model, (2, *FRAME), step=True, path=tmp_path / "step.onnx"))
    assert (tmp_path / "step.onnx").stat().st_size > 0
    *states, frame = session.get_inputs()
    values = [np.zeros(state.shape, np.float32) for state in states]
    for t in range(3):
        feed = dict(zip([state.name for state in states], values)) | {frame.name: frames[:, t]}
        *values, logits = session.run(None, feed)
    np.testing.assert_allclose(logits, model(frames), rtol=0, atol=1e-5)


def test_lengths_of_sequences_are_an_input():
    model, frames, lengths = classifier(), np.asarray(clips()), np.array([1, 3], np.int32)
    session = _session(onnx(model, (2, 3, *FRAME), dtype="uint8", seq_lengths=True))
    (logits,) = session.run(None, {"inputs": frames, "seq_lengths": lengths})
    np.testing.assert_allclose(logits, model(frames, seq_lengths=lengths), rtol=0, atol=1e-5)


SHAPES = [(3, 6), ("batch", "time")]
LENGTHS = np.array([6, 2, 4], np.int32)


def _rnn(cell=ht.nn.LSTMCell, features=16, *, in_cell=(), **options):
    return ht.nn.RNN(cell(features, 8, rngs=nnx.Rngs(0), **dict(in_cell)), **options)


def _torch_like():
    forward, backward = _rnn(ht.nn.GRUCell), _rnn(ht.nn.SimpleCell)
    return ht.nn.Stacked([ht.nn.Bidirectional(forward, backward), _rnn(), _rnn(features=8)])


KRONECKER = {"joint": ht.KCP((6, 4), (4, 2), 2, 2)}
LAYERS = {
    "reversed": lambda: _rnn(reverse=True),
    "reversed in order": lambda: _rnn(reverse=True, keep_order=True),
    "carry": lambda: _rnn(return_carry=True),
    "carry, reversed": lambda: _rnn(ht.nn.GRUCell, return_carry=True, reverse=True),
    "bidirectional": lambda: ht.nn.Bidirectional(_rnn(), _rnn(ht.nn.GRUCell)),
    "bidirectional, carry": lambda: ht.nn.Bidirectional(_rnn(), _rnn(), return_carry=True),
    "stacked": _torch_like,
    "kcp": lambda: _rnn(in_cell=KRONECKER),
    "normalised": lambda: _rnn(in_cell={"layer_norm": True}),
    "time-major": lambda: _rnn(time_major=True),
    "time-major, reversed": lambda: _rnn(time_major=True, reverse=True, keep_order=True),
}


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
@pytest.mark.parametrize("shape", SHAPES, ids=["fixed", "open"])
@pytest.mark.parametrize("kind", LAYERS)
def test_layers(kind, shape, padded):
    model, sizes = LAYERS[kind](), (3, 6)
    if kind.startswith("time-major"):
        shape, sizes = shape[::-1], sizes[::-1]
    x = np.random.default_rng(0).normal(size=(*sizes, 16)).astype(np.float32)
    session = _session(onnx(model, (*shape, 16), seq_lengths=padded))
    for lengths in (LENGTHS, LENGTHS * 0) if padded else (None,):
        feed = {"inputs": x} | ({"seq_lengths": lengths} if padded else {})
        expected = jax.tree.leaves(model(x, seq_lengths=lengths))
        for output, wanted in zip(session.run(None, feed), expected, strict=True):
            np.testing.assert_allclose(output, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=["fixed", "open"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_packed_sequences_of_torch(kind, bidirectional, shape):
    torch = pytest.importorskip("torch")
    pack, pad = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    torch.manual_seed(0)
    layers = getattr(torch.nn, kind)(16, 8, 2, batch_first=True, bidirectional=bidirectional)
    x, options = torch.randn(3, 6, 16), {"batch_first": True, "enforce_sorted": False}
    with torch.no_grad():
        packed, _ = layers(pack(x, torch.tensor(LENGTHS, dtype=torch.int64), **options))
        whole, _ = layers(x)
    expected, _ = pad(packed, batch_first=True, total_length=6)
    model, x = ht.convert.from_torch(layers.state_dict()), x.numpy()
    session = _session(onnx(model, (*shape, 16), seq_lengths=True))
    (outputs,) = session.run(None, {"inputs": x, "seq_lengths": LENGTHS})
    np.testing.assert_allclose(outputs, expected.numpy(), rtol=0, atol=1e-6)
    (outputs,) = _session(onnx(model, (*shape, 16))).run(None, {"inputs": x})
    np.testing.assert_allclose(outputs, whole.numpy(), rtol=0, atol=1e-6)


def test_several_outputs_have_numbers():
    outputs = onnx(_rnn(return_carry=True), (1, 2, 16)).graph.output
    assert [output.name for output in outputs] == ["outputs_0", "outputs_1", "outputs_2"]


def test_a_recurrent_kronecker_product_takes_sizes_and_names():
    model, frames = deep_classifier(), np.asarray(clips())
    for shape in ((2, 3), ("batch", 3)):
        session = _session(onnx(model, (*shape, *FRAME), dtype="uint8"))
        (logits,) = session.run(None, {"inputs": frames})
        np.testing.assert_allclose(logits, model(frames), rtol=0, atol=1e-5)


def test_what_jax2onnx_lacks_is_left_to_stablehlo():
    function = lambda x: jax.random.normal(jax.random.key(0), (3,)) + x  # noqa: E731
    with pytest.raises(ValueError, match=r"cannot convert.*stablehlo"):
        onnx(function, (3,))
    assert ht.export.stablehlo(function, (3,)).call(np.zeros(3, np.float32)).shape == (3,)
