"""State dicts and modules of PyTorch: every array is used, and keeps its dtype."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ht_jax import convert
from tests.convert.sequences import H, W

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)
ONE = {"weight_ih_l0": np.ones((4 * H, W)), "weight_hh_l0": np.ones((4 * H, H))}
LINEAR = {"weight": np.ones((2, 3)), "bias": np.ones(2)}


@pytest.mark.parametrize(
    ("state", "prefix", "reason"),
    [
        (LINEAR | ONE, "", r"\['weight_hh_l0', 'weight_ih_l0'\] is not of one"),
        (LINEAR | {"running_mean": np.ones(2)}, "", r"\['running_mean'\] is not of one"),
        (ONE | {"weight_hh_l0_reverse": np.ones((4 * H, H))}, "", "weight_hh_l0_reverse"),
        (ONE | {"bias_ih_l1": np.ones(4 * H)}, "", "bias_ih_l1"),
        (ONE | {"weight_hr_l0": np.ones((2, H))}, "", r"weight_hr_l0.*proj_size"),
        (ONE | {"bias_ih_l0": np.ones(3)}, "", r"bias_ih_l0 has shape \(3,\)"),
        (ONE | {"bias_hh_l0": np.ones(3)}, "", r"bias_hh_l0 \(3,\)"),
        (ONE | {"weight_ih_l0": np.ones(4 * H)}, "", r"weight_ih_l0 has shape \(16,\)"),
        (ONE | {"weight_ih_l0": np.ones((4 * H, W), int)}, "", "has dtype int"),
        ({f"rnn.{n}": a for n, a in ONE.items()}, "rnn", "with its dot"),
        ({f"rnn.{n}": a for n, a in ONE.items()}, "gru.", r"'gru.': there are \['rnn.weight"),
        (["weight"], "", "list is no state dict"),
    ],
)
def test_an_array_that_is_not_used_is_named(state, prefix, reason):
    with pytest.raises(ValueError, match=reason):
        convert.from_torch(state, prefix)


def test_parameters_that_jax_would_round_are_refused():
    with jax.enable_x64(False):
        assert convert.from_torch(ONE).cell.param_dtype == jnp.float32
        with pytest.raises(ValueError, match="float64 and would be rounded to float32"):
            convert.from_torch(ONE | {"weight_ih_l0": np.full((4 * H, W), 0.1)})
    mixed = ONE | {"weight_ih_l0": np.ones((4 * H, W), np.float16)}
    with pytest.raises(ValueError, match="float64 and would be rounded to float16"):
        convert.from_torch(mixed | {"bias_ih_l0": np.full(4 * H, 0.1)})


@needs_torch
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("kind", ["LSTM", "Linear"])
def test_a_state_dict_keeps_its_dtype(kind, dtype):
    import torch

    module = getattr(torch.nn, kind)(W, H).to(getattr(torch, dtype))
    state = module.state_dict()
    layer = convert.from_torch(state)
    name = "weight" if kind == "Linear" else "weight_ih_l0"
    kernel = layer.kernel if kind == "Linear" else layer.cell.input.cores["kernel"]
    assert kernel.dtype == jnp.dtype(dtype)
    expected = state[name].double().numpy().T
    np.testing.assert_array_equal(np.asarray(kernel[...], np.float64), expected)
    layer = convert.from_torch(dict(module.named_parameters()))
    assert isinstance(layer, type(convert.from_torch(state)))


@needs_torch
def test_a_module_carries_its_options():
    import torch

    x = torch.randn(5, 2, W)
    module = torch.nn.GRU(W, H, 2, bias=False, bidirectional=True)
    actual = convert.from_torch(module)(jnp.asarray(x.numpy()))
    np.testing.assert_allclose(actual, module(x)[0].detach().numpy(), rtol=0, atol=1e-5)
    module = torch.nn.GRU(W, H, batch_first=True)
    assert not convert.from_torch(module).time_major


@needs_torch
@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("RNN", {"nonlinearity": "relu"}, "nonlinearity='relu'.*only 'tanh' is"),
        ("LSTM", {"proj_size": 2}, "proj_size=2"),
        ("LSTM", {"num_layers": 2, "dropout": 0.5}, "dropout=0.5.*training only"),
        ("LSTM", {"device": "meta"}, "device 'meta'"),
        ("Conv1d", {"kernel_size": 1}, "Conv1d is none of them"),
    ],
)
def test_a_module_that_would_lose_an_option_is_refused(kind, options, reason):
    import torch

    with pytest.raises(ValueError, match=reason):
        convert.from_torch(getattr(torch.nn, kind)(W, H, **options))


@needs_torch
def test_a_users_module_is_refused():
    import torch

    with pytest.raises(ValueError, match="subclass of LSTM"):
        convert.from_torch(type("LSTM", (torch.nn.LSTM,), {})(W, H))
    with pytest.raises(ValueError, match=r"give module.state_dict\(\)"):
        convert.from_torch(torch.nn.LSTM(W, H), "lstm.")
