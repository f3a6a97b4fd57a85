"""Evaluation on one split: every example once, counted exactly.

The confusion counts are integers summed over batches and devices; accuracy is trace / total.
"""

import dataclasses
from collections.abc import Callable, Iterable

import jax
import numpy as np
from jaxtyping import Array

from ht_jax.train.errors import UserError
from ht_jax.train.step import Batch, Params


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model does on one split.

    Args:
        loss: Mean cross-entropy.
        confusion: Counts (classes, classes), true class by predicted class.
        class_names: The names of the classes, in order.
    """

    loss: float
    confusion: np.ndarray
    class_names: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many examples were counted."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of the examples whose class was found."""
        return float(np.trace(self.confusion) / self.count)


def evaluate(
    eval_step: Callable[[Params, Batch], dict[str, Array]],
    params: Params,
    batches: Iterable[Batch],
    class_names: tuple[str, ...],
) -> Evaluation:
    """Evaluates parameters on the batches of one split.

    Args:
        eval_step: The compiled evaluation step.
        params: The parameters.
        batches: Batches as the step takes them, padding marked by the mask.
        class_names: The names of the classes.

    Returns:
        The evaluation.

    Raises:
        UserError: If the split holds no example.
    """
    sums = [jax.tree.map(np.asarray, eval_step(params, batch)) for batch in batches]
    confusion = np.asarray(np.sum([each["confusion"] for each in sums], axis=0, dtype=np.int64))
    count = int(np.sum(confusion))
    if not count:
        raise UserError("the split holds 0 examples: choose another split or other data")
    loss = float(np.sum([each["loss"] for each in sums]) / count)
    return Evaluation(loss, confusion, class_names)
