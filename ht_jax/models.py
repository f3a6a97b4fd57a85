"""Whole models, made of the layers of `ht_jax.nn`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import einops
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Shaped

from ht_jax.nn.lengths import Lengths, last_valid, masked, valid_frames


class VideoClassifier(nnx.Module):
    """Clips to class logits: frames, recurrent layer, dropout, linear classifier.

    The classifier reads the recurrent layer's output at the last valid frame, or the last output
    of a layer that returns them in reverse: that one has read the whole clip.

    Args:
        rnn: a layer called as `ht_jax.nn.RNN`; it reads flattened frames, batch-major and without
            its carry even if it is made otherwise.
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
        seq_lengths: Lengths | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "batch classes"]:
        """Logits of clips.

        Args:
            frames: clips of one frame or more; uint8 frames are normalised as `rnn` says, or as
                `features` does.
            seq_lengths: number of valid frames of each clip, as for `ht_jax.nn.RNN`.
            rngs: for the dropout, while `model.train()` is on.
        """
        valid = valid_frames(seq_lengths, (*frames.shape[:2], 1), time_major=False)
        if self.features is not None:
            frames = self.features(masked(frames, valid, time_major=False))
        x = einops.rearrange(frames, "batch time ... -> batch time (...)")
        made = {n: False for n in ("time_major", "return_carry") if getattr(self.rnn, n, False)}
        outputs = self.rnn(x, seq_lengths=seq_lengths, rngs=rngs, **made)
        last = last_valid(outputs, valid)
        return self.classifier(self.dropout(last, rngs=rngs)).astype(jnp.float32)
