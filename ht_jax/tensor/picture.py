"""Pictures: the singular values of every node on its place in the tree, and the rank profile."""

from __future__ import annotations

from typing import Any

import numpy as np

from ht_jax.tensor.ht_tensor import HTTensor
from ht_jax.tensor.truncate import singular_values
from ht_jax.tree import DimensionTree


def plot_sv(x: HTTensor, *, profile: bool = True) -> Any:
    """Draws the singular values of all matricizations on the dimension tree.

    Args:
        x: the tensor.
        profile: draw the ranks of all nodes below, as bars.

    Returns:
        The matplotlib figure: save it with `.savefig`, or let a notebook show it.

    Raises:
        ImportError: matplotlib is missing.

    Source: `plot_sv` of the htucker toolbox (Kressner and Tobler 2014, figure 9).

    >>> from ht_jax.tensor import ones
    >>> figure = plot_sv(ones((2, 3, 4)))
    >>> len(figure.axes)  # the tree and the rank profile
    2
    """
    figure_of = _matplotlib()
    values = {node: np.asarray(s) for node, s in singular_values(x).items()}
    places = places_of(x.tree)
    depth = -min(y for _, y in places.values())
    count = x.tree.num_modes
    width, height = max(6.0, 1.6 * count), 1.6 * (depth + 1) + (1.6 if profile else 0.0)
    figure = figure_of(figsize=(width, height))
    base = 1.7 / height if profile else 0.02
    canvas = figure.add_axes((0.06, base, 0.92, 0.94 - base))
    canvas.set(xlim=(-0.6, count - 0.4), ylim=(-depth - 0.45, 0.2))
    canvas.axis("off")
    canvas.set_title("singular values at every node, by index; r: rank", fontsize=11)
    _draw_edges(canvas, x.tree, places)
    largest = max((s[0] for s in values.values()), default=1.0) or 1.0
    least = min((s[s > 0].min(initial=largest) for s in values.values()), default=largest)
    floor = max(least, 1e-17 * largest)
    canvas.text(*places[x.tree.root], "root", ha="center", va="center", **_box())
    for node, s in values.items():
        _draw_values(canvas, node, s, places[node], (floor / 3, largest * 3))
    if profile:
        _draw_profile(figure.add_axes((0.06, 0.75 / height, 0.92, 1.0 / height)), x)
    return figure


def _matplotlib() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "plot_sv draws with matplotlib: pip install 'ht_jax[train]' (or matplotlib)"
        ) from error
    return Figure


def _box() -> dict[str, Any]:
    return {"bbox": {"facecolor": "white", "edgecolor": "0.6"}, "fontsize": 10}


def places_of(tree: DimensionTree) -> dict[str, tuple[float, float]]:
    """Leaves side by side in the order of the tree, parents above the middle of their children."""
    depths = {tree.root: 0}
    for node in reversed(tree.inner):
        depths |= dict.fromkeys(tree.children(node), depths[node] + 1)
    across = {f"leaf_{k}": float(n) for n, k in enumerate(tree.modes(tree.root))}
    for node in tree.inner:
        left, right = tree.children(node)
        across[node] = (across[left] + across[right]) / 2
    return {n: (across[n], -float(depths[n])) for n in tree.nodes}


def _draw_edges(canvas: Any, tree: DimensionTree, places: dict[str, tuple[float, float]]) -> None:
    for node in tree.inner:
        for child in tree.children(node):
            canvas.plot(*zip(places[node], places[child]), color="0.7", lw=1, zorder=0)


def _draw_values(
    canvas: Any, node: str, s: np.ndarray, place: tuple[float, float], limits: tuple[float, float]
) -> None:
    size = (0.72, 0.56)
    corner = (place[0] - size[0] / 2, place[1] - size[1] / 2)
    axes = canvas.inset_axes((*corner, *size), transform=canvas.transData)
    axes.semilogy(np.arange(1, len(s) + 1), np.maximum(s, limits[0]), ".-", ms=4, lw=0.8)
    axes.set(ylim=limits, xlim=(0.5, max(len(s), 2) + 0.5))
    label = node.removeprefix("node_").replace("leaf_", "leaf ")
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # hides the edge to its parent
    axes.set_title(f"{label}: r={len(s)}", fontsize=9, pad=4, bbox=behind)
    axes.tick_params(labelsize=7, length=2, pad=1)
    axes.minorticks_off()
    axes.xaxis.get_major_locator().set_params(integer=True)


def _draw_profile(axes: Any, x: HTTensor) -> None:
    names = [name.removeprefix("node_").replace("leaf_", "leaf ") for name in x.ranks]
    axes.bar(range(len(names)), list(x.ranks.values()), width=0.6, color="0.5")
    axes.set_xticks(range(len(names)), names, rotation=60 if len(names) > 16 else 0)
    axes.set_ylabel("rank", fontsize=10)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=9 if len(names) <= 16 else 7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
