"""A small convolutional network, trained together with the recurrent layer that reads it."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Shaped


class SmallCNN(nnx.Module):
    """Frames to feature vectors: 3 x 3 convolutions of stride 2, each followed by a ReLU.

    The features keep their place in the frame, so that a recurrent layer can see motion.

    Args:
        frame_shape: (height, width, channels) of a frame.
        channels: of every convolution.
        scale: integer frames are read as `x * scale`.
        dtype: of the computation.
        rngs: the stream `params`.

    Attributes:
        out_features: length of a frame's feature vector.

    Raises:
        ValueError: frames without height, width and channels.

    Example:
        >>> cnn = SmallCNN((120, 160, 3), rngs=nnx.Rngs(0))
        >>> cnn(jnp.zeros((2, 6, 120, 160, 3), jnp.uint8)).shape
        (2, 6, 2560)
    """

    layers: nnx.List[nnx.Conv]
    scale: float
    dtype: Any
    out_features: int

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        channels: tuple[int, ...] = (16, 32, 32, 32),
        *,
        scale: float = 1 / 255,
        dtype: Any = None,
        rngs: nnx.Rngs,
    ):
        if len(frame_shape) != 3:
            raise ValueError(
                f"frames of shape {frame_shape} have no height, width and channels: a "
                "convolutional network reads images"
            )
        height, width, first = frame_shape
        sizes = zip((first, *channels), channels)
        options = {"kernel_size": (3, 3), "strides": 2, "dtype": dtype, "rngs": rngs}
        self.layers = nnx.List([nnx.Conv(a, b, **options) for a, b in sizes])
        self.scale, self.dtype = scale, dtype
        down = 2 ** len(channels)
        self.out_features = math.ceil(height / down) * math.ceil(width / down) * channels[-1]

    def __call__(
        self, frames: Shaped[Array, "batch time height width channels"]
    ) -> Float[Array, "batch time features"]:
        """The feature vectors of clips."""
        x = frames.reshape(-1, *frames.shape[2:])
        if jnp.issubdtype(x.dtype, jnp.integer):
            dtype = self.dtype or jnp.float32
            x = x.astype(dtype) * jnp.asarray(self.scale, dtype)
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return x.reshape(*frames.shape[:2], self.out_features)
