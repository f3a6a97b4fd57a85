"""The tensors that every operation is tested on, and dense oracles in plain NumPy."""

import itertools

import numpy as np

import ht_jax as ht
from ht_jax.tensor import HTTensor
from ht_jax.tensor.cores import clipped_ranks, expected_shape

SIZES = [
    (1, 1),
    (4, 3),
    (1, 1, 1),
    (10, 1, 1),
    (5, 6, 4),
    (7, 7, 7),
    (3, 1, 4, 2),
    (4, 5, 2, 3),
    (2, 3, 1, 2, 4),
]
RANKS = [1, 3, "random"]


def trees(d):
    """Balanced, linear, first mode apart, first pair apart."""
    apart = (0, _nested(range(1, d))) if d > 1 else 0
    pair = ((0, 1), _nested(range(2, d))) if d > 2 else apart
    return list(
        dict.fromkeys(
            (
                ht.DimensionTree.balanced(d),
                ht.DimensionTree.linear(d),
                ht.DimensionTree(apart),
                ht.DimensionTree(pair),
                ht.DimensionTree(_reversed(d)),
            )
        )
    )


def _nested(modes):
    modes = list(modes)
    half = (len(modes) + 1) // 2
    return modes[0] if len(modes) == 1 else (_nested(modes[:half]), _nested(modes[half:]))


def _reversed(d):
    nested = d - 1
    for k in reversed(range(d - 1)):
        nested = (nested, k)
    return nested


CASES = [(shape, tree, rank) for shape in SIZES for tree in trees(len(shape)) for rank in RANKS]
FEW = [
    ((5, 6, 4), ht.DimensionTree.linear(3), 3),
    ((4, 5, 2, 3), ht.DimensionTree.balanced(4), "random"),
    ((2, 3, 1, 2, 4), ht.DimensionTree.balanced(5), 3),
]


def name(case):
    shape, tree, rank = case
    return f"{'x'.join(map(str, shape))}-{tree.nested}-{rank}".replace(" ", "")


def tensor(shape, tree, rank, seed=0, dtype=np.float64):
    """A tensor of NumPy cores: operations on it run in NumPy, without compiling every shape."""
    rng = np.random.default_rng(seed)
    if rank == "random":
        rank = {node: int(rng.integers(1, 6)) for node in tree.nodes}
    ranks = clipped_ranks(tree, shape, rank)

    def draw(node):
        core = rng.standard_normal((2, *expected_shape(node, tree, shape, ranks)))
        return (core[0] + 1j * core[1] if np.issubdtype(dtype, complex) else core[0]).astype(dtype)

    return HTTensor({node: draw(node) for node in tree.nodes}, tree)


def dense(t):
    """The full tensor by one einsum over all cores."""
    letters = itertools.count()
    mode = {k: next(letters) for k in range(t.ndim)}
    edge = {node: next(letters) for node in t.tree.nodes}
    operands = []
    for node in t.tree.nodes:
        own = [] if node == t.tree.root else [edge[node]]
        if t.tree.is_leaf(node):
            operands += [np.asarray(t.cores[node]), [mode[t.tree.modes(node)[0]], *own]]
        else:
            operands += [np.asarray(t.cores[node]), own + [edge[c] for c in t.tree.children(node)]]
    return np.einsum(*operands, list(mode.values()), optimize=True)


def check(found, expected, tolerance=1e-12):
    """Whether a tensor (or a dense one) is the expected one, relative to its norm."""
    found = dense(found) if isinstance(found, HTTensor) else np.asarray(found)
    assert found.shape == np.shape(expected)
    error = np.linalg.norm((found - expected).reshape(-1))
    assert error <= tolerance * np.linalg.norm(np.reshape(expected, -1)), error
