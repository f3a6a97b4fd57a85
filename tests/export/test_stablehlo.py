"""StableHLO artefacts: read back from a file, they give the logits of the model."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht
from ht_jax.export import load_stablehlo, stablehlo, stream
from tests.export.models import FRAME, classifier, clips, deep_classifier


def test_one_file_takes_any_batch_and_time(tmp_path):
    model, path = classifier(), tmp_path / "model.stablehlo"
    stablehlo(model, ("batch", "time", *FRAME), dtype="uint8", path=path)
    artefact = load_stablehlo(path)
    assert artefact.platforms == ("cpu", "cuda", "tpu")
    for sizes in ((2, 3), (3, 5)):
        frames = clips(*sizes)
        np.testing.assert_allclose(artefact.call(frames), model(frames), rtol=0, atol=1e-6)


def test_lengths_of_sequences_are_an_argument():
    model, lengths = classifier(), jnp.array([1, 3], jnp.int32)
    artefact = stablehlo(model, (2, "time", *FRAME), dtype="uint8", seq_lengths=True)
    expected = model(clips(), seq_lengths=lengths)
    np.testing.assert_allclose(artefact.call(clips(), lengths), expected, rtol=0, atol=1e-6)


def test_a_time_major_layer_takes_one_length_for_each_sequence():
    rnn = ht.nn.RNN(ht.nn.GRUCell(6, 4, rngs=nnx.Rngs(0)), time_major=True)
    x, lengths = jnp.ones((5, 3, 6), jnp.float32), jnp.array([1, 3, 5], jnp.int32)
    artefact = stablehlo(rnn, (5, 3, 6), seq_lengths=True)
    np.testing.assert_array_equal(artefact.call(x, lengths), rnn(x, seq_lengths=lengths))


class Doubled(ht.nn.SimpleCell):
    """A cell with equations of its own."""

    def update(self, carry, z, u):
        h = 2 * jnp.tanh(z - u)
        return h, h


def test_a_subclass_of_a_cell_is_traced_with_its_own_equations():
    rnn = ht.nn.RNN(Doubled(48, 16, rngs=nnx.Rngs(0)))
    model, frames = classifier([rnn]), clips(2, 3)
    artefact = stablehlo(model, (2, 3, *FRAME), dtype="uint8")
    np.testing.assert_allclose(artefact.call(frames), model(frames), rtol=0, atol=1e-6)
    start, step = stream(model)
    states = start(frames[:, 0])
    for t in range(3):
        states, logits = step(states, frames[:, t])
    np.testing.assert_allclose(logits, model(frames), rtol=0, atol=1e-6)


@pytest.mark.parametrize("base", [ht.nn.RNN, ht.nn.Stacked, ht.models.VideoClassifier])
def test_a_subclass_that_may_call_otherwise_is_not_run_frame_by_frame(base):
    rnn, own = ht.nn.RNN(ht.nn.SimpleCell(48, 16, rngs=nnx.Rngs(0))), type("Own", (base,), {})
    if base is ht.models.VideoClassifier:
        model = own(rnn, 16, 5, rngs=nnx.Rngs(0))
    else:
        model = classifier()
        model.rnn = own(rnn.cell) if base is ht.nn.RNN else own([rnn])
    with pytest.raises(ValueError, match=r"Own .*cannot run frame by frame"):
        stablehlo(model, (1, *FRAME), step=True)


def test_steps_end_in_the_logits_of_the_clip():
    model, frames = deep_classifier(), clips(2, 3)
    artefact = stablehlo(model, ("batch", *FRAME), step=True)
    states = [jnp.zeros((2, *aval.shape[1:]), aval.dtype) for aval in artefact.in_avals[:-1]]
    for t in range(3):
        *states, logits = artefact.call(*states, frames[:, t])
    np.testing.assert_allclose(logits, model(frames), rtol=0, atol=1e-6)


def test_a_stream_takes_frames_as_they_come():
    model, frames = classifier(), clips(2, 3)
    start, step = stream(model)
    states = start(frames[:, 0])
    for t in range(3):
        states, logits = step(states, frames[:, t])
    np.testing.assert_allclose(logits, model(frames), rtol=0, atol=1e-6)


def test_export_leaves_the_model_in_training_mode():
    model = nnx.Sequential(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(0)))
    artefact = stablehlo(model, (1, 3))
    x = jnp.ones((1, 3), jnp.float32)
    np.testing.assert_array_equal(artefact.call(x), model.layers[0](x))
    assert not model.layers[1].deterministic


def test_a_model_that_cannot_stream_is_refused():
    rnns = [ht.nn.RNN(ht.nn.SimpleCell(48, 16, rngs=nnx.Rngs(0))) for _ in range(2)]
    with pytest.raises(ValueError, match="Bidirectional that cannot run frame by frame"):
        stablehlo(classifier([ht.nn.Bidirectional(*rnns)]), (1, *FRAME), step=True)


@pytest.mark.parametrize("harm", [b"", b"not an artefact", None], ids=["empty", "foreign", "cut"])
def test_a_broken_file_is_named(tmp_path, harm):
    path = tmp_path / "model.stablehlo"
    if harm is None:
        stablehlo(lambda x: x + 1, (3,), path=path)
        harm = path.read_bytes()[:100]
    path.write_bytes(harm)
    with pytest.raises(ValueError, match="not an artefact") as caught:
        load_stablehlo(path)
    assert str(path) in str(caught.value)


def test_a_shape_must_be_numbers_and_names():
    with pytest.raises(ValueError, match="numbers and names"):
        stablehlo(lambda x: x, (3, 2.5))
