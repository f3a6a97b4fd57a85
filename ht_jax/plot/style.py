"""What all pictures share: figures without a window, and colours.

The palette is Okabe and Ito's: told apart by the colour-blind, and mostly in grey. Matplotlib is
used without pyplot, so there is no global state, and it is imported here alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, SKY, GREEN, YELLOW = "#0072B2", "#56B4E9", "#009E73", "#E69F00"
VERMILION, PURPLE, GREY, INK = "#D55E00", "#CC79A7", "#8A8A8A", "#1A1A1A"
CYCLE = (BLUE, VERMILION, YELLOW, GREEN, PURPLE, SKY, GREY)

# Of a system, by the family that its name begins with.
FAMILIES = {
    **{"FDHT": GREEN, "HT": BLUE, "TT": YELLOW, "TR": PURPLE, "BT": SKY, "KCP": VERMILION},
    **{"LSTM": "#777777", "GRU": "#AAAAAA"},
}

WHITE_BOX: dict[str, Any] = {
    "boxstyle": "round,pad=0.15",
    "facecolor": "white",
    "edgecolor": "none",
    "alpha": 0.9,
}


def new_figure(width: float, height: float) -> Figure:
    """A figure of a size in inches, laid out without overlap.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'ht_jax[train]'") from error
    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def family_colour(system: str) -> str:
    """The colour of a system such as "HT-LSTM", the same in every picture."""
    return next((c for name, c in FAMILIES.items() if system.startswith(name)), GREY)


def bare(axes: Axes) -> None:
    """Takes the frame's upper and right side away, and draws a light grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
