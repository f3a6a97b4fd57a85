"""Drawings of a dimension tree with its modes and ranks, as text and as a picture.

A leaf k is labelled with its modes m_k x n_k, every edge with the rank of the node below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ht_jax.formats import Format
from ht_jax.tree import DimensionTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float]

# Okabe and Ito's palette: told apart by the colour-blind, and in grey.
LEAF, INNER, EDGE, TEXT = "#56B4E9", "#E69F00", "#8A8A8A", "#1A1A1A"


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
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'ht_jax[train]'") from error
    tree, ranks = _tree_of(fmt)
    places = _places(tree)
    height = 1.4 + 0.9 * max(-y for _, y in places.values())
    figure = Figure(figsize=(max(4.0, 1.3 * tree.num_modes), height), layout="constrained")
    axes = figure.add_subplot()
    _draw_edges(axes, tree, ranks, places)
    _draw_nodes(axes, tree, fmt, places)
    axes.set_axis_off()
    axes.margins(x=0.08, y=0.12)
    size = f"{fmt.in_features:,} × {fmt.out_features:,} in {fmt.num_params:,} numbers"
    axes.set_title(f"{size}; ranks at the edges", fontsize=11)
    return figure


def _tree_of(fmt: Any) -> tuple[DimensionTree, dict[str, int]]:
    """The tree and the rank of every node below its root."""
    tree, ranks = getattr(fmt, "dimension_tree", None), getattr(fmt, "ranks", None)
    if not isinstance(tree, DimensionTree) or not isinstance(ranks, dict):
        raise ValueError(f"{fmt} has no dimension tree to draw")
    return tree, ranks


def _places(tree: DimensionTree) -> dict[str, Point]:
    """Leaves side by side as they stand in the tree, a parent above the middle of its children."""
    order = {mode: n for n, mode in enumerate(tree.modes(tree.root))}
    depth = {tree.root: 0}
    for node in reversed(tree.inner):
        depth |= {child: depth[node] + 1 for child in tree.children(node)}
    places: dict[str, Point] = {}
    for node in tree.nodes:
        if tree.is_leaf(node):
            x = float(order[tree.modes(node)[0]])
        else:
            left, right = tree.children(node)
            x = (places[left][0] + places[right][0]) / 2
        places[node] = x, -float(depth[node])
    return places


def _draw_edges(
    axes: Axes, tree: DimensionTree, ranks: dict[str, int], places: dict[str, Point]
) -> None:
    widest = max(ranks.values(), default=1)
    for node in tree.inner:
        for child in tree.children(node):
            (x, y), (u, v) = places[node], places[child]
            axes.plot([x, u], [y, v], color=EDGE, linewidth=1 + 3 * ranks[child] / widest, zorder=1)
            label = {"ha": "center", "va": "center", "fontsize": 9, "color": TEXT}
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
            axes.text((x + u) / 2, (y + v) / 2, str(ranks[child]), bbox=box, zorder=2, **label)


def _draw_nodes(axes: Axes, tree: DimensionTree, fmt: Format, places: dict[str, Point]) -> None:
    for node, (x, y) in places.items():
        leaf = tree.is_leaf(node)
        marker, color = ("o", LEAF) if leaf else ("s", INNER)
        axes.scatter([x], [y], s=170, marker=marker, color=color, edgecolor=TEXT, zorder=3)
        if leaf:
            k = tree.modes(node)[0]
            text = f"mode {k}\n{fmt.in_modes[k]} × {fmt.out_modes[k]}"
            offset = {"xytext": (0, -12), "textcoords": "offset points"}
            axes.annotate(text, (x, y), ha="center", va="top", fontsize=9, color=TEXT, **offset)
