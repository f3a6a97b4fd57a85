"""From a trained dense model to a compressed one: `compress`, or `frontier` for many budgets."""

from ht_jax.compression.compress import compress as compress
from ht_jax.compression.frontier import Frontier as Frontier
from ht_jax.compression.frontier import frontier as frontier
from ht_jax.compression.report import Report as Report
from ht_jax.compression.report import Row as Row
