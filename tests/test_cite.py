"""Which papers a model calls for, and that their BibTeX is well formed."""

import re

import numpy as np
import pytest
from flax import nnx

import ht_jax as ht
from ht_jax.cite import papers

HT = ht.HT((8, 6), (4, 4), rank=2)
JOINT = ht.HT((8, 8), (4, 4), rank=2)


def keys(model):
    return re.findall(r"@\w+\{(\w+),", ht.cite(model))


def cell(kind=ht.nn.LSTMCell, **formats):
    return ht.nn.RNN(kind(48, 16, **formats, rngs=nnx.Rngs(0)))


def test_ht_lstm():
    assert keys(cell(input=HT)) == ["hochreiter1997", "yin2020ht", "grasedyck2010", "kressner2014"]


def test_fdht_lstm():
    found = keys(cell(joint=JOINT))
    assert found == ["hochreiter1997", "yin2021fdht", "grasedyck2010", "kressner2014"]


def test_each_paper_stands_once():
    kcp = ht.KCP((8, 6), (4, 4), rank=1, terms=1)
    assert keys(cell(ht.nn.GRUCell, input=kcp)) == ["cho2014", "wang2023kcp"]


def test_a_linear_layer_is_no_recurrent_network():
    assert keys(ht.nn.TensorDense(HT, rngs=nnx.Rngs(0))) == ["grasedyck2010", "kressner2014"]


def test_formats_and_slices_of_them():
    assert keys(ht.TR((4, 12), (4, 4), rank=2)) == ["zhao2016"]
    assert keys(HT.restrict(6, 12)) == keys(HT)


def test_tensor():
    assert keys(ht.HTTensor.from_dense(np.ones((2, 3)), tol=0.5)) == list(ht.HT.papers)


def test_a_model_of_others_is_cited_by_others():
    assert ht.cite(nnx.Linear(3, 2, rngs=nnx.Rngs(0))) == ""


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match="not 'lstm'"):
        ht.cite("lstm")


def test_every_named_key_has_an_entry():
    cells = (ht.nn.LSTMCell, ht.nn.GRUCell, ht.nn.SimpleCell)
    named = {key for kind in cells for key in kind.papers}
    for fmt in (ht.HT, ht.TT, ht.TR, ht.BT, ht.KCP, ht.CP, ht.Tucker):
        named |= {*fmt.papers, *fmt.recurrent_papers, *fmt.joint_papers}
    assert named == set(papers())


@pytest.mark.parametrize("entry", papers().values(), ids=papers())
def test_entries_are_well_formed(entry):
    assert entry.count("{") == entry.count("}")
    assert all(re.search(rf"^  {field} +=", entry, re.M) for field in ("title", "author", "year"))
