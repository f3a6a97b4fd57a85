"""Every picture renders, as PNG and as SVG, and shows what it is given."""

import itertools

import jax
import numpy as np
import pytest

import ht_jax as ht
from ht_jax import plot
from ht_jax.plot.pareto import pareto_front
from ht_jax.plot.style import CYCLE, FAMILIES, family_colour
from ht_jax.schedule import device, step_costs
from tests.formats.table import ROWS

HT = ht.HT((4, 5, 3), (2, 3, 4), leaf_rank=3, rank=4)
SYSTEMS = {"LSTM": (1e6, 0.7), "HT": (100.0, 0.9, 0.02), "KCP": (10.0, 0.8), "TT": (120.0, 0.8)}
RECORDS = [
    {"step": step, "split": split, "loss": 1 / step, "accuracy": 0.5}
    for step, split in itertools.product((1, 2, 3), ("train", "validation"))
]


def rendered(figure, folder):
    figure.savefig(folder / "picture.svg")
    figure.savefig(folder / "picture.png", dpi=40)
    assert (folder / "picture.svg").read_text().startswith("<?xml")
    assert (folder / "picture.png").stat().st_size > 500


def texts(axes):
    return [text.get_text() for text in axes.texts]


PICTURES = {
    "tree": lambda: plot.plot_tree(HT),
    "network": lambda: plot.plot_network(HT),
    "singular values": lambda: plot.plot_singular_values(HT.init(jax.random.key(0))),
    "schedule": lambda: plot.plot_schedule(ht.plan(HT, batch=8)),
    "pareto": lambda: plot.plot_pareto(SYSTEMS, cost="numbers", value="accuracy"),
    "run": lambda: plot.plot_run(RECORDS, "a run"),
    "run without a step": lambda: plot.plot_run([], "nothing yet"),
    "curves": lambda: plot.plot_curves({"a": RECORDS, "b": RECORDS}),
    "confusion": lambda: plot.plot_confusion(np.eye(3, dtype=int), ["a", "b", "c"]),
    "frames": lambda: plot.plot_frames(np.zeros((2, 3, 8, 8, 3), np.uint8), ["a", "b"], [1, 0]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_renders(name, tmp_path):
    rendered(PICTURES[name](), tmp_path)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_network_shows_every_core_and_leg(row):
    net = row.fmt.network()
    shown = texts(plot.plot_network(row.fmt).axes[0])
    for core in net.indices:
        assert f"{np.prod(net.shape(core)):,}" in shown
    for index in (*net.inputs, *net.outputs):
        assert str(net.size[index]) in shown


def test_cores_of_a_network_stand_apart():
    for row in ROWS:
        axes = plot.plot_network(row.fmt).axes[0]
        spots = np.concatenate([dots.get_offsets() for dots in axes.collections])
        distances = np.linalg.norm(spots[:, None] - spots, axis=-1) + np.eye(len(spots))
        assert distances.min() > 0.3, row.name


def test_bars_of_a_schedule_add_up_to_its_time():
    schedule = ht.plan(HT, batch=64)
    bars = plot.plot_schedule(schedule).axes[1].patches
    assert len(bars) == len(schedule.steps)
    assert sum(bar.get_width() for bar in bars) == pytest.approx(1e3 * schedule.seconds)


def test_labels_of_bars_stay_within_the_picture():
    fmt = ht.HT((8, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5)
    figure = plot.plot_schedule(ht.plan(fmt, batch=96, mode="infer"))
    figure.draw_without_rendering()
    bars = figure.axes[1]
    right = max(text.get_window_extent().x1 for text in bars.texts)
    assert right <= bars.get_window_extent().x1


def test_step_costs_add_up_to_the_price():
    schedule = ht.plan(HT, batch=64)
    costs = step_costs(schedule, device("cpu"))
    assert sum(cost.flops for cost in costs) == schedule.flops
    assert sum(cost.bytes_moved for cost in costs) == schedule.bytes_moved


def test_a_schedule_shows_every_operand():
    schedule = ht.plan(HT, batch=64)
    assert {"input", *schedule.network.indices} <= set(texts(plot.plot_schedule(schedule).axes[0]))


def test_pareto_front_is_what_none_beats():
    rng = np.random.default_rng(0)
    systems = {str(n): (float(x), float(y)) for n, (x, y) in enumerate(rng.random((40, 2)) + 1)}

    def beaten(x, y):
        return any((u <= x and v > y) or (u < x and v >= y) for u, v in systems.values())

    assert set(pareto_front(systems)) == {n for n, point in systems.items() if not beaten(*point)}


def test_pareto_labels_do_not_overlap():
    systems = {f"system {n}": (100.0, 0.9) for n in range(5)}
    axes = plot.plot_pareto(systems, cost="numbers", value="accuracy").axes[0]
    heights = sorted(text.xyann[1] for text in axes.texts)
    assert min(np.diff(heights)) > 10


def test_a_pareto_label_clears_the_point_beside_it():
    systems = {"a long name": (100.0, 0.9), "near": (140.0, 0.899), "far": (1e4, 0.5)}
    axes = plot.plot_pareto(systems, cost="numbers", value="accuracy").axes[0]
    axes.get_figure().draw_without_rendering()
    name = next(text for text in axes.texts if text.get_text() == "a long name")
    assert not name.get_window_extent().contains(*axes.transData.transform(systems["near"]))


@pytest.mark.parametrize("systems", [{}, {"a": (0.0, 1.0)}])
def test_pareto_refuses_what_has_no_logarithm(systems):
    with pytest.raises(ValueError, match="positive cost"):
        plot.plot_pareto(systems, cost="numbers", value="accuracy")


def test_frames_want_a_text_each():
    with pytest.raises(ValueError, match="1 texts for 2 clips"):
        plot.plot_frames(np.zeros((2, 3, 8, 8)), ["a"])


def test_singular_values_are_of_trees():
    weight = ht.TT((4, 5), (2, 3), rank=2).init(jax.random.key(0))
    with pytest.raises(ValueError, match="not in HT form"):
        plot.plot_singular_values(weight)


def test_singular_values_are_those_of_the_dense_matrix():
    weight = HT.init(jax.random.key(0))
    dense = np.asarray(weight.to_dense(), np.float64).reshape(4, 5, 3, 2, 3, 4)
    expected = np.linalg.svd(dense.transpose(0, 3, 1, 4, 2, 5).reshape(8, -1), compute_uv=False)
    figure = plot.plot_singular_values(weight)
    panels = [axes for axes in figure.findobj() if getattr(axes, "get_title", None) is not None]
    leaf = next(axes for axes in panels if axes.get_title().startswith("leaf 0"))
    np.testing.assert_allclose(leaf.lines[0].get_ydata(), expected[:3], rtol=1e-4)


def _luminance(colour):
    red, green, blue = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_neighbouring_colours_differ_in_grey_too():
    light = [_luminance(colour) for colour in CYCLE[:3]]
    assert min(abs(a - b) for a, b in itertools.combinations(light, 2)) > 0.05


def test_a_family_has_one_colour():
    assert family_colour("FDHT-LSTM") == FAMILIES["FDHT"] != family_colour("HT-GRU")
