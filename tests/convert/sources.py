"""The classes that are converted, with every option of theirs and a value of it to try."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as linen
import jax
import jax.numpy as jnp
from flax import nnx

from ht_jax import convert

W, H = 3, 2
Values = Mapping[str, tuple[Any, ...]]


class Source(NamedTuple):
    """How a layer is made with an option, converted and run; and the options to try."""

    name: str
    make: Callable[..., Any]
    values: Values
    convert: Callable[[Any], Any]
    run: Callable[[Any, Any], Any]
    known: frozenset[str]  # the options of its constructor


def other(*_: Any, **__: Any) -> Any:
    """A function that no conversion knows, and that is not called."""
    raise AssertionError


def subclass(cls: type) -> type:
    """A user's class of the same name, which may do something else."""
    return type(cls.__name__, (cls,), {})


def parameters(cls: Any) -> frozenset[str]:
    """The options of a constructor, sizes apart."""
    sizes = {"self", "in_features", "hidden_features", "units", "features", "args", "kwargs"}
    return frozenset(inspect.signature(cls.__init__).parameters) - sizes


# Flax: NNX and Linen share names and values.

CELL = {
    "kind": (subclass,),
    "gate_fn": (nnx.hard_sigmoid,),
    "activation_fn": (nnx.relu,),
    "residual": (True,),
    "carry_init": (nnx.initializers.ones,),
    "promote_dtype": (other,),
    "dtype": (jnp.float32, jnp.bfloat16),
    "param_dtype": (jnp.bfloat16,),
    "kernel_init": (nnx.initializers.ones,),
    "recurrent_kernel_init": (nnx.initializers.ones,),
    "bias_init": (nnx.initializers.ones,),
    "keep_rngs": (True,),
    "kernel_metadata": ({"note": "a"},),
    "recurrent_kernel_metadata": ({"note": "a"},),
    "bias_metadata": ({"note": "a"},),
}
LAYER = {
    "kind": (subclass,),
    "time_major": (True,),
    "return_carry": (True,),
    "reverse": (True,),
    "keep_order": (True,),
    "unroll": (2,),
}


def flax_nnx() -> list[Source]:
    """Cells, `nnx.RNN` and `nnx.Bidirectional`, by `from_flax`."""
    rngs = {"rngs": (False,)}
    layer = LAYER | rngs | {"state_axes": ({...: None},), "broadcast_rngs": ("dropout",)}
    both = LAYER | rngs | {"merge_fn": (jnp.add, jnp.multiply)}
    cells = [_nnx(cls, CELL, _nnx_cell) for cls in (nnx.LSTMCell, nnx.OptimizedLSTMCell)]
    cells += [_nnx(cls, CELL, _nnx_cell) for cls in (nnx.GRUCell, nnx.SimpleCell)]
    return [*cells, _nnx(nnx.RNN, layer, _nnx_rnn), _nnx(nnx.Bidirectional, both, _nnx_both)]


def _nnx(cls: Any, values: Values, make: Any) -> Source:
    known = parameters(cls) - {"cell", "forward_rnn", "backward_rnn"}
    if issubclass(cls, nnx.RNNCellBase):
        known -= {"rngs"}
    tried = {name: value for name, value in values.items() if name in known | {"kind"}}
    make = _maker(make, cls)
    return Source(f"nnx.{cls.__name__}", make, tried, convert.from_flax, _run_nnx, known)


def _maker(make: Any, cls: Any) -> Callable[..., Any]:
    return lambda **options: make(options.pop("kind", lambda c: c)(cls), **options)


def _nnx_cell(cls: Any, **options: Any) -> Any:
    if options.get("param_dtype"):  # SimpleCell computes in float32 unless told
        options["dtype"] = options["param_dtype"]
        options["recurrent_kernel_init"] = nnx.initializers.lecun_normal()
    return cls(W, H, **options, rngs=nnx.Rngs(0))


def _nnx_rnn(cls: Any, **options: Any) -> Any:
    if options.get("keep_order"):
        options["reverse"] = True
    return cls(nnx.GRUCell(W, H, rngs=nnx.Rngs(0)), **options)


def _nnx_both(cls: Any, **options: Any) -> Any:
    return cls(*(_nnx_rnn(nnx.RNN) for _ in range(2)), **options)


def _run_nnx(layer: Any, x: Any) -> Any:
    layer = nnx.RNN(layer) if isinstance(layer, nnx.RNNCellBase) else layer
    dtype = getattr(getattr(layer, "cell", None), "param_dtype", jnp.float32)
    return layer(jnp.asarray(x, dtype), rngs=nnx.Rngs(0))


def flax_linen() -> list[Source]:
    """Cells and `linen.RNN`, by `from_linen(params, module)`."""
    dropped = {"variable_axes": ({"batch_stats": 0},), "variable_broadcast": ("all",)}
    dropped |= {"variable_carry": ("memory",), "split_rngs": ({"params": True},)}
    names = ("LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell")
    cells = [_linen(getattr(linen, name), CELL, lambda cls, **o: cls(H, **o)) for name in names]
    return [*cells, _linen(linen.RNN, LAYER | dropped, _linen_rnn)]


def _linen(cls: Any, values: Values, make: Any) -> Source:
    known = parameters(cls) - {"cell", "parent", "name"}
    tried = {name: value for name, value in values.items() if name in known | {"kind"}}
    make = _maker(make, cls)
    return Source(f"linen.{cls.__name__}", make, tried, _from_linen, _run_linen, known)


def _linen_rnn(cls: Any, **options: Any) -> Any:
    return cls(linen.GRUCell(H), **options | ({"reverse": True} if "keep_order" in options else {}))


