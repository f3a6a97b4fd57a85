"""A format of a few lines gets counting, planning, layers and cells from the shared code."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ht_jax as ht


@dataclasses.dataclass(frozen=True, repr=False)
class Kronecker(ht.ModeFormat):
    """`kernel = sum_r A_r (x) B_r`, for two in and two out modes."""

    rank: int

    def network(self):
        size = {"i": self.in_modes[0], "j": self.in_modes[1], "r": self.rank}
        size |= {"o": self.out_modes[0], "p": self.out_modes[1]}
        return ht.TensorNetwork.of({"a": "rio", "b": "rjp"}, size, "ij", "op")


TOY = Kronecker((4, 6), (3, 2), rank=2)


def kernel_of(weight):
    a, b = (np.asarray(weight.cores[name]) for name in "ab")
    return sum(np.kron(a[r], b[r]) for r in range(len(a)))


@pytest.fixture
def weight(key):
    return TOY.init(key, jnp.float64)


def test_kernel(weight):
    np.testing.assert_allclose(weight.to_dense(), kernel_of(weight), atol=1e-12)


def test_initial_norm(weight):
    assert np.sum(kernel_of(weight) ** 2) == pytest.approx(TOY.out_features)


def test_apply_and_gradient(weight):
    x = np.random.default_rng(0).normal(size=(5, 24))
    np.testing.assert_allclose(ht.apply(weight, x), x @ kernel_of(weight), atol=1e-12)
    gradient = jax.grad(lambda x: jnp.sum(ht.apply(weight, x)))(jnp.asarray(x))
    np.testing.assert_allclose(gradient[0], kernel_of(weight).sum(axis=1), atol=1e-12)


def test_plan_explains_itself():
    assert "24 -> 6, 8 rows" in ht.plan(TOY, batch=8).explain()


def test_counts_gates_and_text_form():
    assert TOY.num_params == 2 * (4 * 3 + 6 * 2)
    assert TOY.with_gates(4).num_params == 2 * (4 * 12 + 6 * 2)
    assert ht.parse_format(repr(TOY.with_gates(4))) == TOY.with_gates(4)


def test_restriction(weight):
    np.testing.assert_allclose(
        weight.restrict(7, 15).to_dense(), kernel_of(weight)[7:15], atol=1e-12
    )


def test_layer():
    layer = ht.nn.TensorDense(TOY, rngs=nnx.Rngs(0))
    x = np.ones((5, 24), np.float32)
    np.testing.assert_allclose(layer(x), x @ kernel_of(layer.weight), rtol=1e-5)


@pytest.mark.parametrize("place", [{"input": TOY}, {"joint": Kronecker((5, 6), (3, 2), rank=2)}])
def test_cell(place):
    cell = ht.nn.LSTMCell(24, 6, **place, rngs=nnx.Rngs(0))
    x, h = np.ones((2, 24), np.float32), np.ones((2, 6), np.float32)
    _, out = cell((h, h), x)
    w, u = cell.input_weight().to_dense(), cell.recurrent_weight().to_dense()
    z = x @ w + h @ u + np.repeat(np.float32([0, 1, 0, 0]), 6)
    i, f, g, o = np.split(np.asarray(z), 4, axis=-1)
    c = 1 / (1 + np.exp(-f)) + 1 / (1 + np.exp(-i)) * np.tanh(g)
    np.testing.assert_allclose(out, 1 / (1 + np.exp(-o)) * np.tanh(c), atol=1e-6)


def test_no_decomposition_is_said_by_name():
    with pytest.raises(NotImplementedError, match="Kronecker has no decomposition"):
        TOY.from_dense(np.zeros((24, 6)))
