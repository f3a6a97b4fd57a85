"""The PyTorch layers to compare with, at the same shapes and with as many threads.

PyTorch's LSTM runs with oneDNN off, which otherwise repacks 236 MB of weights on every call.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from suites import shapes
from suites.timing import Call, System

GATED = 4 * shapes.HIDDEN
RECURRENT = shapes.HIDDEN * GATED + 2 * GATED


def training(batch: int) -> Iterator[System]:
    """Systems that take one training step of `batch` clips."""
    yield System("torch LSTM", _lstm_params(shapes.PIXELS), lambda: _train(_dense, batch))
    for width in (16, 1):
        params = shapes.PIXELS * width + width + _lstm_params(width)
        yield System(
            f"torch Linear({width}) + LSTM",
            params,
            lambda w=width: _train(lambda: _reduced(w), batch),
        )
    for name, (numbers, make) in TEDNET.items():
        yield System(f"tednet {name}", numbers + RECURRENT, lambda m=make: _train(m, batch))


def streaming() -> Iterator[System]:
    """Systems that read one frame of one sequence."""
    yield System("torch LSTM", _lstm_params(shapes.PIXELS), lambda: _stream(_dense))
    yield System("torch LSTM, int8", _lstm_params(shapes.PIXELS), lambda: _stream(_int8))
    for width in (16, 1):
        params = shapes.PIXELS * width + width + _lstm_params(width)
        yield System(
            f"torch Linear({width}) + LSTM", params, lambda w=width: _stream(lambda: _reduced(w))
        )
    for name, (numbers, make) in TEDNET.items():
        yield System(f"tednet {name}", numbers + RECURRENT, lambda m=make: _stream(m))


def _torch() -> Any:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("needs PyTorch: pip install 'ht_jax[bench]'") from error
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.backends.mkldnn.enabled = False
    return torch


def _lstm_params(inputs: int) -> int:
    return inputs * GATED + RECURRENT


def _train(make: Callable[[], Any], batch: int) -> Call:
    torch = _torch()
    module = make()
    frames = torch.from_numpy(shapes.clips(batch))
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        module(frames.float() / 64)[:, -1].square().mean().backward()
        optimizer.step()

    return step


def _stream(make: Callable[[], Any]) -> Call:
    torch = _torch()
    module = make().eval()
    frame = torch.from_numpy(shapes.clips(1)[:, :1])

    def step() -> Any:
        with torch.no_grad():
            return module(frame.float() / 64)

    return step


def _dense() -> Any:
    return _sequential(None, _torch().nn.LSTM(shapes.PIXELS, shapes.HIDDEN, batch_first=True))


def _int8() -> Any:
    torch = _torch()
    quantize = torch.ao.quantization.quantize_dynamic
    return quantize(_dense(), {torch.nn.LSTM}, dtype=torch.qint8)


def _reduced(width: int) -> Any:
    torch = _torch()
    reduce = torch.nn.Linear(shapes.PIXELS, width)
    return _sequential(reduce, torch.nn.LSTM(width, shapes.HIDDEN, batch_first=True))


def _sequential(reduce: Any, lstm: Any) -> Any:
    torch = _torch()

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.reduce, self.lstm = reduce, lstm

        def forward(self, x: Any) -> Any:
            return self.lstm(x if self.reduce is None else self.reduce(x))[0]

    return Layer()


def _tednet(make: Callable[[], Any]) -> Any:
    torch = _torch()
    try:
        import tednet  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("needs tednet: pip install 'ht_jax[bench]'") from error
    lstm = make()

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = lstm

        def forward(self, x: Any) -> Any:
            zero = torch.zeros(x.shape[0], shapes.HIDDEN)
            return self.lstm(x.transpose(0, 1), (zero, zero))[0].transpose(0, 1)

    return Layer()


def _four() -> tuple[np.ndarray, np.ndarray]:
    return np.array([8, 20, 20, 18]), np.array([4, 4, 4, 4])  # tednet changes what it is given


def _tt() -> Any:
    import tednet.tnn.tensor_train as package  # pyright: ignore[reportMissingImports]

    return package.TTLSTM(*_four(), [5, 5, 5], 0.0, 0.0)


def _tr() -> Any:
    import tednet.tnn.tensor_ring as package  # pyright: ignore[reportMissingImports]

    return package.TRLSTM(*_four(), [5] * 8, 0.0, 0.0)


def _btt() -> Any:
    import tednet.tnn.bt_tucker as package  # pyright: ignore[reportMissingImports]

    return package.BTTLSTM(*_four(), [4] * 4, 2, 0.0, 0.0)


TEDNET: dict[str, tuple[int, Callable[[], Any]]] = {  # numbers of the input-to-hidden cores
    "TT rank 5": (5_000, lambda: _tednet(_tt)),
    "TR rank 5": (2_350, lambda: _tednet(_tr)),
    "BTT rank 4": (3_392, lambda: _tednet(_btt)),
}
