"""A state is restored into one of its own structure, shapes and types, or not at all."""

import jax.numpy as jnp
import numpy as np
import pytest

from ht_jax.train.checkpoint import Checkpoints


def _state(shape=(2, 3), dtype=jnp.float32, name="w"):
    params = {name: jnp.ones(shape, dtype), "empty": {}}
    return {"step": jnp.int32(1), "params": params, "moments": [jnp.ones(2), None]}


OTHER = {
    "longer": ({"shape": (7,)}, r"params/w is float32\[2, 3\], not float32\[7\]"),
    "turned": ({"shape": (3, 2)}, r"params/w is float32\[2, 3\], not float32\[3, 2\]"),
    "scalar": ({"shape": ()}, r"params/w is float32\[2, 3\], not float32\[\]"),
    "bfloat16": ({"dtype": jnp.bfloat16}, r"params/w is float32\[2, 3\], not bfloat16\[2, 3\]"),
    "int32": ({"dtype": jnp.int32}, r"params/w is float32\[2, 3\], not int32\[2, 3\]"),
    "renamed": ({"name": "v"}, r"2 arrays: params/v is missing, not float32\[2, 3\]"),
}


@pytest.mark.parametrize("case", OTHER)
@pytest.mark.parametrize("read_only", [False, True])
def test_another_state_is_refused_and_the_checkpoint_stays(tmp_path, case, read_only):
    options, reason = OTHER[case]
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(_state(), {})
    with Checkpoints(tmp_path, read_only=read_only) as checkpoints:
        with pytest.raises(ValueError, match=reason):
            checkpoints.restore(_state(**options))
        restored, _ = checkpoints.restore(_state())
        assert checkpoints.steps == [1]
    np.testing.assert_array_equal(restored["params"]["w"], np.ones((2, 3), np.float32))


@pytest.mark.parametrize("as_array", [jnp.asarray, np.asarray], ids=["jax", "numpy"])
def test_the_arrays_of_like_may_be_of_either_kind(tmp_path, as_array):
    like = {"step": as_array(1), "w": as_array(np.zeros((2, 3), np.float32))}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(like, {"note": 1})
        restored, meta = checkpoints.restore(like)
        assert meta == {"note": 1}
        with pytest.raises(ValueError, match="w is float32"):
            checkpoints.restore(like | {"w": as_array(np.zeros(7, np.float32))})
    assert restored["w"].shape == (2, 3)
