"""The NumPy runtime: the same logits as JAX, in a process that has no JAX."""

import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

import ht_jax as ht
from ht_jax.export import copy_runtime, load, runtime
from ht_jax.export import numpy as to_numpy
from ht_jax.export.files import read
from tests.export.models import classifier, clips, deep_classifier


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def _logits(path, frames):
    model = runtime.Classifier(path)
    return np.stack([model(clip) for clip in np.asarray(frames)])


@pytest.mark.parametrize("make", [classifier, deep_classifier], ids=["fdht", "all cells"])
def test_logits_are_those_of_jax(path, make):
    model, frames = make(), clips(5, 4)
    to_numpy(model, path)
    np.testing.assert_allclose(_logits(path, frames), model(frames), rtol=0, atol=1e-5)


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_stored_numbers_are_read_alike(path, storage):
    to_numpy(classifier(), path, storage=storage)
    expected = load(path)(clips())
    np.testing.assert_allclose(_logits(path, clips()), expected, rtol=0, atol=1e-5)


def test_floats_are_not_scaled(path):
    model, frames = classifier(), clips().astype("float32") / 64
    to_numpy(model, path)
    np.testing.assert_allclose(_logits(path, frames), model(frames), rtol=0, atol=1e-5)


def test_bfloat16_weights_are_read(path):
    cell = ht.nn.SimpleCell(48, 8, param_dtype="bfloat16", dtype="float32", rngs=nnx.Rngs(0))
    model = classifier([ht.nn.RNN(cell, scale=0.01)])
    to_numpy(model, path)
    np.testing.assert_allclose(_logits(path, clips()), model(clips()), rtol=0, atol=1e-5)


def test_a_compressed_classifier_is_run(path):
    model = classifier()
    model.classifier = ht.nn.TensorDense(ht.LowRank(16, 5, 2), rngs=nnx.Rngs(0))
    model.classifier.bias[...] = jnp.arange(5, dtype=jnp.float32)
    to_numpy(model, path)
    np.testing.assert_allclose(_logits(path, clips()), model(clips()), rtol=0, atol=1e-5)


def test_the_file_is_short_and_stands_alone(path, tmp_path):
    to_numpy(classifier(), path, card={"class_names": list("abcde")})
    np.save(tmp_path / "frames.npy", np.asarray(clips())[0])
    script = copy_runtime(tmp_path)
    assert len(script.read_text().splitlines()) < 300
    code = (
        "import sys; sys.modules.update(jax=None, ht_jax=None, safetensors=None); "
        f"sys.argv = ['x', {str(path)!r}, 'frames.npy']; import runtime; "
        "sys.exit(runtime.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        f"frame {n}" for n in range(3)
    ]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda rngs: ht.nn.RNN(ht.nn.SimpleCell(48, 8, rngs=rngs), reverse=True),
            "frame by frame",
        ),
        (
            lambda rngs: ht.nn.Bidirectional(
                *(ht.nn.RNN(ht.nn.SimpleCell(48, 16, rngs=rngs)) for _ in range(2))
            ),
            "Bidirectional that cannot",
        ),
        (
            lambda rngs: ht.nn.RNN(ht.nn.SimpleCell(48, 8, rngs=rngs), time_major=True),
            "frame by frame",
        ),
        (
            lambda rngs: ht.nn.Stacked(
                [ht.nn.RNN(ht.nn.SimpleCell(48, 8, rngs=rngs), reverse=True, keep_order=True)]
            ),
            "frame by frame",
        ),
    ],
)
def test_layers_that_need_the_whole_clip_are_refused(path, make, reason):
    with pytest.raises(ValueError, match=reason):
        to_numpy(classifier([make(nnx.Rngs(0))]), path)
    assert not path.exists()


def _own(base):
    return type("Own", (base,), {})


SUBCLASSES = {
    "cell": lambda rngs: classifier([ht.nn.RNN(_own(ht.nn.LSTMCell)(48, 16, rngs=rngs))]),
    "RNN": lambda rngs: classifier([_own(ht.nn.RNN)(ht.nn.LSTMCell(48, 16, rngs=rngs))]),
    "classifier": lambda rngs: classifier(classifier=_own(nnx.Linear)(16, 5, rngs=rngs)),
    "model": lambda rngs: _own(ht.models.VideoClassifier)(
        ht.nn.RNN(ht.nn.LSTMCell(48, 16, rngs=rngs)), 16, 5, rngs=rngs
    ),
    "frozen": lambda rngs: classifier([ht.nn.RNN(ht.nn.freeze(ht.nn.LSTMCell(48, 16, rngs=rngs)))]),
}


@pytest.mark.parametrize("kind", SUBCLASSES)
def test_a_layer_with_equations_of_its_own_is_refused(path, kind):
    with pytest.raises(ValueError, match=r"Own|LSTMCell\.frozen|frozen"):
        to_numpy(SUBCLASSES[kind](nnx.Rngs(0)), path)
    assert not path.exists()


def _rewrite(path, arrays=None, program=None):
    old, texts = read(path)
    texts["program"] = json.dumps({**json.loads(texts["program"]), **(program or {})})
    save_file(old | (arrays or {}), path, texts)


BROKEN = {
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-3]), "are not all there"),
    "longer": (lambda p: p.write_bytes(p.read_bytes() + b"more"), "does not end"),
    "foreign": (lambda p: p.write_bytes(b"\x80\x04" * 40), "not a whole safetensors"),
    "newer": (lambda p: _rewrite(p, program={"version": 9}), "version 9, this file reads"),
    "shape": (
        lambda p: _rewrite(p, {"classifier.kernel": np.zeros((3, 5), np.float32)}),
        "kernel has shape",
    ),
    "NaN": (
        lambda p: _rewrite(p, {"classifier.bias": np.full(5, np.nan, np.float32)}),
        "classifier.bias holds numbers that are not finite",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_with_the_reason(path, case):
    to_numpy(classifier(), path)
    harm, reason = BROKEN[case]
    harm(path)
    with pytest.raises(ValueError, match=reason) as caught:
        runtime.Classifier(path)
    assert str(path) in str(caught.value)


def test_a_file_without_a_program_is_told_so(path):
    ht.export.save(classifier(), path)
    with pytest.raises(ValueError, match="holds no program"):
        runtime.Classifier(path)


def test_a_frame_of_another_size_is_refused(path):
    to_numpy(classifier(), path)
    with pytest.raises(ValueError, match="48 numbers, not 47"):
        runtime.Classifier(path).step(np.zeros(47, np.uint8))
