"""Outcome: what one randomly drawn model showed when it was compared with another library."""

from __future__ import annotations

import dataclasses
from typing import Literal

Kind = Literal["exact", "refused", "different", "failed"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of one case of `differential.py`.

    Attributes:
        kind: "exact" if every compared array agrees within the tolerance, "refused" if ht_jax
            said no with a clear error, "different" if an array disagrees or is not finite,
            "failed" if anything else was raised.
        difference: the largest difference found, relative to the scale of its array; 0 where
            nothing was compared.
        description: the drawn options, and the error or the name of the array that disagrees.
    """

    kind: Kind
    difference: float
    description: str
