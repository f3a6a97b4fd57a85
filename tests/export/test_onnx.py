"""ONNX graphs in ONNX Runtime: the logits of the model; skipped where jax2onnx is not installed.

It is no development dependency: it holds Orbax back to a version below 0.11.37.
"""

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
    import jax

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


def test_a_recurrent_kronecker_product_asks_for_an_open_batch():
    model, frames = deep_classifier(), np.asarray(clips())
    session = _session(onnx(model, ("batch", 3, *FRAME), dtype="uint8"))
    (logits,) = session.run(None, {"inputs": frames})
    np.testing.assert_allclose(logits, model(frames), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="jax2onnx cannot convert this model for shapes"):
        onnx(model, (2, 3, *FRAME), dtype="uint8")
