"""Recurrent cells whose matrices are held in any format.

A cell's pre-activations are `z + u`: z projects the input and carries the bias, u projects the
hidden state. `RNN` computes z of all frames at once, before the scan; `step` needs only z.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Shaped

from ht_jax.formats import Dense, Format, Prepared, Weight, apply
from ht_jax.formats.base import check_format
from ht_jax.nn.linear import TensorDense, promote
from ht_jax.schedule import Reading, modelled

Carry = Any


class RecurrentCell(nnx.RNNCellBase):
    """What the cells share: where the formats go, the projections, the carry.

    Args:
        in_features: length of the input.
        hidden_features: length H of the hidden state.
        input: format of the input-to-hidden matrix (in_features -> H, without gates).
        recurrent: format of the hidden-to-hidden matrix (H -> H).
        joint: one format for both matrices, over the concatenation [x; h]
            (in_features + H -> H). It starts as one dense layer over [x; h] would: the share
            of h is small where the input is long, which trains better than two layers' worth.
            A format that is wider than needed is padded with zeros.
        recurrent_dropout: rate at which entries of the hidden state are hidden from the matrix
            product, the same ones in every step of a sequence (Gal and Ghahramani 2016); `RNN`
            applies it while the layer trains.
        layer_norm: normalises the projections of the input and of the hidden state, each over
            all gates together (Ba, Kiros and Hinton 2016, equation 20, without the cell's own).
        dtype: of the computation; by default that of the arguments and parameters.
        param_dtype: of the parameters.
        precision: of the matrix products.
        rngs: the stream `params` is drawn from; `dropout` if there is any.

    Raises:
        ValueError: a format that does not fit the sizes, or `joint` beside another format.

    Example:
        >>> import ht_jax as ht
        >>> cell = SimpleCell(48, 16, input=ht.HT((8, 6), (4, 4), rank=3), rngs=nnx.Rngs(0))
        >>> z = cell.project(jnp.ones((7, 48)))  # of all frames at once
        >>> carry, y = cell.step(cell.initialize_carry((48,)), z[0])
        >>> z.shape, y.shape
        ((7, 16), (16,))
    """

    gates: ClassVar[int]
    num_states: ClassVar[int] = 1
    papers: ClassVar[tuple[str, ...]] = ()  # what `ht_jax.cite` names: keys or BibTeX entries
    in_features: int
    hidden_features: int
    input: TensorDense | None
    recurrent: TensorDense | None
    joint: TensorDense | None
    frozen: Any  # what `ht_jax.nn.freeze` made of the cores
    dropout: nnx.Dropout
    norms: Any  # the layer norms of the two projections, by "input" and "recurrent"; or None
    dtype: Any
    param_dtype: Any
    precision: jax.lax.PrecisionLike

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        input: Format | None = None,
        recurrent: Format | None = None,
        joint: Format | None = None,
        recurrent_dropout: float = 0.0,
        layer_norm: bool = False,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: jax.lax.PrecisionLike = None,
        rngs: nnx.Rngs,
    ):
        self.in_features, self.hidden_features = in_features, hidden_features
        self.dtype, self.param_dtype, self.precision = dtype, param_dtype, precision
        options = dict(dtype=dtype, param_dtype=param_dtype, precision=precision, rngs=rngs)
        self.input = self.recurrent = self.joint = nnx.data(None)
        if joint is not None and (input is not None or recurrent is not None):
            raise ValueError(f"joint={joint} replaces both matrices: give it alone")
        if joint is not None:
            fmt = self._gated("joint", joint, in_features + hidden_features)
            self.joint = TensorDense(fmt, **options)
        else:
            fmt = self._gated("input", input, in_features)
            self.input = TensorDense(fmt, **options)
            fmt = self._gated("recurrent", recurrent, hidden_features)
            self.recurrent = TensorDense(fmt, use_bias=False, **options)
        self.frozen = nnx.data(None)
        self.dropout = nnx.Dropout(recurrent_dropout)
        self.norms = nnx.data(None)
        if layer_norm:
            norm = functools.partial(nnx.LayerNorm, self.gates * hidden_features, use_bias=False)
            norm = functools.partial(norm, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
            self.norms = nnx.Dict(input=norm(), recurrent=norm())

    def _gated(self, place: str, fmt: Format | None, in_features: int) -> Format:
        """The format of one matrix for all gates, padded to the sizes of the cell."""
        try:
            fmt = check_format(place, fmt or Dense(in_features, self.hidden_features))
            if fmt.gates != 1:
                raise ValueError(f"{fmt} has gates: give it without, the cell folds them in")
            return fmt.sized(in_features, self.hidden_features).with_gates(self.gates)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None

    @property
    def biased(self) -> TensorDense:
        """The layer that carries the bias: that of the input, or the joint one."""
        layer = self.input if self.joint is None else self.joint
        assert layer is not None
        return layer

    @property
    def bias(self) -> nnx.Param[Array]:
        """The bias of all gates (gates * H,)."""
        bias = self.biased.bias
        assert bias is not None
        return bias

    @property
    def num_feature_axes(self) -> int:
        """Axes of an input that are not batch axes."""
        return 1

    def input_weight(self) -> Weight:
        """The input-to-hidden kernel (in_features, gates * H)."""
        if self.joint is None:
            return self.biased.weight
        return self.joint.weight.restrict(0, self.in_features)

    def recurrent_weight(self) -> Weight:
        """The hidden-to-hidden kernel (H, gates * H)."""
        if self.recurrent is not None:
            return self.recurrent.weight
        rows = self.in_features, self.in_features + self.hidden_features
        return self.biased.weight.restrict(*rows)

    def project(
        self, x: Shaped[Array, "*batch in_features"], *, reading: Reading | None = None
    ) -> Shaped[Array, "*batch gated"]:
        """The inputs' share z of the pre-activations, bias included.

        Args:
            x: inputs of any floating dtype, or integers (uint8 frames).
            reading: the normalisation of integer inputs; by default they are taken as they are.
        """
        if self.frozen is not None:
            return self._normed("input", self.frozen.project(x, reading)) + self.frozen.bias
        weight, bias = self.input_weight(), self.bias[...]
        with jax.named_scope("input_to_hidden"):
            if jnp.issubdtype(x.dtype, jnp.integer):
                weight, bias = promote((weight, bias), self.dtype)
            else:
                x, weight, bias = promote((x, weight, bias), self.dtype)
            y = apply(weight, x, reading=reading, precision=self.precision)
            return self._normed("input", y) + bias

    def _normed(self, part: str, y: Array) -> Array:
        if self.norms is None:
            return y
        # Flax's norm mixes its float32 statistics with y, which strict dtype promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            return self.norms[part](y)

    def recurrence(self, batch: int, steps: int) -> Prepared | Array:
        """The hidden-to-hidden kernel in the form in which `steps` steps run fastest.

        Either its cores, multiplied as far as they can be without a hidden state, or the dense
        matrix: whatever the cost model finds faster for a carry of `batch` rows.
        """
        if self.frozen is not None:
            return self.frozen.recurrent
        (weight,) = promote((self.recurrent_weight(),), self.dtype)
        fmt, dtype = weight.format, jax.tree.leaves(weight)[0].dtype
        prepared = weight.prepare(batch, mode="train")
        if not isinstance(batch * steps, int):  # symbolic, under jax.export
            return prepared
        dense = Dense(fmt.in_features, fmt.out_features)
        formed = modelled(fmt.problem(fmt.in_features, dtype=dtype)).seconds
        formed += steps * modelled(dense.problem(batch, dtype=dtype)).seconds
        faster = formed < steps * prepared.schedule.seconds
        return weight.to_dense(self.precision) if faster else prepared

    def step(
        self,
        carry: Carry,
        z: Shaped[Array, "*batch gated"],
        recurrence: Prepared | Array | None = None,
        mask: Array | None = None,
    ) -> tuple[Carry, Array]:
        """One time step from projected inputs.

        Args:
            carry: the state, as `initialize_carry` shapes it.
            z: what `project` made of the inputs.
            recurrence: what `recurrence` returned, if steps share it.
            mask: what `dropout_mask` returned, if there is dropout.

        Returns:
            The new carry and the output (the hidden state).
        """
        h = self.hidden(carry)
        h = h if mask is None else h * mask
        if recurrence is None:
            recurrence = self.recurrence(h.size // max(h.shape[-1], 1), 1)
        with jax.named_scope("hidden_to_hidden"):
            if isinstance(recurrence, Prepared):
                u = recurrence(h, precision=self.precision)
            else:
                u = jnp.matmul(h, recurrence, precision=self.precision)
        return self.update(carry, z, self._normed("recurrent", u))

    def dropout_mask(self, carry: Carry, rngs: nnx.Rngs | None) -> Array | None:
        """Factors for the hidden state during a sequence; None without dropout."""
        if not self.dropout.rate or self.dropout.deterministic:
            return None
        return self.dropout(jnp.ones_like(self.hidden(carry)), rngs=rngs)

    def __call__(self, carry: Carry, inputs: Array) -> tuple[Carry, Array]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One time step from inputs, as `nnx.RNN` calls it."""
        return self.step(carry, self.project(inputs))

    def initialize_carry(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> Carry:
        """A carry of zeros (or of `carry_init(key, shape, dtype)`) for inputs of that shape."""
        shape = (*input_shape[:-1], self.hidden_features)
        dtype = self.dtype or self.param_dtype
        if carry_init is None:
            return self.carry_of(jnp.zeros(shape, dtype))
        return self.carry_of(*(carry_init(rngs(), shape, dtype) for _ in range(self.num_states)))

    def carry_of(self, *states: Array) -> Carry:
        """The carry made of its states; a single one is used for all."""
        return states[0] if self.num_states == 1 else (states * self.num_states)[: self.num_states]

    def hidden(self, carry: Carry) -> Array:
        """The hidden state within a carry."""
        return carry

    def update(self, carry: Carry, z: Array, u: Array) -> tuple[Carry, Array]:
        """The cell's equations: the new carry and the output from z and u."""
        raise NotImplementedError


class LSTMCell(RecurrentCell):
    """Long short-term memory without peepholes; carry (c, h).

    `i, f, g, o = split(z + u)`, `c' = sigmoid(f) c + sigmoid(i) tanh(g)`,
    `h' = sigmoid(o) tanh(c')`. Gate order i, f, g, o, as in PyTorch and in Flax. The bias of
    the forget gate starts at 1. Arguments: see `RecurrentCell`.

    Example:
        >>> import ht_jax as ht
        >>> from flax import nnx
        >>> fmt = ht.HT((8, 10, 10, 9, 8), (4, 4, 2, 4, 2), leaf_rank=4, rank=5)
        >>> cell = LSTMCell(57_600, 256, input=fmt, rngs=nnx.Rngs(0))
        >>> cell.input.format.num_params
        1245
    """

    gates = 4
    num_states = 2
    papers: ClassVar[tuple[str, ...]] = ("hochreiter1997",)

    def __init__(self, in_features: int, hidden_features: int, **options: Any):
        super().__init__(in_features, hidden_features, **options)
        forget = slice(hidden_features, 2 * hidden_features)
        self.bias[...] = self.bias[...].at[forget].set(1.0)

    def hidden(self, carry: Carry) -> Array:
        """The second entry of (c, h)."""
        return carry[1]

    def update(self, carry: Carry, z: Array, u: Array) -> tuple[Carry, Array]:
        """See the class."""
        c, _ = carry
        i, f, g, o = jnp.split(z + u, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h


class GRUCell(RecurrentCell):
    """Gated recurrent unit, reset-after; carry h.

    `r = sigmoid(z_r + u_r)`, `s = sigmoid(z_s + u_s)`, `n = tanh(z_n + r (u_n + b))`,
    `h' = (1 - s) n + s h`. Gate order r, s, n (PyTorch's r, z, n). Arguments: see
    `RecurrentCell`.

    Example:
        >>> import ht_jax as ht
        >>> cell = GRUCell(48, 16, input=ht.HT((8, 6), (4, 4), rank=3), rngs=nnx.Rngs(0))
        >>> cell.input.format.out_modes, cell.bias.shape
        ((12, 4), (48,))
    """

    gates = 3
    papers: ClassVar[tuple[str, ...]] = ("cho2014",)
    candidate_bias: nnx.Param[Array]

    def __init__(self, in_features: int, hidden_features: int, **options: Any):
        super().__init__(in_features, hidden_features, **options)
        self.candidate_bias = nnx.Param(jnp.zeros(hidden_features, self.param_dtype))

    def update(self, carry: Carry, z: Array, u: Array) -> tuple[Carry, Array]:
        """See the class."""
        z_r, z_s, z_n = jnp.split(z, 3, axis=-1)
        u_r, u_s, u_n = jnp.split(u, 3, axis=-1)
        (bias,) = promote((self.candidate_bias[...],), z.dtype)
        r, s = jax.nn.sigmoid(z_r + u_r), jax.nn.sigmoid(z_s + u_s)
        n = jnp.tanh(z_n + r * (u_n + bias))
        h = (1 - s) * n + s * carry
        return h, h


class SimpleCell(RecurrentCell):
    """Elman's network, `h' = tanh(z + u)`; carry h. Arguments: see `RecurrentCell`.

    Example:
        >>> cell = SimpleCell(16, 16, rngs=nnx.Rngs(0))
        >>> cell(cell.initialize_carry((2, 16)), jnp.ones((2, 16)))[1].shape
        (2, 16)
    """

    gates = 1
    papers: ClassVar[tuple[str, ...]] = ("elman1990",)

    def update(self, carry: Carry, z: Array, u: Array) -> tuple[Carry, Array]:
        """See the class."""
        del carry
        h = jnp.tanh(z + u)
        return h, h
