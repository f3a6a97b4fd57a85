"""Surgery: swaps layers of an untrained nnx model for layers whose weights are tensor networks.

A layer is chosen by its path; what takes its place is called in the same way and starts afresh.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from flax import nnx
from flax.nnx.nn import dtypes

from ht_jax import nn
from ht_jax.formats import Format
from ht_jax.formats.base import check_format
from ht_jax.summary import align, children, walk

Choice = Format | Mapping[str, Format] | Callable[[int, int], Format] | None

CELLS: dict[type, type[nn.RecurrentCell]] = {
    nnx.LSTMCell: nn.LSTMCell,
    nnx.OptimizedLSTMCell: nn.LSTMCell,
    nnx.GRUCell: nn.GRUCell,
    nnx.SimpleCell: nn.SimpleCell,
}
_TARGETS = (nnx.Linear, nnx.Embed, *CELLS)

# What a layer may be told to do that its replacement does not.
_PLAIN: dict[str, Any] = {
    "dot_general": jax.lax.dot_general,
    "preferred_element_type": None,
    "promote_dtype": dtypes.promote_dtype,
    "gate_fn": nnx.sigmoid,
    "activation_fn": nnx.tanh,
    "carry_init": None,
    "residual": False,
}


@dataclasses.dataclass(frozen=True)
class Swap:
    """One layer that was swapped.

    Attributes:
        path: where it is.
        before: name of the class that was there.
        after: name of the class that is there now.
        formats: its formats, by the matrix that they hold.
        params_before, params_after: numbers in the layer, biases included.

    Example:
        >>> import ht_jax as ht
        >>> layer = nnx.Linear(48, 16, rngs=nnx.Rngs(0))
        >>> _, report = tensorize(layer, {"*": ht.HT((8, 6), (4, 4), rank=3)})
        >>> report.swaps[0].before, report.swaps[0].after
        ('Linear', 'TensorDense')
    """

    path: str
    before: str
    after: str
    formats: dict[str, Format]
    params_before: int
    params_after: int


@dataclasses.dataclass(frozen=True)
class Report:
    """What `tensorize` did; `print` shows it as a table.

    Attributes:
        swaps: one for each layer that was swapped.
        params_before, params_after: numbers in the whole model.

    Example:
        >>> import ht_jax as ht
        >>> layer = nnx.Linear(48, 16, rngs=nnx.Rngs(0))
        >>> print(tensorize(layer, {"*": ht.HT((8, 6), (4, 4), rank=3)})[1])
        layer  was     is           formats                                  before  after
        .      Linear  TensorDense  kernel=HT(in_modes=(8, 6), ..., rank=3)     784    193
        model: 784 numbers before, 193 after
    """

    swaps: tuple[Swap, ...]
    params_before: int
    params_after: int

    def __str__(self) -> str:
        header = ["layer", "was", "is", "formats", "before", "after"]
        table = align(header, [_cells(swap) for swap in self.swaps], text=4)
        return f"{table}\nmodel: {self.params_before:,} numbers before, {self.params_after:,} after"


def tensorize(
    model: nnx.Module, formats: Mapping[str, Choice], *, rngs: nnx.Rngs | None = None
) -> tuple[Any, Report]:
    """A copy of `model` with layers swapped for compressed ones; `model` stays as it is.

    Swapped are `nnx.Linear`, `nnx.Embed` and the cells `nnx.LSTMCell`, `OptimizedLSTMCell`,
    `GRUCell` and `SimpleCell`; an `nnx.RNN` around such a cell becomes `ht.nn.RNN`, which
    projects all frames at once (and zeroes outputs past the end of a sequence). The new
    weights are drawn afresh; a trained model is compressed by `ht.compress`.

    Args:
        model: an nnx model.
        formats: for each pattern of paths (as a shell's, where `*` also crosses `/`) a format;
            a function from (in_features, out_features) to one; for a cell also a mapping from
            "input", "recurrent" and "joint" to formats (a bare format is for "input"); or None
            to leave a layer as it is. The first pattern that matches a layer decides. A cell
            is matched by its own path and by that of its `nnx.RNN`.
        rngs: the stream `params` is drawn from; by default that of seed 0.

    Returns:
        The new model and a report of what was swapped.

    Raises:
        ValueError: a pattern that matches no layer, a format that does not fit its layer (too
            small, or twice as large as needed), or a layer with an activation, a product or a
            carry of its own.

    Example:
        >>> import ht_jax as ht
        >>> model = nnx.Sequential(nnx.Linear(48, 16, rngs=nnx.Rngs(0)), nnx.relu)
        >>> fmt = ht.HT((8, 6), (4, 4), rank=3)
        >>> model, report = tensorize(model, {"layers/0": fmt})
        >>> report.swaps[0].formats["kernel"], report.params_before, report.params_after
        (HT(in_modes=(8, 6), out_modes=(4, 4), rank=3), 784, 193)
    """
    layers = layers_of(model)
    chosen = _choose(model, layers, formats)
    plan = {path: _formats_for(path, layers[path], choice) for path, choice in chosen.items()}
    rngs = nnx.Rngs(0) if rngs is None else rngs
    made = {path: _make(layers[path], fmts, rngs) for path, fmts in plan.items()}
    swaps = tuple(_swap(path, layers[path], new, plan[path]) for path, new in made.items())
    swapped = replaced(model, made)
    return swapped, Report(swaps, _count(model), _count(swapped))


def replaced(model: nnx.Module, made: Mapping[str, nnx.Module]) -> Any:
    """A copy of a model with other modules at some paths.

    Args:
        model: the model; it stays as it is.
        made: the modules that take a place, by path; an `nnx.RNN` around a cell that becomes one
            of this package becomes `ht.nn.RNN`.

    Example:
        >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.relu)
        >>> replaced(model, {"layers/0": nnx.Linear(2, 5, rngs=nnx.Rngs(0))}).layers[0].out_features
        5
    """
    copy = nnx.clone(model)
    return _swapped(copy, {id(module_at(copy, path)): new for path, new in made.items()}, set())


def _cells(swap: Swap) -> list[str]:
    formats = ", ".join(f"{place}={fmt}" for place, fmt in swap.formats.items())
    counts = [f"{count:,}" for count in (swap.params_before, swap.params_after)]
    return [swap.path or ".", swap.before, swap.after, formats, *counts]


def layers_of(model: nnx.Module) -> dict[str, nnx.Module]:
    """The layers that can be swapped, by path; those within a cell are part of it.

    Example:
        >>> list(layers_of(nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.relu)))
        ['layers/0']
    """
    found: dict[str, nnx.Module] = {}
    for path, module in walk(model):
        if type(module) in _TARGETS and not any(_below(path, other) for other in found):
            found[path] = module
    return found


def _below(path: str, other: str) -> bool:
    return path.startswith(f"{other}/") or other == ""


def _choose(
    model: nnx.Module, layers: dict[str, nnx.Module], formats: Mapping[str, Choice]
) -> dict[str, Choice]:
    """What is to become of each layer, by path."""
    runs = {id(m.cell): path for path, m in walk(model) if isinstance(m, nnx.RNN)}
    chosen: dict[str, tuple[str, Choice]] = {}
    for path, layer in layers.items():
        names = {path, runs.get(id(layer), path)}
        for pattern, choice in formats.items():
            if any(fnmatch.fnmatchcase(name, pattern) for name in names):
                chosen[path] = pattern, choice
                break
    for pattern in formats:
        if pattern not in {used for used, _ in chosen.values()}:
            known = ", ".join(repr(path) for path in layers) or "none"
            raise ValueError(
                f"{pattern!r} matches no layer that is left for it: the layers are {known}"
            )
    return {path: choice for path, (_, choice) in chosen.items() if choice is not None}


def _formats_for(path: str, layer: Any, choice: Choice) -> dict[str, Format]:
    """The formats of a layer's matrices, as large as they are."""
    if name := peculiarity(layer):
        raise ValueError(
            f"{path!r} has a {name} of its own, {getattr(layer, name)!r}, which a compressed "
            "layer cannot have: map the path to None to leave it as it is"
        )
    sizes = _sizes(layer)
    places = choice if isinstance(choice, Mapping) else {next(iter(sizes)): choice}
    if not places or not set(places) <= set(sizes):
        raise ValueError(
            f"{path!r} ({type(layer).__name__}): give formats for {' or '.join(sizes)}, "
            f"not for {tuple(places)}"
        )
    return {place: _fitted(path, fmt, *sizes[place]) for place, fmt in places.items()}


