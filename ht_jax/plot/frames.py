"""Clips as strips of frames, each with its true class and what a model takes it for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ht_jax.plot.style import INK, VERMILION, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_frames(clips: np.ndarray, texts: Sequence[str], correct: Sequence[bool] = ()) -> Figure:
    """A row of frames for each clip.

    Args:
        clips: uint8 or floats in [0, 1], (clips, time, height, width, 3); with a last axis of 1,
            or none, in grey.
        texts: what stands above each row.
        correct: whether the prediction is right; a wrong one is marked, in vermilion.

    Raises:
        ValueError: not as many texts as clips.
        ImportError: matplotlib is not installed.

    Example:
        >>> clips = np.zeros((2, 4, 8, 8, 3), np.uint8)
        >>> len(plot_frames(clips, ["left", "right: taken for left"], [True, False]).axes)
        8
    """
    clips = np.asarray(clips)
    if clips.ndim == 5 and clips.shape[-1] == 1:
        clips = clips[..., 0]
    count, time = clips.shape[:2]
    if len(texts) != count:
        raise ValueError(f"{len(texts)} texts for {count} clips: give one for each")
    height, width = clips.shape[2:4]
    figure = new_figure(1.3 * time, count * (0.3 + 1.25 * height / width))
    grid = figure.subplots(count, time, squeeze=False)
    for row, (clip, text) in enumerate(zip(clips, texts)):
        right = row >= len(correct) or bool(correct[row])
        for ax, frame in zip(grid[row], clip):
            ax.imshow(frame, cmap="gray")
            ax.set_axis_off()
        title = {"fontsize": 9, "loc": "left", "color": INK if right else VERMILION}
        grid[row][0].set_title(text if right else f"✗ {text}", **title)
    return figure
