"""Summaries against counts made by hand, and the drawings of trees."""

import jax
import pytest
from flax import nnx

import ht_jax as ht
from ht_jax.plot import draw_tree, plot_tree
from ht_jax.summary import cell_costs, walk

FMT = ht.HT((8, 6), (4, 4), rank=3)  # 48 -> 16


def abstract(make, *args, **options):
    """What `make` makes, without its arrays: a summary needs none."""
    return nnx.eval_shape(lambda: make(*args, rngs=nnx.Rngs(0), **options))


class Model(nnx.Module):
    """One of everything: ours, Flax's, containers, a layer that stands twice."""

    def __init__(self, rngs):
        self.embed = ht.nn.TensorEmbed(40, 48, ht.TT((5, 8), (8, 6), rank=2), rngs=rngs)
        cell = ht.nn.GRUCell(48, 16, input=FMT, rngs=rngs)
        self.rnn = ht.nn.RNN(cell)
        self.theirs = nnx.RNN(nnx.OptimizedLSTMCell(16, 8, rngs=rngs))
        self.boxes = nnx.data({"pair": [nnx.Linear(8, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)]})
        self.out = self.boxes["pair"][0]


@pytest.fixture(scope="module")
def model():
    return abstract(Model)


@pytest.fixture(scope="module")
def layers(model):
    return {layer.path: layer for layer in ht.summary(model).layers}


def test_paths(layers):
    expected = ["embed", "rnn/cell", "rnn/cell/input", "rnn/cell/recurrent", "boxes/pair/0"]
    expected += ["boxes/pair/1", "theirs/cell/dense_i", "theirs/cell/dense_h"]
    assert set(layers) == set(expected)
    assert len(layers) == 8


def test_layers_stand_in_order_of_definition():
    class Zed(nnx.Module):
        def __init__(self, rngs):
            self.z, self.a = (nnx.Linear(1, 1, rngs=rngs) for _ in range(2))

    assert [layer.path for layer in ht.summary(Zed(nnx.Rngs(0))).layers] == ["z", "a"]


def test_every_number_is_counted_once(model):
    found = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert ht.summary(model).params == found


def test_bytes_of_mixed_dtypes():
    cell = abstract(ht.nn.LSTMCell, 48, 16, input=FMT, param_dtype="bfloat16")
    found = ht.summary(cell, batch=None)
    assert found.bytes == 2 * found.params


@pytest.mark.parametrize(
    ("path", "matrix", "dense", "params"),
    [
        (
            "rnn/cell/input",
            FMT.with_gates(3).num_params,
            48 * 48,
            FMT.with_gates(3).num_params + 48,
        ),
        ("rnn/cell/recurrent", 16 * 48, 16 * 48, 16 * 48),
        ("rnn/cell", 0, 0, 16),  # the candidate's bias
        ("theirs/cell/dense_h", 8 * 32, 8 * 32, 8 * 32 + 32),
        ("boxes/pair/1", 0, 0, 8),
        ("embed", 176, 40 * 48, 176),
    ],
)
def test_counts_of_a_layer(layers, path, matrix, dense, params):
    layer = layers[path]
    assert (layer.matrix_params, layer.dense_params, layer.params) == (matrix, dense, params)


def test_totals_are_of_the_compressed_matrices(model, layers):
    found = ht.summary(model)
    held = [layers["embed"], layers["rnn/cell/input"]]
    assert found.matrix_params == sum(layer.matrix_params for layer in held)
    assert found.dense_matrix_params == 40 * 48 + 48 * 48
    assert found.compression_ratio == found.dense_matrix_params / found.matrix_params


def test_flops_are_those_of_the_plan(layers):
    assert layers["rnn/cell/input"].flops == FMT.with_gates(3).plan(96).flops / 96
    assert layers["rnn/cell/recurrent"].flops == 2 * 16 * 48
    assert layers["boxes/pair/0"].flops == 2 * 8 * 4


def test_joint_layer_costs_both_products():
    joint = ht.HT((8, 8), (4, 4), rank=2)
    cell = abstract(ht.nn.LSTMCell, 48, 16, joint=joint)
    costs = cell_costs(cell)
    (layer,) = ht.summary(cell).layers
    assert layer.flops == costs["input"].forward + costs["recurrent"].forward
    whole = joint.with_gates(4)
    assert costs["input"].forward == whole.restrict(0, 48).plan(96).flops / 96


SQUARE = ht.HT((8, 8, 8), (8, 8, 8), rank=4)
JOINT = ht.HT((9, 8, 8), (8, 8, 8), rank=4)  # 64 + 512 -> 512


