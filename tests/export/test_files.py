"""safetensors files: what comes back is the model that went in, and nothing else gets through."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

import ht_jax as ht
from ht_jax.export import describe, load, read_card, save
from ht_jax.export.files import arrays_of, read
from tests.export.models import FRAME, classifier, clips, deep_classifier


def bidirectional():
    rngs = nnx.Rngs(2)
    cells = [ht.nn.GRUCell(48, 16, input=ht.TT((8, 6), (4, 4), 2), rngs=rngs) for _ in range(2)]
    both = ht.nn.Bidirectional(*(ht.nn.RNN(cell, scale=0.1) for cell in cells))
    return classifier([both])


def with_cnn():
    rngs = nnx.Rngs(3)
    cnn = ht.nn.SmallCNN(FRAME, (4, 4), rngs=rngs)
    cell = ht.nn.SimpleCell(cnn.out_features, 8, rngs=rngs)
    return classifier([ht.nn.RNN(cell)], features=cnn)


MODELS = [classifier, deep_classifier, bidirectional, with_cnn]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize(
    "make",
    [MODELS[0], *(pytest.param(make, marks=pytest.mark.slow) for make in MODELS[1:])],
    ids=lambda make: make.__name__,
)
def test_the_loaded_model_is_the_saved_one(path, make):
    model = make()
    save(model, path)
    loaded = load(path)
    chex.assert_trees_all_equal(arrays_of(loaded), arrays_of(model))
    assert describe(loaded) == describe(model)
    np.testing.assert_array_equal(loaded(clips()), model(clips()))


def test_other_layers_come_back(path):
    rngs = nnx.Rngs(0)
    options = {"param_dtype": jnp.bfloat16, "precision": jax.lax.Precision.HIGHEST}
    dense = ht.nn.TensorDense(ht.TR((4, 4), (2, 2), 2), use_bias=False, rngs=rngs, **options)
    embed = ht.nn.TensorEmbed(20, 16, ht.TT((4, 5), (4, 4), 2), rngs=rngs)
    model = nnx.Sequential(embed, nnx.Linear(16, 16, rngs=rngs), nnx.relu, dense)
    save(model, path)
    loaded = load(path)
    chex.assert_trees_all_equal(arrays_of(loaded), arrays_of(model))
    assert loaded.layers[3].precision == "highest"
    assert loaded.layers[3].format == dense.format


def test_dropout_between_layers_has_a_stream_again(path):
    rngs = nnx.Rngs(0)
    layers = [ht.nn.RNN(ht.nn.SimpleCell(8, 8, rngs=rngs)) for _ in range(2)]
    save(ht.nn.Stacked(layers, dropout=0.5, rngs=rngs), path)
    loaded = load(path)
    loaded.train()
    assert loaded(jnp.ones((1, 2, 8), jnp.float32)).shape == (1, 2, 8)


@pytest.mark.parametrize(("storage", "error"), [("float16", 1e-3), ("int8", 2e-2)])
def test_storage_rounds_the_numbers_a_little(path, storage, error):
    model = classifier()
    save(model, path, storage=storage)
    loaded = arrays_of(load(path))
    for name, array in arrays_of(model).items():
        assert loaded[name].dtype == array.dtype
        assert np.abs(loaded[name] - array).max() <= error * np.abs(array).max()


def test_the_card_comes_back(path):
    save(classifier(), path, card={"class_names": ["up", "down"], "test_accuracy": 0.5})
    assert read_card(path) == {"class_names": ["up", "down"], "test_accuracy": 0.5}


ORDERS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=0)[::2],
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("storage", [None, "float16", "int8"])
def test_the_order_in_memory_does_not_matter(path, storage, order):
    layer = ht.nn.TensorDense(ht.HT((8, 6), (4, 4), rank=3), rngs=nnx.Rngs(0))
    save(layer, path, storage=storage)
    expected = read(path)[0]
    for _, variable in nnx.to_flat_state(nnx.state(layer, nnx.Param)):
        variable.set_value(ORDERS[order](np.asarray(variable.get_value())))
    save(layer, path, storage=storage, described=order != "big-endian")
    chex.assert_trees_all_equal(read(path)[0], expected)


class Holder(nnx.Module):
    def __init__(self, *arrays):
        self.arrays = nnx.List([nnx.Param(array) for array in arrays])


@pytest.mark.parametrize("storage", [None, "float16", "int8"])
def test_scalars_empty_arrays_and_integers_come_back(path, storage):
    arrays = [np.float32(3), np.zeros((0, 2), np.float32), np.full((2, 2), 2**30, np.int32)]
    arrays += [np.array([[True, False]]), np.asarray([[0.0, 127.0]], jnp.bfloat16)]
    arrays = list(map(np.asarray, arrays))
    save(Holder(*arrays), path, storage=storage, described=False)
    loaded = load(path, into=Holder(*map(np.zeros_like, arrays)))
    for array, variable in zip(arrays, loaded.arrays):
        np.testing.assert_array_equal(np.asarray(variable.get_value()), array, strict=True)


def test_float64_is_finite_over_its_own_range(path):
    save(Holder(np.array([1e300])), path, described=False)
    assert read(path)[0]["arrays.0"] == 1e300
    for storage in ("float16", "int8"):
        with pytest.raises(ValueError, match=f"{storage} cannot"):
            save(Holder(np.array([[1e300]])), path, storage=storage, described=False)


def test_complex_numbers_are_kept_or_refused(path):
    save(Holder(np.array([1 + 2j], np.complex64)), path, described=False)
    loaded = load(path, into=Holder(np.zeros(1, np.complex64)))
    assert loaded.arrays[0].get_value() == 1 + 2j
    with pytest.raises(ValueError, match="dtype complex64, not float32"):
        load(path, into=Holder(np.zeros(1, np.float32)))
    with pytest.raises(ValueError, match="dtype complex64: keep storage=None"):
        save(Holder(np.array([1j], np.complex64)), path, storage="float16", described=False)


def test_a_class_of_ones_own_is_loaded_into(path):
    class Own(nnx.Module):
        def __init__(self, seed):
            self.layer = nnx.Linear(3, 2, rngs=nnx.Rngs(seed))

    with pytest.raises(ValueError, match="Own is not one of"):
        save(Own(0), path)
    save(Own(0), path, described=False)
    other = load(path, into=Own(1))
    chex.assert_trees_all_equal(arrays_of(other), arrays_of(Own(0)))


def _rewrite(path, arrays=None, about=None):
    old_arrays, texts = read(path)
    texts["ht_jax"] = json.dumps({**json.loads(texts["ht_jax"]), **(about or {})})
    save_file(old_arrays | (arrays or {}), path, texts)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def _foreign(path):
    save_file({"a": np.zeros(3)}, path)


BIAS = "classifier.bias"
BROKEN = {
    "truncated": (_truncate, "not a whole safetensors file"),
    "corrupt": (lambda path: path.write_bytes(b"\x80\x04pickle" * 9), "not a whole"),
    "empty": (lambda path: path.write_bytes(b""), "not a whole"),
    "foreign": (_foreign, "not written by ht_jax"),
    "newer": (lambda path: _rewrite(path, about={"version": 99}), "version 99.*upgrade"),
    "unknown class": (lambda p: _rewrite(p, about={"model": {"type": "os.system"}}), "no class"),
    "no model": (lambda path: _rewrite(path, about={"model": None}), "no class"),
    "bad format": (
        lambda p: _rewrite(p, about={"model": {"type": "TensorDense", "format": "exec('1')"}}),
        "'exec'.*is not a format",
    ),
    "strange argument": (
        lambda p: _rewrite(p, about={"model": {"type": "Linear", "in_size": 3}}),
        "Linear refuses",
    ),
    "shape": (lambda p: _rewrite(p, {BIAS: np.zeros(4, np.float32)}), "bias has shape"),
    "NaN": (lambda p: _rewrite(p, {BIAS: np.full(5, np.nan, np.float32)}), "bias.*not finite"),
    "left over": (lambda p: _rewrite(p, {"more": np.zeros(1)}), "not of this model: .'more'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_with_the_reason(path, case):
    save(classifier(), path)
    harm, reason = BROKEN[case]
    harm(path)
    with pytest.raises(ValueError, match=reason) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_is_named(path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(path)


def test_numbers_that_are_not_finite_are_not_saved(path):
    model = classifier()
    model.classifier.bias[...] = jnp.full(5, jnp.nan, jnp.float32)
    with pytest.raises(ValueError, match=r"classifier\.bias holds numbers that are not finite"):
        save(model, path)
    assert not path.exists()


def test_storage_must_be_known_and_wide_enough(path):
    model = classifier()
    with pytest.raises(ValueError, match="storage 'int4'"):
        save(model, path, storage="int4")
    model.classifier.bias[...] = jnp.full(5, 1e6, jnp.float32)
    with pytest.raises(ValueError, match="float16 cannot"):
        save(model, path, storage="float16")


def compressed_classifier():
    head = ht.nn.TensorDense(ht.LowRank(16, 5, 2), rngs=nnx.Rngs(2))
    return classifier(classifier=head)


def test_a_compressed_classifier_comes_back(path):
    model = compressed_classifier()
    save(model, path)
    np.testing.assert_array_equal(load(path)(clips()), model(clips()))
