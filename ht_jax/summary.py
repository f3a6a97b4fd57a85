"""Summary: what each layer of a model holds, in which format, and what it costs.

A layer's compression ratio is (in_features * out_features) / numbers held, biases apart; its
flops are those of the planned contraction, for one row of input.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from ht_jax.formats import Dense, Format
from ht_jax.nn import RecurrentCell, TensorDense, TensorEmbed
from ht_jax.schedule import Schedule, device, step_costs
from ht_jax.schedule.schedule import INPUT


@dataclasses.dataclass(frozen=True)
class Cost:
    """Flops for one row of input: a frame, for the matrices of a recurrent cell.

    Attributes:
        forward: of the forward pass.
        backward: of the gradients of the cores, and of the hidden state where there is one.

    Example:
        >>> Cost(2.0, 4.0) + Cost(1.0, 1.0)
        Cost(forward=3.0, backward=5.0)
    """

    forward: float
    backward: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.forward + other.forward, self.backward + other.backward)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of a model that holds numbers.

    Attributes:
        path: where it is, such as "rnn/cell/input".
        kind: name of its class.
        format: how its matrix is held; None for layers without one (biases, convolutions).
        params: all its numbers.
        bytes: what they take.
        flops: forward, for one row of input; None if not counted.

    Example:
        >>> layer = summary(nnx.Linear(48, 16, rngs=nnx.Rngs(0))).layers[0]
        >>> layer.kind, layer.params, layer.compressed
        ('Linear', 784, False)
    """

    path: str
    kind: str
    format: Format | None
    params: int
    bytes: int
    flops: float | None

    @property
    def matrix_params(self) -> int:
        """Numbers that hold the matrix: the cores."""
        return 0 if self.format is None else self.format.num_params

    @property
    def dense_params(self) -> int:
        """Numbers of the same matrix when dense."""
        return 0 if self.format is None else self.format.in_features * self.format.out_features

    @property
    def compressed(self) -> bool:
        """Whether the matrix is held in another form than as it is."""
        return self.matrix_params != self.dense_params

    @property
    def ranks(self) -> tuple[int, ...]:
        """Sizes of the network's inner indices."""
        return () if self.format is None else bond_sizes(self.format)


