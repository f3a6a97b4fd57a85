"""What was tried to make HT better than in the papers, each thing on its own.

All train as the study does, HT at no more than its 1,245 numbers, and are compared on validation
clips alone. A variant changes the format, the model's options, the untrained model or the
optimizer.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import einops
import jax
import jax.numpy as jnp
import numpy as np
import optax

import ht_jax as ht
from experiments.configs import systems as papers
from ht_jax.compression.manifold import on_manifold, orthonormal
from ht_jax.formats.weight import squared_norm
from ht_jax.train import OptimizerConfig
from ht_jax.train.optimizer import make_optimizer, make_schedule

# Modes that cut the axes of a frame (120 rows, 160 columns, 3 channels) and lie within one each:
# rows 8 * 15, columns 16 * 10. The coarse ones share a node, and so do the fine ones.
ALIGNED = ((8, 15, 16, 10, 3), (2, 4, 4, 4, 2))
COARSE_TO_FINE = ht.DimensionTree(((0, 2), ((1, 3), 4)))
HT = papers.HT_UCF
HT_ALIGNED = ht.HT(*ALIGNED, leaf_rank=4, rank=5, tree=COARSE_TO_FINE)
TT = ht.TT(papers.UCF, papers.FOURS, 4)
TR = ht.TR(papers.TR_IN, papers.HT_OUT, 5, 10)
FDHT = ht.HT((9, 10, 10, 9, 8), papers.HT_OUT, leaf_rank=4, rank=5)
NORM = {"layer_norm": True}


@dataclasses.dataclass(frozen=True)
class Variant:
    """One thing that was tried.

    Attributes:
        name: unique.
        fmt: of the matrix.
        model: fields of `ModelConfig`.
        rate: peak learning rate.
        change: what is done to the untrained model; it takes the seed, too.
        optimizer: in place of Adam, from the model, the configuration and the number of steps.
        seeds: how many runs.
        steps: of each.
        place: which matrix is in the format.
    """

    name: str
    fmt: ht.Format = HT
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rate: float = 1e-2
    change: Callable[[Any, int], None] | None = None
    optimizer: Callable[[Any, OptimizerConfig, int], optax.GradientTransformation] | None = None
    seeds: int = 1
    steps: int = 500
    place: str = "input"


# ---------------------------------------------------------------- changes of the untrained model


def gain(factor: float) -> Callable[[Any, int], None]:
    """Scales the matrix, every core alike."""

    def change(model: Any, seed: int) -> None:
        cores = model.rnn.cell.input.cores
        for core in cores.values():
            core[...] *= factor ** (1 / len(cores))

    return change


def offset(value: float) -> Callable[[Any, int], None]:
    """Adds a number to every scaled pixel."""

    def change(model: Any, seed: int) -> None:
        model.rnn.reading = dataclasses.replace(model.rnn.reading, offset=value)

    return change


def forget(value: float) -> Callable[[Any, int], None]:
    """Another bias of the forget gate."""

    def change(model: Any, seed: int) -> None:
        bias, hidden = model.rnn.cell.bias, model.rnn.cell.hidden_features
        bias[...] = bias[...].at[hidden : 2 * hidden].set(value)

    return change


def orthogonal(model: Any, seed: int) -> None:
    """An orthogonal hidden-to-hidden matrix for every gate."""
    hidden, keys = model.rnn.cell.hidden_features, jax.random.split(jax.random.key(seed + 99), 4)
    kernel = jnp.concatenate([jax.random.orthogonal(key, hidden) for key in keys], axis=1)
    model.rnn.cell.recurrent.cores["kernel"][...] = kernel


def interleaved(model: Any, seed: int) -> None:
    """The published modes, each over a patch: rows 2 5 2 3 2, columns 4 2 5 1 4, channels 3."""
    order = einops.rearrange(
        np.arange(papers.PIXELS),
        "(r1 r2 r3 r4 r5 c1 c2 c3 c4 k) -> (r1 c1 r2 c2 r3 c3 r4 k r5 c4)",
        **dict(r1=2, r2=5, r3=2, r4=3, r5=2, c1=4, c2=2, c3=5, c4=4, k=3),
    )

    def reordered(frames: jax.Array) -> jax.Array:
        return jnp.take(frames.reshape(*frames.shape[:2], -1), order, axis=-1)

    model.features = reordered


def smooth(power: float) -> Callable[[Any, int], None]:
    """Colours the cores along their in modes: the q-th cosine times (1 + q)^-power."""

    def change(model: Any, seed: int) -> None:
        layer = model.rnn.cell.input
        net, cores = layer.format.network(), layer.weight.cores
        for name, indices in net.operands:
            for axis in (k for k, index in enumerate(indices) if index in net.inputs):
                factors = (1.0 + np.arange(cores[name].shape[axis])) ** -power
                factors = factors.reshape([-1 if k == axis else 1 for k in range(len(indices))])
                coloured = cores[name] * jnp.asarray(factors, cores[name].dtype)
                cores[name] = jax.scipy.fft.idct(coloured, axis=axis, norm="ortho")
        squared = squared_norm(ht.Weight(cores, layer.format))
        share = (layer.format.out_features / squared) ** (0.5 / len(cores))
        layer.hold(ht.Weight({name: core * share for name, core in cores.items()}, layer.format))

    return change


# ---------------------------------------------------------------- optimizers


def muon(model: Any, config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Orthogonalised momentum for the cores, NAdam for the rest."""
    return make_optimizer(dataclasses.replace(config, cores="muon"), steps)


