"""Pictures: of trees, networks and schedules, of runs and of results.

Every `plot_` function returns a Matplotlib figure: a notebook shows it, and
`figure.savefig("name.svg")` or `"name.png"` writes it.
"""

from ht_jax.plot.frames import plot_frames as plot_frames
from ht_jax.plot.networks import plot_network as plot_network
from ht_jax.plot.pareto import plot_pareto as plot_pareto
from ht_jax.plot.runs import plot_confusion as plot_confusion
from ht_jax.plot.runs import plot_curves as plot_curves
from ht_jax.plot.runs import plot_run as plot_run
from ht_jax.plot.schedules import plot_schedule as plot_schedule
from ht_jax.plot.trees import draw_tree as draw_tree
from ht_jax.plot.trees import plot_singular_values as plot_singular_values
from ht_jax.plot.trees import plot_tree as plot_tree
