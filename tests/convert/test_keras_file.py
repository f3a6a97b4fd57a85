"""`.weights.h5` files of Keras, read without Keras: what comes out, and what is refused."""

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

from ht_jax import convert
from tests.convert.sequences import B, H, T, W, ours

CELL = "layers/lstm/cell/vars"


def drawn(width, seed):
    """The arrays of an LSTM cell of Keras."""
    draw = np.random.default_rng(seed)
    shapes = (width, 4 * H), (H, 4 * H), (4 * H,)
    return [draw.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in shapes]


def write(path, groups):
    with h5py.File(path, "w") as file:
        for group, arrays in groups.items():
            for n, array in enumerate(arrays):
                file[f"{group}/{n}"] = array
    return path


def two_directions():
    """Groups of two Bidirectional layers by what PyTorch, whose gates stand alike, calls them."""
    groups, state = {}, {}
    for n, name in enumerate(("bidirectional", "bidirectional_1")):
        for end, tail in (("forward", ""), ("backward", "_reverse")):
            arrays = drawn(2 * H if n else W, len(groups))
            groups[f"layers/{name}/{end}_layer/cell/vars"] = arrays
            for key, array in zip(("weight_ih", "weight_hh", "bias_ih"), arrays):
                state[f"{key}_l{n}{tail}"] = array.T
    return groups, state


def test_a_file_of_two_layers_in_two_directions(tmp_path):
    groups, state = two_directions()
    layer = convert.from_keras(write(tmp_path / "a.weights.h5", groups))
    np.testing.assert_allclose(ours(layer), ours(convert.from_torch(state)), rtol=0, atol=1e-6)


def test_layers_by_name(tmp_path):
    groups = {f"{name}/cell/vars": drawn(W, n) for n, name in enumerate(("first", "b/lstm"))}
    path = write(tmp_path / "a.weights.h5", groups)
    with pytest.raises(ValueError, match=r"order of \['b/lstm', 'first'\]: give it as `names`"):
        convert.from_keras(path)
    with pytest.raises(ValueError, match="no recurrent layer 'lstm'"):
        convert.from_keras(path, names=["lstm"])
    layer = convert.from_keras(path, names=["b/lstm"])
    np.testing.assert_array_equal(layer.cell.input.cores["kernel"][...], drawn(W, 1)[0])


def test_the_eleventh_layer_follows_the_tenth(tmp_path):
    widths = {f"layers/lstm_{n}": W if n == 2 else H for n in (2, 10, 11)}
    groups = {f"{name}/cell/vars": drawn(w, w) for name, w in widths.items()}
    layer = convert.from_keras(write(tmp_path / "a.weights.h5", groups))
    assert ours(layer).shape == (B, T, H)


def test_bfloat16_is_read_as_keras_marks_it(tmp_path):
    arrays = [array.astype(jnp.bfloat16) for array in drawn(W, 0)]
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        for n, array in enumerate(arrays):
            file.create_dataset(f"{CELL}/{n}", data=array).attrs["dtype"] = "bfloat16"
    kernel = convert.from_keras(path).cell.input.cores["kernel"][...]
    assert kernel.dtype == jnp.bfloat16
    np.testing.assert_array_equal(kernel, arrays[0])


def _harmed(group, **arrays):
    def write_harmed(path):
        cell = dict(zip("012", drawn(W, 0))) | {n.strip("_"): a for n, a in arrays.items()}
        write(path, {group: [cell[n] for n in sorted(cell)]})

    return write_harmed


def _linked(path):
    write(path.with_name("other.h5"), {CELL: drawn(W, 0)})
    with h5py.File(path, "w") as file:
        file[CELL] = h5py.ExternalLink("other.h5", CELL)


def _stored_elsewhere(path):
    input, recurrent, bias = drawn(W, 0)
    write(path, {CELL: [input, recurrent]})
    path.with_name("bias").write_bytes(bias.tobytes())
    with h5py.File(path, "a") as file:
        file.create_dataset(
            f"{CELL}/2", (4 * H,), "f4", external=[(str(path.with_name("bias")), 0, bias.nbytes)]
        )


def _cut(path):
    write(path, {CELL: drawn(W, 0)})
    path.write_bytes(path.read_bytes()[:-100])


def _one_sided(path):
    write(path, {"layers/bidirectional/forward_layer/cell/vars": drawn(W, 0)})


BROKEN = {
    "foreign": (lambda p: p.write_bytes(b"no HDF5" * 99), "not a whole"),
    "truncated": (_cut, "truncated"),
    "other layers": (_harmed("layers/dense/vars"), "holds no LSTM"),
    "other file": (_linked, "holds no LSTM"),
    "other storage": (_stored_elsewhere, "2 are not all there"),
    "one direction": (_one_sided, "backward_layer/cell/vars is missing"),
    "integers": (_harmed(CELL, _2=np.zeros(4 * H, int)), "has dtype int"),
    "shapes": (_harmed(CELL, _1=np.zeros((H, 7), np.float32)), "no LSTM, GRU or SimpleRNN has"),
    "reset before": (
        _harmed(
            CELL,
            _0=np.zeros((W, 9), np.float32),
            _1=np.zeros((3, 9), np.float32),
            _2=np.zeros(9, np.float32),
        ),
        "reset_after=True",
    ),
    "no bias, and so no word of reset_after": (
        lambda p: write(p, {CELL: [np.ones((W, 9), np.float32), np.ones((3, 9), np.float32)]}),
        "does not tell whether the GRU has reset_after=True: give the built layer",
    ),
    "NaN": (_harmed(CELL, _2=np.full(4 * H, np.nan, np.float32)), "not finite"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_with_the_reason(tmp_path, case):
    harm, reason = BROKEN[case]
    path = tmp_path / "model.weights.h5"
    harm(path)
    with pytest.raises(ValueError, match=reason) as caught:
        convert.from_keras(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        convert.from_keras(tmp_path / "none.weights.h5")