def _linen_variables(module: Any) -> Any:
    rnn = module if isinstance(module, linen.RNN) else linen.RNN(module)
    cell = rnn.cell
    halves = cell.param_dtype == jnp.bfloat16
    plain = type(cell)(H)  # orthogonal matrices have no bfloat16
    variables = linen.RNN(plain).init(jax.random.key(0), jnp.ones((2, 2, W)))
    return jax.tree.map(lambda a: a.astype(jnp.bfloat16) if halves else a, variables)


def _from_linen(module: Any) -> Any:
    (params,) = _linen_variables(module)["params"].values()
    return convert.from_linen(params, module)


def _run_linen(module: Any, x: Any) -> Any:
    rnn = module if isinstance(module, linen.RNN) else linen.RNN(module)
    return rnn.apply(_linen_variables(module), jnp.asarray(x, rnn.cell.param_dtype))


# Keras: the layer is built and its parameters are drawn anew.

_INITIAL = {f"{name}_initializer": ("ones",) for name in ("kernel", "recurrent", "bias")} | {
    "unit_forget_bias": (False,),
    "seed": (1,),
}
_TRAINING = {
    **{f"{name}_regularizer": ("l2",) for name in ("kernel", "recurrent", "bias", "activity")},
    **{f"{name}_constraint": ("unit_norm",) for name in ("kernel", "recurrent", "bias")},
    "dropout": (0.2,),
    "recurrent_dropout": (0.2,),
}
KERAS = {
    "kind": (subclass,),
    "activation": ("relu",),
    "recurrent_activation": ("hard_sigmoid",),
    "use_bias": (False,),
    "reset_after": (False,),
    "return_sequences": (False,),
    "return_state": (True,),
    "go_backwards": (True,),
    "stateful": (True,),
    "unroll": (True,),
    "use_cudnn": (False,),
    "implementation": (1,),
    "zero_output_for_mask": (True,),
    "dtype": ("bfloat16", "mixed_bfloat16", "mixed_float16"),
    "trainable": (False,),
    **_INITIAL,
    **_TRAINING,
}
MERGED = {"merge_mode": ("sum", "mul", "ave", None), "weights": (None,), "dtype": ("bfloat16",)}
MERGED |= {"kind": (subclass,), "backward_layer": ("another class",)}


def keras() -> list[Source]:
    """Built LSTM, GRU and SimpleRNN layers, and Bidirectional ones of them, by `from_keras`."""
    os.environ["KERAS_BACKEND"] = "jax"
    from keras import layers

    kinds = [_keras(cls, KERAS, _keras_layer) for cls in (layers.LSTM, layers.GRU)]
    kinds.append(_keras(layers.SimpleRNN, KERAS, _keras_layer))
    return [*kinds, _keras(layers.Bidirectional, MERGED, _keras_both)]


def _keras(cls: Any, values: Values, make: Any) -> Source:
    known = parameters(cls) - {"layer"}
    base = {"kind", "zero_output_for_mask", "dtype", "trainable"}
    base |= {"implementation"} if "reset_after" in known or "unit_forget_bias" in known else set()
    tried = {name: value for name, value in values.items() if name in known | base}
    return Source(cls.__name__, _maker(make, cls), tried, convert.from_keras, _run_keras, known)


def _keras_layer(cls: Any, **options: Any) -> Any:
    plain = {"recurrent_initializer": "glorot_uniform", "return_sequences": True}
    layer = cls(H, **plain | options)
    layer.build((2, 2, W))
    return layer


def _keras_both(cls: Any, **options: Any) -> Any:
    from keras import layers

    plain = {"recurrent_initializer": "glorot_uniform", "return_sequences": True}
    if "backward_layer" in options:
        options["backward_layer"] = layers.GRU(H, go_backwards=True, **plain)
    layer = cls(layers.LSTM(H, **plain), **options)
    layer.build((2, 2, W))
    return layer


def _run_keras(layer: Any, x: Any) -> Any:
    return layer(x)


# PyTorch: modules, and what a state dict alone tells.

TORCH = {
    "kind": (subclass,),
    "num_layers": (2,),
    "bias": (False,),
    "batch_first": (True,),
    "dropout": (0.2,),
    "bidirectional": (True,),
    "proj_size": (1,),
    "nonlinearity": ("relu",),
    "dtype": ("float64", "bfloat16", "float16"),
}


def torch() -> list[Source]:
    """Modules, by `from_torch`."""
    import torch

    options = {"LSTM": set(TORCH) - {"nonlinearity"}, "RNN": set(TORCH) - {"proj_size"}}
    options["GRU"] = options["LSTM"] & options["RNN"]
    options["Linear"] = {"kind", "bias", "dtype"}
    sources = []
    for name, known in options.items():
        make = _maker(_torch_module, getattr(torch.nn, name))
        tried = {option: values for option, values in TORCH.items() if option in known}
        known = frozenset(known - {"kind"})
        sources.append(Source(f"nn.{name}", make, tried, convert.from_torch, _run_torch, known))
    return sources


def _torch_module(cls: Any, **options: Any) -> Any:
    import torch

    options |= {"dtype": getattr(torch, options["dtype"])} if "dtype" in options else {}
    if "dropout" in options:
        options["num_layers"] = 2
    torch.manual_seed(0)
    return cls(W, H, **options)


def _run_torch(module: Any, x: Any) -> Any:
    import torch

    y = module(torch.tensor(x).to(next(module.parameters()).dtype))
    y = (y[0] if isinstance(y, tuple) else y).detach()
    return jnp.asarray(y.float().numpy(), str(y.dtype).removeprefix("torch."))


LIBRARIES = {
    "Flax NNX": flax_nnx,
    "Flax Linen": flax_linen,
    "Keras 3": keras,
    "PyTorch": torch,
}
NEEDED = {"Keras 3": "keras", "PyTorch": "torch"}
