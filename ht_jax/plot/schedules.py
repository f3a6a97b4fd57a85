"""A schedule as a tree of contractions, beside the time and the bytes of each.

Operands stand on the left: the input, which passes through the blue nodes, and the cores. Node k
is the k-th contraction; its bar on the right is its share of the modelled time.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import jax

from ht_jax.plot.style import BLUE, GREY, INK, YELLOW, bare, new_figure
from ht_jax.schedule import Schedule, Step, StepCost, device, step_costs
from ht_jax.schedule.schedule import BATCH, INPUT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALLEST = 150.0  # area of a node, in square points


def plot_schedule(schedule: Schedule) -> Figure:
    """The contractions of a schedule, in order.

    The area of a node grows with the bytes that the contraction moves; the bars give its time as
    the cost model of the default device has it, forward, or with the backward pass where the
    schedule is for training.

    Args:
        schedule: as `ht.plan` returns it.

    Raises:
        ValueError: a schedule without a step.
        ImportError: matplotlib is not installed.

    Example:
        >>> import ht_jax as ht
        >>> figure = plot_schedule(ht.plan(ht.HT((8, 6), (4, 4), rank=3), batch=4))
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['', 'contraction']
    """
    if not schedule.steps:
        raise ValueError("this schedule has no contraction to draw")
    costs = step_costs(schedule, device(jax.default_backend()))
    count = max(len(schedule.network.operands) + 1, len(schedule.steps))
    figure = new_figure(10, 1.2 + 0.42 * count)
    tree, bars = figure.subplots(1, 2, width_ratios=(1, 1.1))
    _draw_tree(tree, schedule, costs)
    _draw_bars(bars, schedule, costs)
    figure.suptitle(_title(schedule, costs), fontsize=11)
    return figure


def _title(schedule: Schedule, costs: tuple[StepCost, ...]) -> str:
    net = schedule.network
    moved, seconds = (sum(part) for part in list(zip(*costs))[2:])
    return (
        f"{net.in_size:,} → {net.out_size:,}, {schedule.batch} rows, {schedule.mode}: "
        f"{schedule.flops / 1e6:,.3g} Mflop forward, {_bytes(moved)} moved, "
        f"{1e3 * seconds:,.3g} ms modelled"
    )


def _draw_tree(axes: Axes, schedule: Schedule, costs: tuple[StepCost, ...]) -> None:
    places = {name: (0.0, -float(n)) for n, name in enumerate(_operands(schedule))}
    for name, (x, y) in places.items():
        shown = "input" if name == INPUT else name
        weight = "bold" if name == INPUT else "normal"
        axes.text(x - 0.15, y, shown, ha="right", va="center", fontsize=9, fontweight=weight)
    most = max(cost.bytes_moved for cost in costs)
    for n, (step, cost) in enumerate(zip(schedule.steps, costs), 1):
        ends = [places[step.left], places[step.right]]
        node = float(n), sum(y for _, y in ends) / 2
        for name, (x, y) in zip((step.left, step.right), ends):
            batched = BATCH in schedule.operands[name]
            style = {"color": BLUE if batched else GREY, "linewidth": 2.2 if batched else 1.2}
            axes.plot([x, node[0], node[0]], [y, y, node[1]], zorder=1, **style)
        size = SMALLEST + 420 * math.sqrt(cost.bytes_moved / most)
        color = _colour(schedule, step)
        axes.scatter(*node, s=size, color=color, edgecolor=INK, zorder=3)
        white = "white" if color == BLUE else INK
        axes.text(*node, str(n), ha="center", va="center", fontsize=9, color=white, zorder=4)
        places[step.out] = node
    axes.set_axis_off()
    axes.margins(x=0.12, y=0.08)


def _draw_bars(axes: Axes, schedule: Schedule, costs: tuple[StepCost, ...]) -> None:
    times = [1e3 * cost.seconds for cost in costs]
    rows = range(1, len(costs) + 1)
    colours = [_colour(schedule, step) for step in schedule.steps]
    axes.barh(rows, times, color=colours, height=0.62, edgecolor=INK, linewidth=0.5)
    for n, step, cost, time in zip(rows, schedule.steps, costs, times):
        text = f"{time:.3g} ms, {_bytes(cost.bytes_moved)}: {_shape(schedule, step)}"
        place = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(text, (time, n), fontsize=9, **place)
    axes.set_yticks(rows)
    axes.set(xlim=(0, 3 * max(times)), xlabel="modelled time, ms", ylabel="contraction")
    axes.invert_yaxis()
    bare(axes)


def _operands(schedule: Schedule) -> list[str]:
    """The operands in the order in which the tree needs them, so that no lines cross."""
    made = {step.out: (step.left, step.right) for step in schedule.steps}

    def below(name: str) -> list[str]:
        return [name] if name not in made else [x for part in made[name] for x in below(part)]

    return below(schedule.steps[-1].out)


def _colour(schedule: Schedule, step: Step) -> str:
    return BLUE if BATCH in schedule.operands[step.left] else YELLOW


def _shape(schedule: Schedule, step: Step) -> str:
    product = schedule.product(step)
    groups, rows, inner, cols = (
        functools.reduce(lambda n, i: n * schedule.size[i], part, 1)
        for part in (product.groups, product.rows, product.inner, product.cols)
    )
    return f"{groups} × " * (groups > 1) + f"({rows}, {inner}) @ ({inner}, {cols})"


def _bytes(count: float) -> str:
    return f"{count / 1e6:.3g} MB" if count >= 1e6 else f"{count / 1e3:.3g} kB"
