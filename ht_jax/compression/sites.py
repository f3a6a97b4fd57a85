"""The matrices of a model that can be compressed, and copies of the model that hold others.

Layers and cells of Flax become those of this package first, with the same numbers, so that every
matrix is the weight of a `TensorDense`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ht_jax import nn, surgery
from ht_jax.formats import Dense, Weight
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
        kernel: the matrix (in_features, gates * out_features).
        gates: equal blocks of outputs.
        in_shape: modes of the input; they multiply to its length, or to more.
        parts: the layers that hold it now, with the row at which each starts.
    """

    path: str
    place: str
    kernel: Float[Array, "in_features out_features"]
    gates: int
    in_shape: tuple[int, ...]
    parts: Mapping[str, int]

    @property
    def name(self) -> str:
        """Path and place."""
        return "/".join(part for part in (self.path, self.place) if part)


def densified(model: nnx.Module) -> nnx.Module:
    """A copy of a model in which all matrices are dense weights of this package's layers."""
    made = {path: _dense(layer) for path, layer in surgery.layers_of(model).items()}
    copy = surgery.replaced(model, {path: new for path, new in made.items() if new is not None})
    for _, module in walk(copy):
        if isinstance(module, nn.TensorDense) and not isinstance(module.format, Dense):
            module.hold(_as_dense(module.weight.to_dense(), module.format.gates))
    return copy


def find_sites(model: nnx.Module, scope: Scope, shapes: tuple[tuple[int, ...], ...]) -> list[Site]:
    """The matrices of a densified model that the scope names.

    Args:
        model: as `densified` leaves it.
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
            kernel = module.weight.to_dense()
            modes = input_modes(len(kernel), shapes)
            sites.append(Site(path, "kernel", kernel, 1, modes, {"kernel": 0}))
    return sites


def _within(path: str, cells: list[str]) -> bool:
    return any(path.startswith(f"{cell}/" if cell else "") for cell in cells)


def _cell_sites(
    path: str, cell: nn.RecurrentCell, scope: Scope, shapes: tuple[tuple[int, ...], ...]
) -> Iterator[Site]:
    modes = input_modes(cell.in_features, shapes)
    if cell.joint is not None:
        kernel, parts = cell.joint.weight.to_dense(), {"joint": 0}
        yield Site(path, "joint", kernel, cell.gates, input_modes(len(kernel), ()), parts)
        return
    kernels = [weight.to_dense() for weight in (cell.input_weight(), cell.recurrent_weight())]
    if scope == "joint":
        # The hidden state fills further slices of the first mode, behind those of the input.
        size = math.prod(modes[1:])
        modes = (-(-(math.prod(modes) + cell.hidden_features) // size), *modes[1:])
        parts = {"input": 0, "recurrent": cell.in_features}
        yield Site(path, "joint", jnp.concatenate(kernels), cell.gates, modes, parts)
        return
    yield Site(path, "input", kernels[0], cell.gates, modes, {"input": 0})
    if scope == "all":
        modes = input_modes(cell.hidden_features, ())
        yield Site(path, "recurrent", kernels[1], cell.gates, modes, {"recurrent": 0})


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
    """Puts a compressed matrix into a densified model, in place."""
    if site.place != "joint":
        layer_at(model, site.path, site.place).hold(weight)
        return
    cell = surgery.module_at(model, site.path)
    layer = cell.biased  # it keeps the bias
    layer.hold(weight)
    cell.input = cell.recurrent = nnx.data(None)
    cell.joint = layer


def _dense(layer: Any) -> nnx.Module | None:
    """A layer of Flax as one of this package, with the same numbers; None to leave it."""
    if surgery.peculiarity(layer) or isinstance(layer, nnx.Embed):
        return None
    options = {"dtype": layer.dtype, "param_dtype": layer.param_dtype, "rngs": nnx.Rngs(0)}
    if isinstance(layer, nnx.Linear):
        sizes = {"in_features": layer.in_features, "out_features": layer.out_features}
        options |= {"use_bias": layer.use_bias, "precision": layer.precision}
        new = nn.TensorDense(Dense(**sizes), **options)
        new.hold(_as_dense(layer.kernel[...], 1))
        if new.bias is not None and layer.bias is not None:
            new.bias[...] = layer.bias[...]
        return new
    cell = surgery.CELLS[type(layer)](layer.in_features, layer.hidden_features, **options)
    kernels, bias = _cell_arrays(layer)
    for place, kernel in kernels.items():
        getattr(cell, place).hold(_as_dense(kernel, cell.gates))
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


def _as_dense(kernel: Array, gates: int) -> Weight:
    rows, columns = kernel.shape
    return Weight({"kernel": kernel}, Dense(rows, columns // gates).with_gates(gates))