def peculiarity(layer: Any) -> str | None:
    """What a layer does that its replacement would not, by the name of its attribute.

    Example:
        >>> peculiarity(nnx.LSTMCell(2, 3, activation_fn=nnx.relu, rngs=nnx.Rngs(0)))
        'activation_fn'
    """
    for name, plain in _PLAIN.items():
        if getattr(layer, name, plain) != plain:
            return name
    return None


def _sizes(layer: Any) -> dict[str, tuple[int, int]]:
    """Sizes of a layer's matrices, without gates; the first one is meant by a bare format."""
    if isinstance(layer, nnx.Linear):
        return {"kernel": (layer.in_features, layer.out_features)}
    if isinstance(layer, nnx.Embed):
        return {"table": (layer.num_embeddings, layer.features)}
    inputs, hidden = layer.in_features, layer.hidden_features
    return {
        "input": (inputs, hidden),
        "recurrent": (hidden, hidden),
        "joint": (inputs + hidden, hidden),
    }


def _fitted(path: str, choice: Any, in_features: int, out_features: int) -> Format:
    made = choice(in_features, out_features) if callable(choice) else choice
    fmt = check_format(repr(path), made)
    pairs = ("in", fmt.in_modes, in_features), ("out", fmt.out_modes, out_features)
    for side, modes, features in pairs:
        if math.prod(modes) >= 2 * features:
            raise ValueError(
                f"{path!r} is of size ({in_features}, {out_features}), but {side}_modes {modes} "
                f"multiply to {math.prod(modes)}: give modes that multiply to {features} "
                "or a little more"
            )
    try:
        return fmt.sized(in_features, out_features)
    except ValueError as error:
        raise ValueError(f"{path!r}: {error}") from None