def adam(
    model: Any, config: OptimizerConfig, steps: int, *, cores: float = 1.0, **options: Any
) -> optax.GradientTransformation:
    """Adam with another rate for the cores, or with other options of Optax."""

    def scaled(updates: Any, params: Any = None) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, x: x * cores if _is_core(path) else x, updates
        )

    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(make_schedule(config, steps), weight_decay=config.weight_decay, **options),
        optax.stateless(scaled),
    )


def riemannian(model: Any, config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Adam along the manifold of HT tensors, whose leaves and transfer tensors stay orthonormal."""
    return on_manifold(model, make_optimizer(config, steps))


def gauged(model: Any, seed: int) -> None:
    """The same matrix with orthonormal leaves and transfer tensors."""
    layer: Any = orthonormal(model.rnn.cell.input)
    model.rnn.cell.input.hold(layer.weight)


def _is_core(path: Any) -> bool:
    names = [str(getattr(part, "key", part)) for part in path]
    return "input" in names and "cores" in names


ALIGNED_NORM = {"fmt": HT_ALIGNED, "model": NORM}

VARIANTS = (
    Variant("papers", seeds=3),
    Variant("norm", model=NORM, seeds=3),
    # Format and order of the axes.
    Variant("aligned", HT_ALIGNED),
    Variant("interleaved", change=interleaved),
    Variant("norm, aligned", **ALIGNED_NORM, seeds=3),
    Variant("norm, interleaved", model=NORM, change=interleaved),
    # The start.
    Variant("gain 3", change=gain(3.0)),
    Variant("offset", change=offset(-0.62)),
    Variant("pixels / 255", model={"pixel_scale": 1 / 255}),
    Variant("forget 0", change=forget(0.0)),
    Variant("norm, forget 0", model=NORM, change=forget(0.0)),
    Variant("norm, aligned, forget 0", **ALIGNED_NORM, change=forget(0.0), seeds=3),
    Variant("norm, aligned, forget 2", **ALIGNED_NORM, change=forget(2.0)),
    Variant("norm, orthogonal", model=NORM, change=orthogonal),
    Variant("norm, aligned, smooth", **ALIGNED_NORM, change=smooth(1.0), seeds=3),
    # The optimizer.
    Variant("rate 0.03", rate=3e-2),
    Variant("norm, rate 0.03", model=NORM, rate=3e-2, seeds=3),
    Variant("norm, rate 0.003", model=NORM, rate=3e-3),
    Variant("norm, cores x 3", model=NORM, optimizer=functools.partial(adam, cores=3.0)),
    Variant("norm, cores / 3", model=NORM, optimizer=functools.partial(adam, cores=1 / 3)),
    Variant("norm, b2 0.95", model=NORM, optimizer=functools.partial(adam, b2=0.95)),
    Variant("norm, nesterov", model=NORM, optimizer=functools.partial(adam, nesterov=True)),
    Variant("muon", optimizer=muon, seeds=3),
    Variant("norm, muon", model=NORM, optimizer=muon, seeds=3),
    Variant("gauged", change=gauged),
    Variant("norm, riemannian", model=NORM, change=gauged, optimizer=riemannian, seeds=3),
    # Other formats.
    Variant("TT", TT),
    Variant("TT, norm", TT, NORM),
    Variant("TT, norm, muon", TT, NORM, optimizer=muon),
    Variant("TR", TR),
    Variant("TR, norm", TR, NORM),
    Variant("FDHT", FDHT, place="joint"),
    Variant("FDHT, norm", FDHT, NORM, place="joint"),
    Variant("KCP", papers.KCP_UCF),
    Variant("KCP, norm", papers.KCP_UCF, NORM),
    # As long as the study.
    Variant("papers, 1000", seeds=3, steps=1000),
    Variant("norm, 1000", model=NORM, seeds=3, steps=1000),
)
