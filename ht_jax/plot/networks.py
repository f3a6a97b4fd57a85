"""The tensor network of a format as a diagram: cores, the edges between them, and open legs.

An index that stands in two cores is an edge, in more of them a dot that is joined to each; one of
the input or output is a leg. Cores of inputs alone stand above, cores of outputs alone below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ht_jax.formats import Format
from ht_jax.network import TensorNetwork
from ht_jax.plot.style import BLUE, GREY, INK, SKY, VERMILION, WHITE_BOX, YELLOW, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Places = dict[str, tuple[float, float]]
LEG = 0.55


def plot_network(fmt: Format) -> Figure:
    """The cores of a format and what joins them.

    Edges and legs carry the sizes of their indices; legs of inputs are blue, legs of outputs
    vermilion. A core's number is how many numbers it holds.

    Args:
        fmt: any format.

    Raises:
        ImportError: matplotlib is not installed.

    Example:
        >>> import ht_jax as ht
        >>> figure = plot_network(ht.TR((8, 6), (4, 4), rank=3))
        >>> figure.axes[0].get_title()
        '48 × 16 as TR: 4 cores, 198 numbers'
    """
    net = fmt.network()
    places = _places(net)
    across, up = ([p[n] for p in places.values()] for n in (0, 1))
    width = max(5.0, 1.25 * (max(across) - min(across) + 1))
    figure = new_figure(width, 1.9 + 1.15 * (max(up) - min(up)))
    axes = figure.add_subplot()
    _draw_bonds(axes, net, places)
    _draw_legs(axes, net, places)
    _draw_cores(axes, net, places)
    axes.set_axis_off()
    room = LEG + 0.35  # for the legs and their sizes
    above = 0.3 if _hang(places) else room
    axes.set(xlim=(min(across) - room, max(across) + room), ylim=(min(up) - room, max(up) + above))
    size = f"{fmt.in_features:,} × {fmt.out_features:,} as {type(fmt).__name__}"
    cores = f"{len(net.cores)} core{'s' * (len(net.cores) > 1)}"
    axes.set_title(f"{size}: {cores}, {fmt.num_params:,} numbers", fontsize=11, color=INK)
    return figure


def _places(net: TensorNetwork) -> Places:
    """Cores with open legs in rows, the others on the levels between or above them."""
    inputs, outputs = set(net.inputs), set(net.outputs)
    both, above, below, inner = [], [], [], []
    for core, indices in net.operands:
        reads, writes = bool(inputs & {*indices}), bool(outputs & {*indices})
        rows = {(True, True): both, (True, False): above, (False, True): below}
        rows.get((reads, writes), inner).append(core)
    places = {core: (float(n), 0.0) for n, core in enumerate(both)}
    if both:
        _place_levels(net, places, inner)
        return places
    width = max(len(above), len(below))
    places |= {core: ((width - 1) / 2, 0.0) for core in inner} | _row(above, width, 1.0)
    places |= min(
        (_row(row, width, -1.0) for row in (below, below[::-1])),
        key=lambda row: _length(net, {**places, **row}),
    )
    return places


def _row(cores: Sequence[str], width: int, y: float) -> Places:
    """Cores side by side, spread over the width of the widest row."""
    gap = (width - 1) / max(len(cores) - 1, 1)
    return {
        core: (n * gap if len(cores) > 1 else (width - 1) / 2, y) for n, core in enumerate(cores)
    }


def _place_levels(net: TensorNetwork, places: Places, inner: Sequence[str]) -> None:
    """Puts every inner core above the middle of those that it joins, level by level."""
    left, level = list(inner), 0
    while left:
        level += 1
        ready = [core for core in left if _below(net, places, core) >= 2] or left[:1]
        for core in ready:
            x = [places[other][0] for other in _neighbours(net, core) if other in places]
            places[core] = sum(x) / max(len(x), 1), 1.1 * level
        left = [core for core in left if core not in ready]


def _below(net: TensorNetwork, places: Places, core: str) -> int:
    return sum(other in places for other in _neighbours(net, core))


def _neighbours(net: TensorNetwork, core: str) -> list[str]:
    mine = set(net.indices[core])
    return [other for other, indices in net.operands if other != core and mine & {*indices}]


def _bonds(net: TensorNetwork) -> dict[tuple[str, ...], list[str]]:
    """The inner indices, by the cores that carry them."""
    found: dict[tuple[str, ...], list[str]] = {}
    for index in net.size:
        if index not in (*net.inputs, *net.outputs):
            cores = tuple(core for core, indices in net.operands if index in indices)
            found.setdefault(cores, []).append(index)
    return found


def _length(net: TensorNetwork, places: Places) -> float:
    pairs = (cores for cores in _bonds(net) if len(cores) == 2)
    return sum(math.dist(places[a], places[b]) for a, b in pairs)


def _draw_bonds(axes: Axes, net: TensorNetwork, places: Places) -> None:
    bonds = _bonds(net)
    shared: list[tuple[str, ...]] = [cores for cores in bonds if len(cores) > 2]
    hubs = sorted(shared, key=lambda cores: _middle(cores, places))
    for cores, indices in bonds.items():
        text = " · ".join(str(net.size[index]) for index in indices)
        thick = 1 + 0.8 * math.log2(net.volume(indices) + 1) / 2
        if cores not in hubs:
            (x, y), (u, v) = (places[core] for core in cores)
            axes.plot([x, u], [y, v], color=GREY, linewidth=thick, zorder=1)
            axes.text((x + u) / 2, (y + v) / 2, text, bbox=WHITE_BOX, **_label(INK))
        else:
            center = _hub(cores, places, hubs.index(cores), len(hubs))
            for core in cores:
                x, y = places[core]
                axes.plot([x, center[0]], [y, center[1]], color=GREY, linewidth=thick, zorder=1)
            axes.scatter(*center, s=190, color="white", edgecolor=GREY, zorder=2)
            axes.text(*center, text, **_label(INK))


def _hub(cores: Sequence[str], places: Places, nth: int, of: int) -> tuple[float, float]:
    """Where the dot of an index that many cores share stands: in their middle, beside others."""
    x, y = _middle(cores, places)
    flat = len({places[core][1] for core in cores}) == 1
    return x + 1.6 * (nth - (of - 1) / 2), y + (0.8 if flat else 0.0)


def _middle(cores: Sequence[str], places: Places) -> tuple[float, float]:
    """The mean place across, and half way between the highest and the lowest of them."""
    x, y = zip(*(places[core] for core in cores))
    return sum(x) / len(x), (min(y) + max(y)) / 2


def _hang(places: Places) -> bool:
    """Whether cores stand above the lowest ones, whose legs then all hang below."""
    low, high = (end(y for _, y in places.values()) for end in (min, max))
    return high > low == 0


def _draw_legs(axes: Axes, net: TensorNetwork, places: Places) -> None:
    for core, indices in net.operands:
        reads = [i for i in indices if i in net.inputs]
        writes = [i for i in indices if i in net.outputs]
        x, y = places[core]
        apart = 0.17 if reads and writes and _hang(places) else 0.0
        up = y >= 0 and not apart
        _draw_group(axes, net, reads, (x, y), -apart, LEG if up else -LEG, BLUE)
        _draw_group(axes, net, writes, (x, y), apart, -LEG, VERMILION)


def _draw_group(
    axes: Axes,
    net: TensorNetwork,
    legs: Sequence[str],
    start: tuple[float, float],
    lean: float,
    length: float,
    color: str,
) -> None:
    """Legs of one kind, side by side; a negative length hangs down."""
    x, y = start
    for n, index in enumerate(legs):
        end = x + lean + 0.3 * (n - (len(legs) - 1) / 2)
        axes.plot([x, end], [y, y + length], color=color, linewidth=2.5, zorder=1)
        text = str(net.size[index])
        axes.text(end, y + length + math.copysign(0.17, length), text, **_label(color))


def _draw_cores(axes: Axes, net: TensorNetwork, places: Places) -> None:
    opened = {*net.inputs, *net.outputs}
    for core, indices in net.operands:
        color = SKY if opened & {*indices} else YELLOW
        axes.scatter(*places[core], s=520, marker="o", color=color, edgecolor=INK, zorder=3)
        count = f"{math.prod(net.shape(core)):,}"
        axes.text(*places[core], count, fontsize=9 if len(count) < 5 else 7, **_label(INK, 0))


def _label(color: str, size: int = 10) -> dict:
    style = {"ha": "center", "va": "center", "color": color, "zorder": 4}
    return {**style, "fontsize": size} if size else style
