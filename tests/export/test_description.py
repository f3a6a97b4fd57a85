"""What a description holds comes back; a model with anything else in it is refused."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht
from ht_jax.export import describe, load, save
from tests.export.models import FRAME, classifier, clips


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def _subclass(base):
    return type("Own", (base,), {})


def _cell(cls=ht.nn.SimpleCell, **options):
    return cls(6, 4, rngs=nnx.Rngs(0), **options)


def _pair():
    return [ht.nn.RNN(_cell()), ht.nn.RNN(_cell())]


def _changed(module, **attributes):
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def _with_norm_of(epsilon):
    cell = _cell(layer_norm=True)
    cell.norms["input"].epsilon = epsilon
    return cell


def _half(cell):
    cell.bias.set_value(cell.bias[...].astype(jnp.float16))
    return cell


def _strided():
    cnn = ht.nn.SmallCNN(FRAME, (4, 4), rngs=RNGS)
    cnn.layers[0].strides = 1
    return cnn


RNGS = nnx.Rngs(0)
SUBCLASSES = {
    "cell": lambda: _cell(_subclass(ht.nn.LSTMCell)),
    "named cell": lambda: _subclass(ht.nn.TTGRUCell)(
        6, 4, in_modes=(2, 3), out_modes=(2, 2), rank=2, rngs=RNGS
    ),
    "cell of an RNN": lambda: ht.nn.RNN(_cell(_subclass(ht.nn.SimpleCell))),
    "RNN": lambda: _subclass(ht.nn.RNN)(_cell()),
    "Stacked": lambda: _subclass(ht.nn.Stacked)(_pair()[:1]),
    "Bidirectional": lambda: _subclass(ht.nn.Bidirectional)(*_pair()),
    "TensorDense": lambda: _subclass(ht.nn.TensorDense)(ht.TT((4, 4), (2, 2), 2), rngs=RNGS),
    "TensorEmbed": lambda: _subclass(ht.nn.TensorEmbed)(16, 4, ht.TT((4, 4), (2, 2), 2), rngs=RNGS),
    "Linear": lambda: _subclass(nnx.Linear)(6, 4, rngs=RNGS),
    "Linear of a Sequential": lambda: nnx.Sequential(_subclass(nnx.Linear)(6, 4, rngs=RNGS)),
    "matrix of a cell": lambda: _changed(
        _cell(), input=_subclass(ht.nn.TensorDense)(ht.Dense(6, 4), rngs=RNGS)
    ),
    "SmallCNN": lambda: _subclass(ht.nn.SmallCNN)(FRAME, (4, 4), rngs=RNGS),
    "VideoClassifier": lambda: _subclass(ht.models.VideoClassifier)(_pair()[0], 4, 5, rngs=RNGS),
    "classifier": lambda: classifier(classifier=_subclass(nnx.Linear)(16, 5, rngs=RNGS)),
}


@pytest.mark.parametrize("kind", SUBCLASSES)
def test_a_subclass_is_refused_wherever_it_is(path, kind):
    with pytest.raises(ValueError, match=r"Own.*described=False"):
        save(SUBCLASSES[kind](), path)
    assert not path.exists()


def _merging(merge_fn):
    return ht.nn.Bidirectional(*_pair(), merge_fn=merge_fn)


OTHERWISE = {
    "merge: added": (lambda: _merging(jnp.add), "merge_fn"),
    "merge: backward first": (
        lambda: _merging(lambda a, b: jnp.concatenate([b, a], -1)),
        "merge_fn",
    ),
    "merge: halved": (lambda: _merging(lambda a, b: jnp.concatenate([a, b / 2], -1)), "merge_fn"),
    "merge: axis 0": (lambda: _merging(lambda a, b: jnp.concatenate([a, b], 0)), "merge_fn"),
    "a product": (
        lambda: nnx.Linear(6, 4, dot_general=lambda *args, **kwargs: 0, rngs=RNGS),
        r"Linear\.dot_general",
    ),
    "equations of one cell": (
        lambda: _changed(_cell(), update=lambda carry, z, u: (carry, z)),
        "SimpleCell",
    ),
    "an epsilon": (lambda: _with_norm_of(1e-3), r"SimpleCell\.norms\.input\.epsilon is 0\.001"),
    "a frozen cell": (lambda: ht.nn.freeze(_cell()), r"SimpleCell\.frozen"),
    "a step of a convolution": (_strided, r"layers\.0\.strides is 1"),
    "parameters of another dtype": (lambda: _half(_cell()), "bias.dtype is dtype.'float16'"),
    "precision of a matrix": (
        lambda: _changed(_cell(), recurrent=_changed(_cell().recurrent, precision="highest")),
        r"recurrent\.precision is 'highest'",
    ),
    "a foreign matrix": (
        lambda: _changed(_cell(), input=nnx.Linear(6, 4, rngs=RNGS)),
        r"foreign class .*format",
    ),
    "numbers of float32": (
        lambda: ht.nn.RNN(_cell(), scale=np.float32(0.1), offset=-1.0),
        "plain numbers of Python",
    ),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_what_a_description_does_not_hold_is_refused(path, case):
    make, reason = OTHERWISE[case]
    with pytest.raises(ValueError, match=reason):
        save(make(), path)
    assert not path.exists()


RNN_OPTIONS = [
    {"time_major": True},
    {"return_carry": True},
    {"reverse": True},
    {"reverse": True, "keep_order": True},
    {"unroll": 2, "scale": 0.1, "offset": -1.0},
]
CELL_OPTIONS = [
    {"recurrent_dropout": 0.5},
    {"layer_norm": True},
    {"dtype": jnp.bfloat16},
    {"param_dtype": jnp.float16, "dtype": jnp.float32, "precision": "highest"},
    {"recurrent": ht.LowRank(4, 4, 2)},
]


@pytest.mark.parametrize("options", [*RNN_OPTIONS, *CELL_OPTIONS], ids=str)
def test_the_options_of_a_layer_come_back(path, options):
    of_rnn, of_cell = (options, {}) if options in RNN_OPTIONS else ({}, options)
    model = ht.nn.RNN(_cell(ht.nn.GRUCell, **of_cell), **of_rnn)
    model.eval()
    save(model, path)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 6)), jnp.float32)
    chex.assert_trees_all_equal(load(path)(x), model(x))


HEADS = {
    "without bias": lambda: nnx.Linear(16, 5, use_bias=False, rngs=RNGS),
    "bfloat16": lambda: nnx.Linear(16, 5, param_dtype=jnp.bfloat16, dtype="float32", rngs=RNGS),
    "precise": lambda: nnx.Linear(16, 5, precision="highest", rngs=RNGS),
    "two layers": lambda: nnx.Sequential(
        nnx.Linear(16, 4, rngs=RNGS), nnx.relu, nnx.Linear(4, 5, rngs=RNGS)
    ),
}


@pytest.mark.parametrize("head", HEADS)
def test_any_described_layer_classifies(path, head):
    model = classifier(classifier=HEADS[head]())
    save(model, path)
    np.testing.assert_array_equal(load(path)(clips()), model(clips()))


def test_sizes_may_be_integers_of_numpy(path):
    cell = ht.nn.SimpleCell(np.prod((2, 3)), np.int32(4), rngs=nnx.Rngs(0))
    save(cell, path)
    assert describe(load(path)) == describe(cell)