@dataclasses.dataclass(frozen=True)
class Summary:
    """The layers of a model; `print` shows them as a table.

    Attributes:
        layers: those that hold numbers, in the order of their definition.
        batch, frames: the input that the flops are counted for; None if they are not.

    Example:
        >>> found = summary(nnx.Linear(48, 16, rngs=nnx.Rngs(0)))
        >>> found.params, found.bytes
        (784, 3136)
    """

    layers: tuple[Layer, ...]
    batch: int | None
    frames: int

    @property
    def params(self) -> int:
        """Numbers of the whole model."""
        return sum(layer.params for layer in self.layers)

    @property
    def bytes(self) -> int:
        """What they take."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def matrix_params(self) -> int:
        """Numbers that hold the compressed matrices."""
        return sum(layer.matrix_params for layer in self.layers if layer.compressed)

    @property
    def dense_matrix_params(self) -> int:
        """Numbers of the compressed matrices when dense."""
        return sum(layer.dense_params for layer in self.layers if layer.compressed)

    @property
    def compression_ratio(self) -> float:
        """Dense numbers over held ones, of the compressed matrices; 1 if there are none."""
        return self.dense_matrix_params / self.matrix_params if self.matrix_params else 1.0

    def __str__(self) -> str:
        header = "layer class format in_modes out_modes ranks params dense ratio flops bytes"
        lines = [align(header.split(" "), [_cells(layer) for layer in self.layers], text=6)]
        lines.append(
            f"model: {self.params:,} numbers, {self.bytes:,} bytes; compressed matrices: "
            f"{self.matrix_params:,} for {self.dense_matrix_params:,} "
            f"({self.compression_ratio:,.1f}x)"
        )
        if self.batch is not None:
            lines.append(f"flops: forward, a row, planned for {self.batch} x {self.frames} rows")
        return "\n".join(lines)


def summary(model: nnx.Module, batch: int | None = 16, frames: int = 6) -> Summary:
    """What the layers of a model hold and cost.

    Args:
        model: an nnx model, also an abstract one (`nnx.eval_shape`).
        batch: sequences at once, for which the contractions are planned; None counts no flops.
        frames: length of a sequence. What is outside a recurrent cell, or projects its input,
            is planned for batch * frames rows; what runs within the scan, for batch.

    Raises:
        TypeError: what is given is no nnx model.

    Example:
        >>> import ht_jax as ht
        >>> from flax import nnx
        >>> fmt = ht.HT((8, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5)
        >>> cell = ht.nn.LSTMCell(57_600, 256, input=fmt, rngs=nnx.Rngs(0))
        >>> found = summary(cell)
        >>> found.params, found.matrix_params, round(found.compression_ratio)
        (264413, 1245, 47375)
        >>> print(found)
        layer      class        format  in_modes     out_modes   ranks            params ...
        input      TensorDense  HT      8,10,10,9,8  16,4,2,4,2  4,4,4,4,4,5,5,5   2,269 ...
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(f"summary takes an nnx model, not {type(model).__name__}")
    modules = list(walk(model))
    costs: dict[int, Cost] = {}
    for _, module in modules if batch is not None else ():
        costs |= _costs(module, batch or 1, frames, known=costs)
    layers, seen = [], set()
    for path, module in modules:
        own = {id(v): v for v in _own_params(module) if id(v) not in seen}
        seen |= own.keys()
        if own:
            layers.append(_layer(path, module, list(own.values()), costs.get(id(module))))
    return Summary(tuple(layers), batch, frames)


def cell_costs(cell: RecurrentCell, batch: int = 16, frames: int = 6) -> dict[str, Cost]:
    """Flops of a cell's two products for one frame.

    Args:
        cell: the cell.
        batch: sequences at once.
        frames: length of a sequence.

    Returns:
        The cost of "input", planned for all frames at once, and of "recurrent", planned for one
        step, with its share of what is merged once before them all. A layer forms the kernel of
        a small matrix where that is faster, though it takes more flops than are counted here.

    Example:
        >>> import ht_jax as ht
        >>> costs = cell_costs(ht.nn.SimpleCell(16, 16, rngs=nnx.Rngs(0)))
        >>> costs["input"].forward  # 2 * 16 * 16
        512.0
    """
    inputs, hidden = cell.in_features, cell.hidden_features
    if cell.recurrent is not None:
        formats = cell.biased.format, cell.recurrent.format
    else:
        whole = cell.biased.format
        formats = whole.restrict(0, inputs), whole.restrict(inputs, inputs + hidden)
    dtype = cell.dtype or cell.param_dtype
    projection = _cost(formats[0].plan(batch * frames, dtype=dtype))
    recurrent = _with_input_gradient(formats[1].plan(batch, dtype=dtype), frames)
    return {"input": projection, "recurrent": recurrent}


def walk(node: Any, path: str = "") -> Iterator[tuple[str, nnx.Module]]:
    """A model's modules with their paths, parents first, each once, in order of definition.

    Example:
        >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
        >>> [path for path, _ in walk(model)]
        ['', 'layers', 'layers/0']
    """
    seen: set[int] = set()

    def visit(node: Any, path: str) -> Iterator[tuple[str, nnx.Module]]:
        if isinstance(node, nnx.Module):
            if id(node) in seen:
                return
            seen.add(id(node))
            yield path, node
        for key, child in children(node):
            yield from visit(child, f"{path}/{key}" if path else key)

    return visit(node, path)


def children(node: Any) -> list[tuple[str, Any]]:
    """What is directly within a module or a container, by name, in order of definition.

    Example:
        >>> children({"a": [1], "b": 2})
        [('a', [1]), ('b', 2)]
    """
    if isinstance(node, nnx.Module):
        return [(k, v) for k, v in vars(node).items() if not k.startswith("_pytree__")]
    if isinstance(node, nnx.Variable):
        return []
    found, _ = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda child: child is not node)
    return [(jax.tree_util.keystr(path, simple=True), child) for path, child in found if path]


def bond_sizes(fmt: Format) -> tuple[int, ...]:
    """Sizes of the inner indices of a format's network: its ranks, and its terms if any.

    Example:
        >>> import ht_jax as ht
        >>> bond_sizes(ht.TT((8, 6, 5), (4, 4, 2), rank=(2, 3)))
        (2, 3)
    """
    net = fmt.network()
    opened = {*net.inputs, *net.outputs}
    return tuple(size for index, size in net.sizes if index not in opened)


