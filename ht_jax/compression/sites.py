"""The matrices of a model that can be compressed, and copies of the model that hold others.

Layers and cells of Flax become those of this package first, with the same numbers, so that every
matrix is the weight of a `TensorDense`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ht_jax import nn, surgery
from ht_jax.formats import Dense, Format, Weight
from ht_jax.formats.fitting import is_narrow, widened
from ht_jax.suggest import factorizations
from ht_jax.summary import walk

Scope = Literal["input", "all", "joint"]
WHOLE = 1024  # inputs up to which a vector is one mode


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
    """A matrix to compress.

    Attributes:
        path: of the layer or cell that it belongs to.
        place: "kernel" of a layer; "input", "recurrent" or "joint" of a cell.
        kernel: the matrix (in_features, gates * out_features), in float32 or wider.
        dtype: of its parameters.
        gates: equal blocks of outputs.
        in_shape: modes of the input; they multiply to its length, or to more.
        parts: the layers that hold it now, with the row at which each starts.
        held: the formats in which they do.
    """

    path: str
    place: str
    kernel: Float[Array, "in_features out_features"]
    dtype: Any
    gates: int
    in_shape: tuple[int, ...]
    parts: Mapping[str, int]
    held: Mapping[str, Format]

    @property
    def name(self) -> str:
        """Path and place."""
        return "/".join(part for part in (self.path, self.place) if part)


def adopted(model: nnx.Module, paths: Container[str] | None = None) -> nnx.Module:
    """A copy of a model in which Flax's layers, at the paths or all, are this package's."""
    layers = surgery.layers_of(model).items()
    made = {path: _dense(layer) for path, layer in layers if paths is None or path in paths}
    return surgery.replaced(model, {path: new for path, new in made.items() if new is not None})


def densified(model: nnx.Module) -> nnx.Module:
    """A copy of an adopted model to observe: dense matrices, all in float32 or wider."""
    graph, state = nnx.split(model)
    copy = nnx.merge(graph, widened(state))
    for _, module in walk(copy):
        for name in ("dtype", "param_dtype"):
            if is_narrow(getattr(module, name, None) or jnp.float32):
                setattr(module, name, jnp.float32)
        if isinstance(module, nn.RecurrentCell):
            module.frozen = nnx.data(None)  # it would hide the parameters
        if isinstance(module, nn.TensorDense) and not isinstance(module.format, Dense):
            module.hold(as_dense(module.weight.to_dense(), module.format.gates))
    return copy


def find_sites(model: nnx.Module, scope: Scope, shapes: tuple[tuple[int, ...], ...]) -> list[Site]:
    """The matrices of an adopted model that the scope names.

    Args:
        model: as `adopted` leaves it.
        scope: "input" for the input-to-hidden matrices of cells; "all" for every matrix, each
            for itself; "joint" likewise, but with both matrices of a cell as one.
        shapes: shapes of calibration arrays: their last axes are the modes of an input that is
            as long as they are large.
    """
    sites: list[Site] = []
    cells: list[str] = []
    for path, module in walk(model):
        if isinstance(module, nn.RecurrentCell):
            cells.append(path)
            sites += _cell_sites(path, module, scope, shapes)
        elif isinstance(module, nn.TensorDense) and scope != "input" and not _within(path, cells):
            modes = input_modes(module.format.in_features, shapes)
            sites.append(_site(path, "kernel", {"kernel": module}, [module.weight], 1, modes))
    return sites


def _within(path: str, cells: list[str]) -> bool:
    return any(path.startswith(f"{cell}/" if cell else "") for cell in cells)


def _cell_sites(
    path: str, cell: nn.RecurrentCell, scope: Scope, shapes: tuple[tuple[int, ...], ...]
) -> Iterator[Site]:
    modes = input_modes(cell.in_features, shapes)
    if cell.joint is not None:
        whole = input_modes(cell.joint.format.in_features, ())
        layers, weights = {"joint": cell.joint}, [cell.joint.weight]
        yield _site(path, "joint", layers, weights, cell.gates, whole)
        return
    layers = {"input": cell.biased, "recurrent": cast(nn.TensorDense, cell.recurrent)}
    weights = [cell.input_weight(), cell.recurrent_weight()]
    if scope == "joint":
        # The hidden state fills further slices of the first mode, behind those of the input.
        size = math.prod(modes[1:])
        modes = (-(-(math.prod(modes) + cell.hidden_features) // size), *modes[1:])
        yield _site(path, "joint", layers, weights, cell.gates, modes)
        return
    shapes_of = {"input": modes, "recurrent": input_modes(cell.hidden_features, ())}
    for weight, (place, layer) in zip(weights, layers.items()):
        if place == "input" or scope == "all":
            yield _site(path, place, {place: layer}, [weight], cell.gates, shapes_of[place])


def _site(
    path: str,
    place: str,
    layers: Mapping[str, nn.TensorDense],
    weights: Sequence[Weight],
    gates: int,
    modes: tuple[int, ...],
) -> Site:
    """The matrix of some layers, one below the other."""
    dtype = next(iter(weights[0].cores.values())).dtype
    kernels = [widened(weight).to_dense() for weight in weights]
    starts = itertools.accumulate(map(len, kernels), initial=0)
    held = {part: layer.format for part, layer in layers.items()}
    kernel = jnp.concatenate(kernels)
    return Site(path, place, kernel, dtype, gates, modes, dict(zip(layers, starts)), held)


def input_modes(size: int, shapes: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """Modes of an input: the axes that it was flattened from, if they are known.

    >>> input_modes(57_600, ((32, 6, 120, 160, 3),)), input_modes(256, ())
    ((120, 160, 3), (256,))
    """
    for shape in shapes:
        for start in range(1, len(shape) - 1):
            if math.prod(shape[start:]) == size:
                return tuple(n for n in shape[start:] if n > 1) or (1,)
    if size <= WHOLE:
        return (size,)
    return factorizations(size, max(2, math.ceil(math.log(size) / math.log(WHOLE) * 1.5)))[0]


def layer_at(model: nnx.Module, path: str, place: str) -> nn.TensorDense:
    """The layer that holds a matrix, or a part of one."""
    owner = surgery.module_at(model, path)
    return owner if place == "kernel" else getattr(owner, place)


def owner(params: Any, path: str) -> dict[str, Any]:
    """What a pure dict of parameters, or of what is like them, holds for a module."""
    for key in path.split("/") if path else ():
        params = params[int(key) if key.isdigit() and int(key) in params else key]
    return params


def put(model: nnx.Module, site: Site, weight: Weight) -> None:
    """Puts a matrix into an adopted model, in place; a frozen cell thaws."""
    owner = surgery.module_at(model, site.path)
    if isinstance(owner, nn.RecurrentCell):
        owner.frozen = nnx.data(None)
    if site.place != "joint":
        layer_at(model, site.path, site.place).hold(weight)
        return
    layer = owner.biased  # it keeps the bias
    layer.hold(weight)
    owner.input = owner.recurrent = nnx.data(None)
    owner.joint = layer


def _dense(layer: Any) -> nnx.Module | None:
    """A layer of Flax as one of this package, with the same numbers; None to leave it."""
    if surgery.peculiarity(layer) or isinstance(layer, nnx.Embed):
        return None
    options = {"dtype": layer.dtype, "param_dtype": layer.param_dtype, "rngs": nnx.Rngs(0)}
    if isinstance(layer, nnx.Linear):
        sizes = {"in_features": layer.in_features, "out_features": layer.out_features}
        options |= {"use_bias": layer.use_bias, "precision": layer.precision}
        new = nn.TensorDense(Dense(**sizes), **options)
        new.hold(as_dense(layer.kernel[...], 1))
        if new.bias is not None and layer.bias is not None:
            new.bias[...] = layer.bias[...]
        return new
    cell = surgery.CELLS[type(layer)](layer.in_features, layer.hidden_features, **options)
    kernels, bias = _cell_arrays(layer)
    for place, kernel in kernels.items():
        getattr(cell, place).hold(as_dense(kernel, cell.gates))
    cell.bias[...] = bias
    return cell


def _cell_arrays(cell: Any) -> tuple[dict[str, Array], Array]:
    """Both kernels of a cell of Flax, its gates in order, and the sum of its biases."""
    if isinstance(cell, nnx.LSTMCell):
        parts = {
            "input": [cell.ii, cell.if_, cell.ig, cell.io],
            "recurrent": [cell.hi, cell.hf, cell.hg, cell.ho],
        }
    else:
        parts = {"input": [cell.dense_i], "recurrent": [cell.dense_h]}
    kernels = {
        place: jnp.concatenate([layer.kernel[...] for layer in layers], axis=1)
        for place, layers in parts.items()
    }
    biases = [
        jnp.concatenate([layer.bias[...] for layer in layers])  # pyright: ignore[reportOptionalSubscript]
        for layers in parts.values()
        if layers[0].bias is not None
    ]
    return kernels, sum(biases[1:], start=biases[0])


def as_dense(kernel: Array, gates: int) -> Weight:
    """A matrix as the weight that is itself."""
    rows, columns = kernel.shape
    return Weight({"kernel": kernel}, Dense(rows, columns // gates).with_gates(gates))
