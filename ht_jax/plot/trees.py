"""Drawings of a dimension tree with its modes and ranks, as text and as a picture.

A leaf k is labelled with its modes m_k x n_k, every edge with the rank of the node below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ht_jax.formats import HT, Format, Weight
from ht_jax.plot.style import GREY, INK, SKY, YELLOW, new_figure
from ht_jax.tensor import HTTensor, plot_sv
from ht_jax.tensor.picture import places_of
from ht_jax.tree import DimensionTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float]


def draw_tree(fmt: Format) -> str:
    """The dimension tree of a format as text, with modes and ranks.

    Args:
        fmt: a format that has a dimension tree.

    Raises:
        ValueError: it has none.

    Example:
        >>> import ht_jax as ht
        >>> print(draw_tree(ht.HT((8, 10, 9), (4, 4, 2), leaf_rank=4, rank=5)))
        node_0_2
        ├── node_0_1  rank 5
        │   ├── leaf_0  8 x 4, rank 4
        │   └── leaf_1  10 x 4, rank 4
        └── leaf_2  9 x 2, rank 4
    """
    tree, ranks = _tree_of(fmt)
    labels = {node: f"rank {rank}" for node, rank in ranks.items()}
    for k, leaf in enumerate(tree.leaves):
        modes = f"{fmt.in_modes[k]} x {fmt.out_modes[k]}"
        labels[leaf] = f"{modes}, {labels[leaf]}" if leaf in labels else modes
    return tree.draw(labels)


def plot_tree(fmt: Format) -> Figure:
    """The dimension tree of a format as a picture, to be saved with `figure.savefig`.

    Args:
        fmt: a format that has a dimension tree.

    Raises:
        ValueError: it has none.
        ImportError: matplotlib is not installed.

    Example:
        >>> import ht_jax as ht
        >>> figure = plot_tree(ht.HT((8, 10, 9), (4, 4, 2), leaf_rank=4, rank=5))
        >>> figure.axes[0].get_title()
        '720 × 32 in ... numbers; ranks at the edges'
    """
    tree, ranks = _tree_of(fmt)
    places = places_of(tree)
    height = 1.4 + 0.9 * max(-y for _, y in places.values())
    figure = new_figure(max(4.0, 1.3 * tree.num_modes), height)
    axes = figure.add_subplot()
    _draw_edges(axes, tree, ranks, places)
    _draw_nodes(axes, tree, fmt, places)
    axes.set_axis_off()
    axes.margins(x=0.08, y=0.12)
    size = f"{fmt.in_features:,} × {fmt.out_features:,} in {fmt.num_params:,} numbers"
    axes.set_title(f"{size}; ranks at the edges", fontsize=11)
    return figure


def plot_singular_values(weight: Weight | HTTensor, *, profile: bool = True) -> Figure:
    """The singular values of every node of an HT weight or tensor, on its place in the tree.

    What they say is how far a rank can fall: the squares of those cut off bound the squared
    error. A weight is seen as the tensor whose k-th mode is the pair m_k x n_k.

    Args:
        weight: a weight in HT form, or a tensor.
        profile: draw the ranks of all nodes below, as bars.

    Raises:
        ValueError: a weight in another format.
        ImportError: matplotlib is not installed.

    Example:
        >>> import jax, ht_jax as ht
        >>> weight = ht.HT((4, 4, 4), (2, 2, 2), rank=2).init(jax.random.key(0))
        >>> figure = plot_singular_values(weight)
    """
    if isinstance(weight, HTTensor):
        return plot_sv(weight, profile=profile)
    if not isinstance(weight.format, HT):
        raise ValueError(f"{weight.format} is not in HT form: it has no singular values to draw")
    tree = weight.format.dimension_tree
    cores = dict(weight.cores)
    for leaf in tree.leaves:
        cores[leaf] = cores[leaf].reshape(-1, *cores[leaf].shape[2:])
    return plot_sv(HTTensor.of(cores, tree), profile=profile)


def _tree_of(fmt: Any) -> tuple[DimensionTree, dict[str, int]]:
    """The tree and the rank of every node below its root."""
    tree, ranks = getattr(fmt, "dimension_tree", None), getattr(fmt, "ranks", None)
    if not isinstance(tree, DimensionTree) or not isinstance(ranks, dict):
        raise ValueError(f"{fmt} has no dimension tree to draw")
    return tree, ranks


def _draw_edges(
    axes: Axes, tree: DimensionTree, ranks: dict[str, int], places: dict[str, Point]
) -> None:
    widest = max(ranks.values(), default=1)
    for node in tree.inner:
        for child in tree.children(node):
            (x, y), (u, v) = places[node], places[child]
            axes.plot([x, u], [y, v], color=GREY, linewidth=1 + 3 * ranks[child] / widest, zorder=1)
            label = {"ha": "center", "va": "center", "fontsize": 9, "color": INK}
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
            axes.text((x + u) / 2, (y + v) / 2, str(ranks[child]), bbox=box, zorder=2, **label)


def _draw_nodes(axes: Axes, tree: DimensionTree, fmt: Format, places: dict[str, Point]) -> None:
    for node, (x, y) in places.items():
        leaf = tree.is_leaf(node)
        marker, color = ("o", SKY) if leaf else ("s", YELLOW)
        axes.scatter([x], [y], s=170, marker=marker, color=color, edgecolor=INK, zorder=3)
        if leaf:
            k = tree.modes(node)[0]
            text = f"mode {k}\n{fmt.in_modes[k]} × {fmt.out_modes[k]}"
            offset = {"xytext": (0, -12), "textcoords": "offset points"}
            axes.annotate(text, (x, y), ha="center", va="top", fontsize=9, color=INK, **offset)
