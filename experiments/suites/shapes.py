"""The shapes of the papers, which all suites share: 57,600 pixels to 256 hidden features."""

import numpy as np

import ht_jax as ht

PIXELS, HIDDEN, FRAMES = 57_600, 256, 6
HT = ht.HT((8, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5)
FDHT = ht.HT((9, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5)
FOUR = (8, 20, 20, 18), (4, 4, 4, 4)
FORMATS: dict[str, ht.Format] = {
    "HT": HT,
    "TT rank 4": ht.TT(*FOUR, 4),
    "TR": ht.TR((4, 2, 5, 8, 6, 5, 3, 2), (4, 4, 2, 4, 2), 5, 10),
    "BT": ht.BT(*FOUR, 4, 2),
    "KCP": ht.KCP(*FOUR, 2, 2),
    "CP rank 8": ht.CP(*FOUR, 8),
    "Tucker rank 3": ht.Tucker(*FOUR, 3),
}


def clips(batch: int, pixels: int = PIXELS) -> np.ndarray:
    """Random uint8 frames (batch, FRAMES, pixels)."""
    return np.random.default_rng(0).integers(0, 256, (batch, FRAMES, pixels), np.uint8)