def align(header: Sequence[str], rows: Sequence[Sequence[str]], text: int) -> str:
    """Rows as an aligned table, the first `text` columns to the left, numbers to the right.

    Example:
        >>> print(align(["layer", "params"], [["input", "1,245"], ["bias", "16"]], text=1))
        layer  params
        input   1,245
        bias       16
    """
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    lines = [
        "  ".join(
            cell.ljust(width) if n < text else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths))
        )
        for row in (header, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)


def _layer(path: str, module: Any, own: list[nnx.Variable], cost: Cost | None) -> Layer:
    arrays = [array for variable in own for array in jax.tree.leaves(variable)]
    return Layer(
        path=path,
        kind=type(module).__name__,
        format=_format_of(module),
        params=sum(math.prod(array.shape) for array in arrays),
        bytes=sum(math.prod(array.shape) * np.dtype(array.dtype).itemsize for array in arrays),
        flops=None if cost is None else cost.forward,
    )


def _cells(layer: Layer) -> list[str]:
    fmt, ratio = layer.format, ""
    if fmt is None:
        named = ["", "", "", ""]
    else:
        named = [type(fmt).__name__, *(_list(m) for m in (fmt.in_modes, fmt.out_modes))]
        named.append(_list(layer.ranks))
        ratio = f"{layer.dense_params / layer.matrix_params:,.1f}"
    flops = "" if layer.flops is None else f"{layer.flops:,.0f}"
    dense = f"{layer.dense_params:,}" if layer.dense_params else ""
    counts = [f"{layer.params:,}", dense, ratio, flops, f"{layer.bytes:,}"]
    return [layer.path or ".", layer.kind, *named, *counts]


def _list(values: Sequence[int]) -> str:
    return ",".join(map(str, values))


def _own_params(module: nnx.Module) -> Iterator[nnx.Variable]:
    """The parameters of a module that are not in a module within it."""
    stack = [child for _, child in children(module)]
    while stack:
        node = stack.pop()
        if isinstance(node, nnx.Param):
            yield node
        elif not isinstance(node, nnx.Module):
            stack += [child for _, child in children(node)]


def _format_of(module: Any) -> Format | None:
    if isinstance(module, TensorDense | TensorEmbed):
        return module.format
    if isinstance(module, nnx.Linear):
        return Dense(module.in_features, module.out_features)
    if isinstance(module, nnx.Embed):
        return Dense(module.num_embeddings, module.features)
    return None


def _costs(module: Any, batch: int, frames: int, known: dict[int, Cost]) -> dict[int, Cost]:
    """Costs by the id of the module that has them; those of a cell's matrices come with it."""
    if id(module) in known:
        return {}
    if isinstance(module, RecurrentCell):
        costs = cell_costs(module, batch, frames)
        if module.joint is not None:
            return {id(module.joint): costs["input"] + costs["recurrent"]}
        return {id(getattr(module, place)): cost for place, cost in costs.items()}
    if isinstance(module, TensorEmbed):
        return {id(module): Cost(module.lookup_flops, math.nan)}
    if isinstance(module, nnx.Embed):
        return {id(module): Cost(0.0, 0.0)}
    fmt = _format_of(module)
    return {} if fmt is None else {id(module): _cost(fmt.plan(batch * frames))}


def _cost(schedule: Schedule, steps: int = 1) -> Cost:
    """The cost of a row; what a schedule merges beforehand serves that many products."""
    costs = dict(zip(schedule.steps, step_costs(schedule, device("cpu"))))  # flops know no device
    merges = [costs[step] for step in schedule.merges]
    products = [costs[step] for step in schedule.products]

    def a_row(name: str) -> float:
        once, each = (sum(getattr(cost, name) for cost in part) for part in (merges, products))
        return (once / steps + each) / schedule.batch

    return Cost(a_row("flops"), a_row("backward_flops"))


def _with_input_gradient(schedule: Schedule, steps: int) -> Cost:
    """The cost of a product whose input has a gradient too: one more product of the same size."""
    size = schedule.size
    (first,) = (step for step in schedule.steps if INPUT in (step.left, step.right))
    product = schedule.product(first)
    indices = product.groups + product.rows + product.inner + product.cols
    extra = 2 * math.prod(size[i] for i in indices) / schedule.batch
    return _cost(schedule, steps) + Cost(0.0, extra)
