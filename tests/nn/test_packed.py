"""Padded sequences against PyTorch's packed ones: outputs, last carries and gradients."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ht_jax import convert

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)
B, T, W, H = 4, 6, 5, 3
LENGTHS, VALID = [6, 2, 9, 4], np.arange(T) < np.array([[6], [2], [9], [4]])
X = np.where(VALID[..., None], np.random.default_rng(0).normal(size=(B, T, W)), np.nan)
WAYS = {
    "forward": (1, False, {}),
    "reverse": (1, False, {"reverse": True}),
    "reverse, kept": (1, False, {"reverse": True, "keep_order": True}),
    "bidirectional": (1, True, {}),
    "two layers": (2, False, {}),
}
DTYPES = dict(zip(WAYS, ("int8", "uint8", "uint16", "int64", "uint64")))


def flip(x):
    """The valid frames of each sequence of a tensor from the last to the first."""
    import torch

    t, n = np.arange(T), VALID.sum(1, keepdims=True)
    return torch.stack([a[i] for a, i in zip(x, np.where(t < n, n - 1 - t, t))])


def loss_of(outputs, states):
    return (outputs**2).sum() + sum(((s - 0.5) ** 2).sum() for s in states)


def packed(module, reverse=False, keep_order=False):
    """What PyTorch computes, by name."""
    import torch

    x = torch.tensor(X, requires_grad=True)
    lengths = torch.tensor(VALID.sum(1))
    options = {"batch_first": True, "enforce_sorted": False}
    given = flip(x) if reverse else x
    y, last = module(torch.nn.utils.rnn.pack_padded_sequence(given, lengths, **options))
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
    y = flip(y) if reverse and keep_order else y
    states = last if isinstance(last, tuple) else (last,)
    loss_of(y, states).backward()
    found = {"outputs": y, "inputs": x.grad}
    found |= {f"state {n}": s for n, s in enumerate(states)}
    found |= {name: p.grad for name, p in module.named_parameters() if "bias_hh" not in name}
    return {name: array.detach().numpy() for name, array in found.items()}


def ours(layer, states, lengths, options):
    """The same of a layer whose carry has `states` arrays: (c, h) for PyTorch's (h, c), or h."""
    graph, params = nnx.split(layer)

    def loss(params, x):
        run = nnx.merge(graph, params)
        carry, y = run(x, seq_lengths=lengths, return_carry=True, **options)
        leaves = jax.tree.leaves(carry)
        last = [jnp.stack(leaves[n::states]) for n in reversed(range(states))]
        return loss_of(y, last), (y, last)

    (d_params, d_x), (y, last) = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, X)
    found = {"outputs": y, "inputs": d_x} | {f"state {n}": s for n, s in enumerate(last)}
    layer = nnx.merge(graph, d_params)
    for n, level in enumerate(getattr(layer, "layers", [layer])):
        pair = [getattr(level, name, level) for name in ("forward_rnn", "backward_rnn")]
        for rnn, tail in zip(pair, ("", "_reverse")):
            found[f"weight_ih_l{n}{tail}"] = rnn.cell.input.cores["kernel"][...].T
            found[f"weight_hh_l{n}{tail}"] = rnn.cell.recurrent.cores["kernel"][...].T
            found[f"bias_ih_l{n}{tail}"] = rnn.cell.bias[...]
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_padded_sequences_equal_packed_ones(kind, way):
    import torch

    layers, bidirectional, options = WAYS[way]
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(
        W, H, layers, bidirectional=bidirectional, batch_first=True, dtype=torch.float64
    )
    wanted = packed(module, **options)
    layer = convert.from_torch(module.state_dict())
    got = ours(layer, 2 if kind == "LSTM" else 1, jnp.array(LENGTHS, DTYPES[way]), options)
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, atol=1e-12, err_msg=name)
