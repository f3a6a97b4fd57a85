"""Whole models, made of the layers of `ht_jax.nn`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import einops
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Shaped


class VideoClassifier(nnx.Module):
    """Clips to class logits: frames, recurrent layer, dropout, linear classifier.

    The classifier reads the recurrent layer's output at the last valid frame.

    Args:
        rnn: a layer called as `ht_jax.nn.RNN`; it reads flattened frames.
        hidden_features: length of its outputs.
        num_classes: number of logits.
        classifier: from the hidden features to the logits, in place of a new linear layer.
        features: maps frames to feature vectors first (a CNN, or `einops.rearrange` with a pattern
            that puts the axes of a frame in another order); by default a frame is its pixels.
        dropout: rate of dropout before the classifier.
        dtype: of the classifier's computation.
        rngs: streams `params`, and `dropout` if there is any.

    Example:
        >>> import ht_jax as ht, jax.numpy as jnp
        >>> rngs = nnx.Rngs(0)
        >>> rnn = ht.nn.RNN(ht.nn.LSTMCell(300, 8, rngs=rngs), scale=1 / 255)
        >>> model = VideoClassifier(rnn, 8, 5, rngs=rngs)
        >>> model(jnp.zeros((2, 6, 10, 10, 3), jnp.uint8)).shape
        (2, 5)
    """

    features: Callable[[Array], Array] | None
    rnn: Any
    dropout: nnx.Dropout
    classifier: Any

    def __init__(
        self,
        rnn: nnx.Module,
        hidden_features: int,
        num_classes: int,
        *,
        classifier: Any = None,
        features: Callable[[Array], Array] | None = None,
        dropout: float = 0.0,
        dtype: Any = None,
        rngs: nnx.Rngs,
    ):
        self.features = features
        self.rnn = rnn
        self.dropout = nnx.Dropout(dropout)
        linear = functools.partial(nnx.Linear, hidden_features, num_classes, dtype=dtype, rngs=rngs)
        self.classifier = linear() if classifier is None else classifier

    def __call__(
        self,
        frames: Shaped[Array, "batch time *frame"],
        *,
        seq_lengths: Int[Array, " batch"] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "batch classes"]:
        """Logits of clips.

        Args:
            frames: clips of one frame or more; uint8 frames are normalised as `rnn` says, or as
                `features` does.
            seq_lengths: number of valid frames of each clip.
            rngs: for the dropout, while `model.train()` is on.
        """
        x = frames if self.features is None else self.features(frames)
        x = einops.rearrange(x, "batch time ... -> batch time (...)")
        outputs = self.rnn(x, seq_lengths=seq_lengths, rngs=rngs)
        last = outputs[:, -1] if seq_lengths is None else _at_last(outputs, seq_lengths)
        return self.classifier(self.dropout(last, rngs=rngs)).astype(jnp.float32)


def _at_last(outputs: Array, seq_lengths: Array) -> Array:
    """The outputs at the last valid frame; at the first frame of an empty clip, where it is 0."""
    last = jnp.maximum(seq_lengths - 1, 0)
    return jnp.take_along_axis(outputs, last[:, None, None], axis=1)[:, 0]
