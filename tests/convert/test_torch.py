"""Layers of PyTorch: outputs equal to 1e-5, masked, bidirectional, two layers."""

import importlib.util

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from ht_jax import convert
from tests.convert.sequences import LENGTHS, B, H, T, W, X, ours


def _torch_state(gates, layers=2, bidirectional=True):
    """What `torch.nn.LSTM(W, H, 2, bidirectional=True).state_dict()` holds, drawn by NumPy."""
    draw, state = np.random.default_rng(1), {}
    for n in range(layers):
        for tail in ("", "_reverse") if bidirectional else ("",):
            width = W if n == 0 else H * (1 + bidirectional)
            shapes = {"weight_ih": (gates * H, width), "weight_hh": (gates * H, H)}
            shapes |= {"bias_ih": (gates * H,), "bias_hh": (gates * H,)}
            for name, shape in shapes.items():
                state[f"{name}_l{n}{tail}"] = draw.uniform(-0.5, 0.5, shape).astype(np.float32)
    return state


def _numpy_torch(state, gates):
    """PyTorch's documented equations, sequence by sequence, without its library."""
    sigmoid = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731

    def run(x, suffix):
        w, u, b, c = (
            state[f"{n}{suffix}"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h, cell, out = np.zeros(H), np.zeros(H), []
        for row in x:
            a, d = np.split(w @ row + b, gates), np.split(u @ h + c, gates)
            if gates == 4:
                i, f, g, o = (p + q for p, q in zip(a, d))
                cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(cell)
            elif gates == 3:
                r, z = sigmoid(a[0] + d[0]), sigmoid(a[1] + d[1])
                h = (1 - z) * np.tanh(a[2] + r * d[2]) + z * h
            else:
                h = np.tanh(a[0] + d[0])
            out.append(h)
        return np.array(out)

    result = np.zeros((B, T, 2 * H))
    for n, length in enumerate(LENGTHS):
        x = X[n, :length]
        for layer in range(2):
            back = run(x[::-1], f"_l{layer}_reverse")[::-1]
            x = np.concatenate([run(x, f"_l{layer}"), back], axis=-1)
        result[n, :length] = x
    return result


@pytest.mark.parametrize("gates", [4, 3, 1], ids=["lstm", "gru", "simple"])
def test_torch_state_dicts(gates):
    state = _torch_state(gates)
    expected = _numpy_torch(state, gates)
    np.testing.assert_allclose(ours(convert.from_torch(state)), expected, rtol=0, atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_torch_itself(kind):
    import torch

    layer = getattr(torch.nn, kind)(W, H, 2, batch_first=True, bidirectional=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.tensor(X), torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
    )
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(layer(packed)[0], batch_first=True)
    actual = ours(convert.from_torch(layer.state_dict()))
    np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=0, atol=1e-5)


def test_torch_safetensors_files_and_prefixes(tmp_path):
    state = {f"encoder.{name}": array for name, array in _torch_state(4).items()}
    head = {"head.weight": np.ones((2, 3), np.float32), "head.bias": np.arange(2.0)}
    save_file(state | head, tmp_path / "model.safetensors")
    layer = convert.from_torch(tmp_path / "model.safetensors", "encoder.")
    np.testing.assert_array_equal(ours(layer), ours(convert.from_torch(_torch_state(4))))
    linear = convert.from_torch(tmp_path / "model.safetensors", "head.")
    y = linear(jnp.ones(3, jnp.float32))
    np.testing.assert_array_equal(y, [3, 4])


def _bad(**changes):
    return {**_torch_state(4, 1, False), **changes}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({}, "no array"),
        (_bad(weight_hr_l0=np.ones((2, 4))), "weight_hr_l0.*projections"),
        (_bad(weight_hh_l0=np.ones((7, 4))), r"weight_hh_l0 has shape \(7, 4\)"),
        (_bad(weight_ih_l0=np.ones((12, 5))), r"kernel has shape \(5, 12\)"),
        (_bad(bias_ih_l0=np.full(16, np.nan)), "bias holds numbers that are not finite"),
        ({"weight_ih_l0": np.ones((16, 5))}, "weight_hh_l0 is missing"),
    ],
)
def test_what_is_no_layer_of_torch_is_refused(state, reason):
    with pytest.raises(ValueError, match=reason):
        convert.from_torch(state)
