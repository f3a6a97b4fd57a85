"""safetensors files of every dtype: what is whole is read, what cannot be is named."""

import ml_dtypes
import numpy as np
import pytest

from ht_jax.export.safe import read, serialized

DTYPES = ["bool", "int8", "uint16", "int32", "uint64", "float16", "float32", "float64", "complex64"]
SMALL = [
    ml_dtypes.bfloat16,
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e4m3fnuz,
    ml_dtypes.float8_e5m2,
    ml_dtypes.float8_e5m2fnuz,
    ml_dtypes.float8_e8m0fnu,
]


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [*DTYPES, *SMALL], ids=lambda dtype: np.dtype(dtype).name)
def test_arrays_come_back(tmp_path, dtype, shape):
    array = np.asfortranarray(2.0 ** np.arange(np.prod(shape, dtype=int)).reshape(shape))
    array, path = array.astype(dtype), tmp_path / "arrays.safetensors"
    path.write_bytes(serialized({"a": array, "b": array}, {"about": "text"}))
    arrays, texts = read(path)
    assert texts == {"about": "text"}
    for found in arrays.values():
        np.testing.assert_array_equal(found, array, strict=True)


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.float4_e2m1fn, "complex128", "U3"])
def test_a_dtype_that_the_format_lacks_is_named(dtype):
    name = np.dtype(dtype).name.replace("str96", "U3")
    with pytest.raises(ValueError, match=f"weight has dtype .*{name}, which safetensors"):
        serialized({"weight": np.zeros((2, 2), dtype)}, {})


def test_a_dtype_that_numpy_lacks_is_named(tmp_path):
    header = b'{"weight":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}'
    path = tmp_path / "arrays.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(ValueError, match=r"does not have: weight \(F4\); cast"):
        read(path)


@pytest.mark.parametrize("cut", [1, 8, 30])
def test_a_cut_file_is_called_broken(tmp_path, cut):
    path = tmp_path / "arrays.safetensors"
    path.write_bytes(serialized({"a": np.ones((2, 2), np.float32)}, {})[:-cut])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read(path)
