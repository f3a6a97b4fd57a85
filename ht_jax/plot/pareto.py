"""A Pareto plot: what a system reaches against what it costs, and the systems that none beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ht_jax.plot.style import GREY, INK, bare, family_colour, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP, CLEAR = 12.0, 9.0  # points between two labels, and from a label to another's marker
REACH = 80.0  # points across within which names may meet


def plot_pareto(
    systems: Mapping[str, Sequence[float]],
    *,
    cost: str,
    value: str,
    families: Mapping[str, str] | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Systems as points (cost, value), the best trade-offs joined by a line.

    Args:
        systems: by name, the cost and the value, and half the width of its interval if known.
        cost: label of the horizontal axis, which is logarithmic; less is better.
        value: label of the vertical axis; more is better.
        families: by name, what decides the colour; by default the name itself.
        axes: where to draw; by default on a figure of its own.

    Raises:
        ValueError: no system, or a cost that is not positive.
        ImportError: matplotlib is not installed.

    Example:
        >>> systems = {"LSTM": (59e6, 69.7), "TT-LSTM": (3360, 79.6), "HT-LSTM": (1245, 87.2)}
        >>> figure = plot_pareto(systems, cost="numbers", value="accuracy, %")
        >>> pareto_front(systems)
        ['HT-LSTM']
    """
    if not systems or min(point[0] for point in systems.values()) <= 0:
        raise ValueError(f"give systems of positive cost, not {dict(systems)}")
    if axes is None:
        axes = new_figure(6, 4).add_subplot()
    front = pareto_front(systems)
    axes.plot(*zip(*(systems[name][:2] for name in front)), color=GREY, linewidth=1, zorder=1)
    for name, (x, y, *half) in systems.items():
        color = family_colour((families or {}).get(name, name))
        marker = {"fmt": "o", "markersize": 7 if name in front else 5, "markeredgecolor": INK}
        axes.errorbar(x, y, yerr=half or None, color=color, ecolor=color, capsize=2, **marker)
    axes.set(xscale="log", xlabel=cost, ylabel=value)
    axes.margins(x=0.2, y=0.1)
    bare(axes)
    _tick(axes, [point[0] for point in systems.values()])
    _label(axes, systems, front)
    return axes.get_figure(root=True)  # pyright: ignore[reportReturnType]


def pareto_front(systems: Mapping[str, Sequence[float]]) -> list[str]:
    """Names of the systems than which none is both cheaper and better, the cheapest first."""
    front: list[str] = []
    for name in sorted(systems, key=lambda name: (systems[name][0], -systems[name][1])):
        if not front or systems[name][1] > systems[front[-1]][1]:
            front.append(name)
    return front


def _tick(axes: Axes, costs: Sequence[float]) -> None:
    """Powers of ten where there are some, else 1, 2 and 5 of each, written out."""
    from matplotlib import ticker

    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    if max(costs) < 300 * min(costs):
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:,.6g}"))


def _label(axes: Axes, systems: Mapping[str, Sequence[float]], front: Sequence[str]) -> None:
    """Names to the right of their points, moved up or down as little as clears all others."""
    axes.autoscale_view()
    scale = 72 / axes.get_figure(root=True).dpi  # pyright: ignore[reportOptionalMemberAccess]
    place = axes.transData.transform
    at = {name: place(point[:2]) * scale for name, point in systems.items()}
    placed: list[tuple[float, float]] = []
    for name in sorted(at, key=lambda name: -at[name][1]):
        x, y = at[name]
        taken = [(v, GAP) for u, v in placed if abs(u - x) < REACH]
        taken += [(v, CLEAR) for u, v in at.values() if 2 < u - x < REACH]
        shifts = sorted(range(-200, 200), key=abs)
        free = (y + s for s in shifts if all(abs(y + s - v) >= gap for v, gap in taken))
        wanted = next(free, y)
        placed.append((x, wanted))
        style: dict[str, Any] = {"fontsize": 9, "fontweight": "bold" if name in front else "normal"}
        style |= {"xytext": (7, wanted - y), "textcoords": "offset points", "va": "center"}
        style |= {"bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}}
        axes.annotate(name, (systems[name][0], systems[name][1]), **style)
