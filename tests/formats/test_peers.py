"""Formats against their papers' formulas, restated entry by entry in plain NumPy.

These are also the formulas of the public TT, TR and block-term layers: the same cores give the same
matrix, and so the same output.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ht_jax as ht

IN, OUT = (2, 3, 2), (2, 2, 3)


def grid(*modes):
    """All multi-indices, row-major."""
    return list(itertools.product(*map(range, modes)))


def matrix(fmt, entry):
    """The matrix whose entry at in multi-index i and out multi-index o is `entry(i, o)`."""
    return np.array([[entry(i, o) for o in grid(*fmt.out_modes)] for i in grid(*fmt.in_modes)])


def tt(fmt, c):
    def entry(i, o):
        row = np.ones(1)
        for k, n in enumerate(zip(i, o)):
            core = c[f"core_{k}"]
            core = core[None] if k == 0 else core
            core = core[..., None] if k == len(i) - 1 else core
            row = row @ core[:, n[0], n[1], :]
        return row.item()

    return matrix(fmt, entry)


def tr(fmt, c):
    def entry(i, o):
        slices = [c[f"in_{k}"][:, n, :] for k, n in enumerate(i)]
        slices += [c[f"out_{k}"][:, n, :] for k, n in enumerate(o)]
        return np.trace(np.linalg.multi_dot(slices))

    return matrix(fmt, entry)


def bt(fmt, c):
    def term(n, i, o):
        total = 0.0
        for r in grid(*[fmt.rank] * len(i)):
            factors = [c[f"factor_{k}"][n, i[k], o[k], r[k]] for k in range(len(i))]
            total += c["core"][(n, *r)] * np.prod(factors)
        return total

    return matrix(fmt, lambda i, o: sum(term(n, i, o) for n in range(fmt.terms)))


def kcp(fmt, c):
    """Kronecker products of tensors, which NumPy's `kron` forms for any number of axes."""
    sides = [f"in_{k}" for k in range(len(fmt.in_modes))]
    sides += [f"out_{k}" for k in range(len(fmt.out_modes))]

    def cp(part, term):
        full = 0.0
        for r in range(fmt.rank):
            vectors = [c[f"{part}_{side}"][term, r] for side in sides]
            outer = vectors[0]
            for v in vectors[1:]:
                outer = np.multiply.outer(outer, v)
            full = full + outer
        return full

    kernel = sum(np.kron(cp("a", k), cp("b", k)) for k in range(fmt.terms))
    return kernel.reshape(fmt.in_features, fmt.out_features)


def tucker(fmt, c):
    def entry(i, o):
        vectors = [c[f"in_{k}"][n] for k, n in enumerate(i)]
        vectors += [c[f"out_{k}"][n] for k, n in enumerate(o)]
        core = c["core"]
        for v in vectors:
            core = np.tensordot(v, core, (0, 0))
        return core.item()

    return matrix(fmt, entry)


def cp(fmt, c):
    def entry(i, o):
        parts = [c[f"in_{k}"][n] for k, n in enumerate(i)]
        parts += [c[f"out_{k}"][n] for k, n in enumerate(o)]
        return np.prod(parts, axis=0).sum()

    return matrix(fmt, entry)


FORMATS = (
    (ht.TT(IN, OUT, rank=(3, 2)), tt),
    (ht.TR(IN, (4, 3), rank=2, closing_rank=3), tr),
    (ht.BT(IN, OUT, rank=2, terms=2), bt),
    (ht.KCP((6, 4), (4, 2), rank=2, terms=3, splits=((3, 2), (2, 2), (2, 2), (1, 2))), kcp),
    (ht.Tucker(IN, (4, 3), rank=2), tucker),
    (ht.CP(IN, (4, 3), rank=3), cp),
)
formats = pytest.mark.parametrize(("fmt", "formula"), FORMATS, ids=lambda v: type(v).__name__)


@formats
def test_layer_equals_the_formula(fmt, formula, key):
    weight = fmt.with_gates(4).init(key, jnp.float64)
    kernel = formula(weight.format, {name: np.asarray(c) for name, c in weight.cores.items()})
    x = np.random.default_rng(0).normal(size=(5, fmt.in_features))
    np.testing.assert_allclose(ht.apply(weight, x), x @ kernel, rtol=0, atol=1e-12)


UCF11 = ((8, 20, 20, 18), (4, 4, 4, 4))
YTC = ((4, 20, 20, 36), (4, 4, 4, 4))
TR_UCF11 = ht.TR((4, 2, 5, 8, 6, 5, 3, 2), (4, 4, 2, 4, 2), rank=5, closing_rank=10)


@pytest.mark.parametrize(
    ("fmt", "gates", "published"),
    [
        (ht.TT(*UCF11, rank=4), 4, 3360),
        (ht.TT(*UCF11, rank=4), 3, 3232),
        (ht.TT(*YTC, rank=4), 4, 3392),
        (ht.TT(*YTC, rank=4), 3, 3328),
        (ht.BT(*UCF11, rank=4, terms=2), 4, 3392),
        (TR_UCF11, 4, 1725),
        (ht.TR((64, 32), (32, 64), rank=(40, 60, 48, 48)), 4, 663_552),
        (ht.KCP(*UCF11, rank=2, terms=2), 4, 212),
        (ht.KCP(*UCF11, rank=4, terms=1), 4, 212),
    ],
)
def test_published_sizes(fmt, gates, published):
    weight = jax.eval_shape(fmt.with_gates(gates).init, jax.random.key(0))
    assert sum(core.size for core in weight.cores.values()) == published


def test_the_closing_rank_and_a_rank_for_every_edge_say_the_same():
    ranks = (10, *[5] * 12)
    assert ht.TR(TR_UCF11.in_modes, TR_UCF11.out_modes, rank=ranks) == TR_UCF11


def test_kcp_splits_the_gated_mode_afresh_or_as_told():
    fmt = ht.KCP((8, 6), (4, 9), rank=1, terms=1)
    assert fmt.mode_splits == ((2, 4), (2, 3), (2, 2), (3, 3))
    assert fmt.with_gates(4).mode_splits[2] == (4, 4)
    told = ht.KCP((8, 6), (4, 9), rank=1, terms=1, gate_split=(8, 2)).with_gates(4)
    assert told.mode_splits == ((2, 4), (2, 3), (8, 2), (3, 3))