@pytest.mark.parametrize("make", [ht.nn.LSTMCell, ht.nn.GRUCell, ht.nn.SimpleCell])
@pytest.mark.parametrize("place", ["recurrent", "joint"])
def test_a_compressed_recurrence_costs_what_its_schedule_does(make, place):
    fmt = {"recurrent": SQUARE, "joint": JOINT}[place]
    cell = abstract(make, 64, 512, **{place: fmt})
    gated = fmt.with_gates(cell.gates)
    gated = gated if place == "recurrent" else gated.restrict(64, 576)
    cost = cell_costs(cell)["recurrent"]
    assert cost.forward == pytest.approx(gated.plan(16).flops / 16, rel=0.05)  # the merges less
    assert cost.forward < 1.6 * gated.plan(1, mode="infer").flops < 2 * 512 * gated.out_features
    assert cost.backward > cost.forward


def test_merges_of_a_recurrence_are_shared_by_its_frames():
    cell = abstract(ht.nn.LSTMCell, 64, 512, recurrent=SQUARE)
    plan = SQUARE.with_gates(4).plan(16)
    costs = [cell_costs(cell, frames=frames)["recurrent"].forward for frames in (1, 10**9)]
    assert costs[0] == plan.flops / 16
    assert costs[1] < costs[0]


def test_recurrences_within_wrappers_cost_the_same():
    class Wrapped(nnx.Module):
        def __init__(self, rngs):
            rnns = [ht.nn.RNN(ht.nn.GRUCell(64, 512, recurrent=SQUARE, rngs=rngs)) for _ in "ab"]
            last = ht.nn.RNN(ht.nn.GRUCell(1024, 512, recurrent=SQUARE, rngs=rngs))
            self.layers = ht.nn.Stacked([ht.nn.Bidirectional(*rnns), last])
            self.embed = nnx.Embed(9, 64, rngs=rngs)

    layers = ht.summary(abstract(Wrapped)).layers
    found = [layer.flops for layer in layers if layer.path.endswith("recurrent")]
    cell = abstract(ht.nn.GRUCell, 64, 512, recurrent=SQUARE)
    assert found == [cell_costs(cell)["recurrent"].forward] * 3


def test_backward_of_a_dense_recurrence_is_two_products():
    cost = cell_costs(abstract(ht.nn.LSTMCell, 48, 16))
    assert cost["recurrent"].backward == 2 * cost["recurrent"].forward == 2 * 2 * 16 * 64
    assert cost["input"].backward == cost["input"].forward == 2 * 48 * 64


def test_arrays_make_no_difference():
    cell = ht.nn.SimpleCell(48, 16, input=FMT, rngs=nnx.Rngs(0))
    without = abstract(ht.nn.SimpleCell, 48, 16, input=FMT)
    assert str(ht.summary(cell)) == str(ht.summary(without))


def test_no_flops_without_a_batch(model):
    assert all(layer.flops is None for layer in ht.summary(model, batch=None).layers)


def test_text_is_an_aligned_table(model):
    lines = str(ht.summary(model)).splitlines()
    assert len(lines) == 1 + 8 + 2
    assert lines[0].split()[:3] == ["layer", "class", "format"]
    assert lines[0].index("ranks") == next(line for line in lines if "TT" in line).index("2  ")
    assert len({len(line) for line in lines[:9]}) == 1


def test_walk_ends_in_a_cycle():
    model = nnx.Module()
    model.me = model
    assert [path for path, _ in walk(model)] == [""]


def test_tree_is_drawn_with_modes_and_ranks():
    fmt = ht.HT((8, 10, 9), (4, 4, 2), leaf_rank=(2, 3, 4), rank=5)
    text = draw_tree(fmt)
    assert "leaf_1  10 x 4, rank 3" in text
    assert "node_0_1  rank 5" in text


def test_picture_shows_every_rank_and_mode():
    fmt = ht.HT((8, 10, 9), (4, 4, 2), leaf_rank=(2, 3, 4), rank=5)
    (axes,) = plot_tree(fmt).axes
    texts = {text.get_text() for text in axes.texts}
    assert texts == {"2", "3", "4", "5", "mode 0\n8 × 4", "mode 1\n10 × 4", "mode 2\n9 × 2"}


def test_picture_is_written(tmp_path):
    plot_tree(ht.HT((4, 4, 4), (2, 2, 2), rank=2, tree=((0, 2), 1))).savefig(tmp_path / "tree.png")
    assert (tmp_path / "tree.png").stat().st_size > 1_000


def test_format_without_a_tree():
    with pytest.raises(ValueError, match="has no dimension tree to draw"):
        draw_tree(ht.TT((8, 6), (4, 4), rank=3))
