"""Features of frames from a frozen network of keras.applications, on Keras' JAX backend."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from ht_jax.data.optional import require

# Sides of the frames that networks were trained on; the others on 224.
_SIDES = {"inceptionv3": 299, "xception": 299, "inceptionresnetv2": 299, "nasnetlarge": 331}


@dataclass(frozen=True, eq=False)
class FrozenCNN:
    """A frozen network without its classifier, its last layer averaged over the frame.

    Attributes:
        name: as it was asked for.
        weights: where they came from.
        out_features: length of a frame's feature vector.
        model: the Keras model.
        preprocess: of frames in 0 to 255, as the network was trained.

    Example:
        >>> from types import SimpleNamespace
        >>> mean = SimpleNamespace(predict_on_batch=lambda frames: frames.mean((1, 2)))
        >>> cnn = FrozenCNN("mean", "none", 3, mean, lambda frames: frames / 255)
        >>> cnn(np.full((6, 4, 4, 3), 255, np.uint8)).shape
        (6, 3)
    """

    name: str
    weights: str
    out_features: int
    model: Any
    preprocess: Any

    def __call__(
        self, frames: UInt8[np.ndarray, "frames height width 3"]
    ) -> Float32[np.ndarray, "frames features"]:
        """The feature vectors of frames."""
        floats = self.preprocess(frames.astype(np.float32))
        return np.asarray(self.model.predict_on_batch(floats), np.float32)


def side(name: str) -> int:
    """Height and width of the frames that a network was trained on.

    Example:
        >>> side("inception_v3"), side("mobilenet_v2")
        (299, 224)
    """
    return _SIDES.get(_plain(name), 224)


def frozen_cnn(name: str, height: int, width: int, weights: str | Path = "imagenet") -> FrozenCNN:
    """Builds a network of keras.applications.

    Args:
        name: such as "inception_v3", the papers' (2,048 features).
        height: of a frame.
        width: of a frame.
        weights: "imagenet" lets Keras download them; otherwise a file of the network without its
            classifier ("no top").

    Raises:
        ValueError: there is no such network, or the file does not fit it.
        FileNotFoundError: there is no such file.
        ImportError: Keras is missing, or runs on another backend.
        OSError: the weights could not be downloaded.

    Example:
        >>> cnn = frozen_cnn("inception_v3", 299, 299)  # doctest: +SKIP
        >>> frozen_cnn("inception_v3", 299, 299, weights="nowhere.h5")
        Traceback (most recent call last):
        FileNotFoundError: the weights nowhere.h5 are no file: pass a file, or 'imagenet'
    """
    if weights != "imagenet" and not Path(weights).is_file():
        raise FileNotFoundError(f"the weights {weights} are no file: pass a file, or 'imagenet'")
    keras = _keras()
    known = {
        _plain(key): key for key, value in vars(keras.applications).items() if key[0].isupper()
    }
    if _plain(name) not in known:
        raise ValueError(f"unknown network {name!r}: choose one of {', '.join(sorted(known))}")
    make = getattr(keras.applications, known[_plain(name)])
    shape = {"input_shape": (height, width, 3), "include_top": False, "pooling": "avg"}
    try:
        model = make(weights=str(weights), **shape)
    except Exception as error:
        if weights == "imagenet":
            raise OSError(
                f"the weights of {name} could not be downloaded ({error}): pass a file of the "
                "network without its classifier"
            ) from error
        raise ValueError(f"the weights {weights} do not fit {name}: {error}") from error
    preprocess = sys.modules[make.__module__].preprocess_input
    return FrozenCNN(name, Path(weights).name, model.output_shape[-1], model, preprocess)


def _keras() -> ModuleType:
    os.environ.setdefault("KERAS_BACKEND", "jax")  # Keras reads it once, when it is imported
    keras = require("keras", extra="keras")
    if keras.backend.backend() != "jax":
        raise ImportError(
            f"Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=jax before it is imported"
        )
    return keras


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