def _make(layer: Any, formats: dict[str, Format], rngs: nnx.Rngs) -> nnx.Module:
    options = {"dtype": layer.dtype, "param_dtype": layer.param_dtype, "rngs": rngs}
    if isinstance(layer, nnx.Linear):
        options |= {"use_bias": layer.use_bias, "precision": layer.precision}
        return nn.TensorDense(formats["kernel"], **options)
    if isinstance(layer, nnx.Embed):
        size = layer.num_embeddings, layer.features
        return nn.TensorEmbed(*size, formats["table"], **options)
    cell = CELLS[type(layer)]
    return cell(layer.in_features, layer.hidden_features, **formats, **options)


def _swapped(node: Any, made: dict[int, nnx.Module], done: set[int]) -> Any:
    """`node` with every layer in `made` replaced, wherever it stands."""
    if id(node) in made:
        return made[id(node)]
    if id(node) in done or isinstance(node, nnx.Variable):
        return node
    if not isinstance(node, nnx.Module):
        return _swapped_container(node, made, done)
    done.add(id(node))
    if type(node) is nnx.RNN and id(node.cell) in made:
        made[id(node)] = _run(node, made[id(node.cell)])
        return made[id(node)]
    for name, child in children(node):
        new = _swapped(child, made, done)
        if new is not child and list(_modules(new)) != list(_modules(child)):
            setattr(node, name, new if isinstance(new, nnx.Module) else nnx.data(new))
    return node


def _swapped_container(node: Any, made: dict[int, nnx.Module], done: set[int]) -> Any:
    if not children(node):
        return node
    swap = functools.partial(_swapped, made=made, done=done)
    return jax.tree.map(swap, node, is_leaf=lambda child: child is not node)


def _modules(node: Any) -> Iterator[int]:
    return (id(module) for _, module in walk(node))


def _run(rnn: nnx.RNN, cell: Any) -> nnx.Module:
    """The layer that runs a swapped cell; an RNN with state axes of its own keeps running it."""
    if rnn.broadcast_rngs is not None or rnn.state_axes != nnx.StateAxes({...: nnx.Carry}):
        rnn.cell = cell
        return rnn
    names = ("time_major", "return_carry", "reverse", "keep_order", "unroll")
    return nn.RNN(cell, **{name: getattr(rnn, name) for name in names})


def _swap(path: str, old: nnx.Module, new: nnx.Module, formats: dict[str, Format]) -> Swap:
    names = type(old).__name__, type(new).__name__
    return Swap(path, *names, formats, _count(old), _count(new))


def module_at(node: Any, path: str) -> Any:
    """The module at a path of a model.

    Example:
        >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.relu)
        >>> module_at(model, "layers/0").out_features
        3
    """
    for key in path.split("/") if path else ():
        node = dict(children(node))[key]
    return node


def _count(model: nnx.Module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
