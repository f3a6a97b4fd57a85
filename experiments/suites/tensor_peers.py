"""The libraries that a user would pick instead of ht_jax, each behind the same few calls.

A library that is not installed raises ImportError where its adapter is made: the suites name it.
Its calls return its own tensors, and wait for the end of the computation.
"""

import dataclasses
import functools
import importlib
import warnings
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ht_jax import tensor as htt


@dataclasses.dataclass(frozen=True)
class Peer:
    """What a library can be asked for.

    Args:
        name: What it is called, with its version.
        decompose: A NumPy tensor and a relative tolerance to a call that compresses it.
        dense: Back to a NumPy tensor.
        numbers: How many numbers the compressed form stores.
        random: A tensor of a shape and a rank, for the three below; None where there are none.
        round: A tensor and a rank to a tensor of that rank.
        inner: The inner product of two tensors.
        add: The sum of two tensors.
    """

    name: str
    decompose: Callable[[np.ndarray, float], Callable[[], Any]]
    dense: Callable[[Any], np.ndarray]
    numbers: Callable[[Any], int]
    random: Callable[[tuple[int, ...], int], Any] | None = None
    round: Callable[[Any, int], Any] | None = None
    inner: Callable[[Any, Any], Any] | None = None
    add: Callable[[Any, Any], Any] | None = None


def ht_jax() -> Peer:
    """This library; what has static ranks is compiled."""
    ready = jax.block_until_ready
    rounded = jax.jit(lambda t, rank: htt.truncate(t, max_rank=rank), static_argnums=1)
    inner, add = jax.jit(htt.inner), jax.jit(htt.add)
    return Peer(
        name="ht_jax",
        decompose=_ours,
        dense=lambda t: np.asarray(t.to_dense()),
        numbers=lambda t: t.num_params,
        random=lambda shape, rank: htt.orthogonalize(htt.random(jax.random.key(0), shape, rank)),
        round=lambda t, rank: ready(rounded(t, rank)),
        inner=lambda t, u: ready(inner(t, u)),
        add=lambda t, u: ready(add(t, u)),
    )


def _ours(x: np.ndarray, tol: float) -> Callable[[], htt.HTTensor]:
    array = jnp.asarray(x)
    return lambda: jax.block_until_ready(htt.HTTensor.from_dense(array, tol=tol))


def torchtt() -> Peer:
    """Tensor trains."""
    torch, library = _quietly("torch"), _quietly("torchtt")
    return Peer(
        name=_named("torchTT"),
        decompose=lambda x, tol: functools.partial(library.TT, torch.from_numpy(x), eps=tol),
        dense=lambda t: t.full().numpy(),
        numbers=lambda t: sum(core.numel() for core in t.cores),
        random=lambda shape, rank: library.TT(_train(torch, shape, rank)),
        round=lambda t, rank: t.round(1e-15, rmax=rank),
        inner=lambda t, u: library.dot(t, u),
        add=lambda t, u: t + u,
    )


def hiepy() -> Peer:
    """Hierarchical Tucker tensors on one tree."""
    torch, library = _quietly("torch"), _quietly("hiepy")
    return Peer(
        name=_named("hiepy"),
        decompose=lambda x, tol: functools.partial(
            library.to_htt, torch.from_numpy(x), {"rtol": tol}
        ),
        dense=lambda t: t.full().numpy(),
        numbers=lambda t: sum(part.numel() for part in (*t.U.values(), *t.B.values())),
        random=lambda shape, rank: library.randn(
            shape, rank, torch.Generator().manual_seed(0), torch.float64
        ),
        round=lambda t, rank: t.truncate({"max_rank": rank})[0],
        inner=lambda t, u: t.contract(u),
        add=lambda t, u: t + u,
    )


def tntorch() -> Peer:
    """Tensor trains; rounding changes a tensor, so a copy is made."""
    torch, library = _quietly("torch"), _quietly("tntorch")

    def rounded(t: Any, **limits: Any) -> Any:
        t.round_tt(**limits)
        return t

    return Peer(
        name=_named("tntorch"),
        decompose=lambda x, tol: lambda: rounded(library.Tensor(torch.from_numpy(x)), eps=tol),
        dense=lambda t: t.numpy(),
        numbers=lambda t: sum(core.numel() for core in t.cores),
        random=lambda shape, rank: library.Tensor(_train(torch, shape, rank)),
        round=lambda t, rank: rounded(t.clone(), rmax=rank),
        inner=lambda t, u: library.dot(t, u),
        add=lambda t, u: t + u,
    )


def tensorly() -> Peer:
    """Tucker. It takes ranks, not a tolerance: those that the tolerance needs are found for it."""
    library, decomposition = _quietly("tensorly"), _quietly("tensorly.decomposition")
    return Peer(
        name=f"{_named('tensorly')}, Tucker",
        decompose=lambda x, tol: functools.partial(
            decomposition.tucker, x, rank=_tucker_ranks(x, tol), init="svd"
        ),
        dense=library.tucker_to_tensor,
        numbers=lambda t: t[0].size + sum(factor.size for factor in t[1]),
    )


PEERS = {
    "ht_jax": ht_jax,
    "torchTT": torchtt,
    "HiePy": hiepy,
    "tensorly, Tucker": tensorly,
    "tntorch": tntorch,
}


def _named(package: str) -> str:
    return f"{package} {metadata.version(package)}"


def _quietly(module: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of kernels that are not compiled
        return importlib.import_module(module)


def _train(torch: Any, shape: tuple[int, ...], rank: int) -> list[Any]:
    """Gaussian cores of a tensor train, of a norm that does not overflow."""
    torch.manual_seed(0)
    ranks = [1, *[rank] * (len(shape) - 1), 1]
    sizes = zip(ranks, shape, ranks[1:])
    return [torch.randn(*size, dtype=torch.float64) / rank for size in sizes]


def _tucker_ranks(x: np.ndarray, tol: float) -> list[int]:
    share, ranks = tol / np.sqrt(x.ndim), []
    for k, n in enumerate(x.shape):
        matrix = np.moveaxis(x, k, 0).reshape(n, -1)
        squares = np.maximum(np.linalg.eigvalsh(matrix @ matrix.T), 0.0)
        ranks.append(int(np.sum(np.cumsum(squares) > share**2 * squares.sum())))
    return ranks
