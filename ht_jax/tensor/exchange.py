"""Exchanges of subtrees in a network of three-legged vertices: the moves behind `change_dimtree`.

The vertex with the legs (a, c, e) and its neighbour (e, f, g) become (a, g, e') and (e', c, f).
All others being isometries towards the two, the singular values dropped at e' are the error.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ht_jax.tensor.cores import Cores
from ht_jax.tensor.linalg import Matrix, backend, einsum, orthonormal
from ht_jax.tree import DimensionTree

SHARE = 0.1  # of the squared error, for all exchanges together


def exchanged(
    cores: Cores, tree: DimensionTree, new: DimensionTree, tol: float, bound: int | None
) -> Cores:
    """Cores with orthonormal frames, brought from one tree to another.

    Args:
        cores: of the old tree, with orthonormal frames.
        tree: the old tree.
        new: the new one.
        tol: relative error of which all exchanges together may use a part.
        bound: static bound on the ranks; without it they follow from the values.
    """
    if tree.num_modes < 3:  # two trees of two modes: the root turns over
        return {**cores, tree.root: cores[tree.root].T}
    network, found = Network.of(cores, tree, tol, bound), {n: cores[n] for n in tree.leaves}
    names, rest = {leaf: leaf for leaf in tree.leaves}, cores[tree.root]
    for node in new.inner[:-1]:  # every subtree from two that are there already
        a, b = (names[child] for child in new.children(node))
        found[node], rest, names[node] = network.take(network.meeting(a, b), a, b)
    last = new.inner[-2]
    found[new.root] = rest if new.children(new.root)[0] == last else rest.T
    return {node: found[node] for node in new.nodes}


@dataclasses.dataclass
class Network:
    """Vertices with three named legs; a name that stands at two vertices is an edge.

    Args:
        arrays: the vertices.
        legs: the names of their axes.
        center: the vertex that the others are isometries towards.
        share: squared error of one exchange.
        bound: static bound on the ranks.
    """

    arrays: dict[int, Matrix]
    legs: dict[int, list[str]]
    center: int
    share: float
    bound: int | None

    @classmethod
    def of(cls, cores: Cores, tree: DimensionTree, tol: float, bound: int | None) -> Network:
        """The inner nodes of a tree; the root's matrix goes into one of its children."""
        inner = tree.inner[:-1]
        arrays = {n: cores[node] for n, node in enumerate(inner)}
        legs = {n: [node, *tree.children(node)] for n, node in enumerate(inner)}
        left, right = tree.children(tree.root)
        root, side, other = cores[tree.root], right, left
        if tree.is_leaf(right):
            root, side, other = root.T, left, right
        center = inner.index(side)
        arrays[center] = einsum("ps,sab->pab", root, arrays[center])
        legs[center][0] = other
        share = 0.0
        if bound is None:
            resolution = 4 * float(np.finfo(root.dtype).eps)
            share = max(SHARE * tol**2 / tree.num_modes**2, resolution**2)
            share *= float(np.linalg.norm(root)) ** 2
        return cls(arrays, legs, center, share, bound)

    def meeting(self, a: str, b: str) -> int:
        """The vertex where two subtrees meet, after as many exchanges as it takes."""
        vertex = next(v for v, legs in self.legs.items() if a in legs and self._is_free(a, v, b))
        self._center_to(vertex)
        while b not in self.legs[vertex]:
            self._exchange(vertex, a, b)
        return vertex

    def take(self, vertex: int, a: str, b: str) -> tuple[Matrix, Matrix, str]:
        """Takes the vertex of `a` and `b` out: its core (r, a, b), the rest (r, e), and e."""
        (leg,) = (name for name in self.legs[vertex] if name not in (a, b))
        array = self._pop(vertex, (a, b, leg))
        q, rest = orthonormal(array.reshape(-1, array.shape[2]))
        neighbour = self._other(leg, vertex)
        if neighbour is not None:
            self._absorb(neighbour, leg, rest)
            self.center = neighbour
        return q.T.reshape(-1, *array.shape[:2]), rest, leg

    def _pop(self, vertex: int, order: tuple[str, ...]) -> Matrix:
        legs, array = self.legs.pop(vertex), self.arrays.pop(vertex)
        return array.transpose([legs.index(name) for name in order])

    def _absorb(self, vertex: int, leg: str, matrix: Matrix) -> None:
        """Applies a matrix (new, old) to one leg."""
        axis = self.legs[vertex].index(leg)
        xp, array = backend(matrix), self.arrays[vertex]
        self.arrays[vertex] = xp.moveaxis(xp.tensordot(matrix, array, (1, axis)), 0, axis)

    def _other(self, leg: str, vertex: int) -> int | None:
        return next((v for v, legs in self.legs.items() if v != vertex and leg in legs), None)

    def _is_free(self, a: str, vertex: int, b: str) -> bool:
        """Whether `a` leads away from `b`, seen from a vertex that it is a leg of."""
        return b in self.legs[vertex] or self._towards(vertex, b) != a

    def _towards(self, vertex: int, b: str, came: str | None = None) -> str | None:
        """The leg of a vertex that leads to `b`."""
        for leg in self.legs[vertex]:
            if leg == came:
                continue
            beyond = self._other(leg, vertex)
            if leg == b or (beyond is not None and self._towards(beyond, b, leg) is not None):
                return leg
        return None

    def _center_to(self, vertex: int) -> None:
        """Moves the norm along the path to a vertex, by QR decompositions."""
        while self.center != vertex:
            here = self.center
            leg = next(n for n in self.legs[here] if self._leads_to(here, n, vertex))
            others = tuple(name for name in self.legs[here] if name != leg)
            array = self._pop(here, (*others, leg))
            q, rest = orthonormal(array.reshape(-1, array.shape[2]))
            self.arrays[here] = q.reshape(*array.shape[:2], -1)
            self.legs[here] = [*others, leg]
            beyond = self._other(leg, here)
            assert beyond is not None
            self._absorb(beyond, leg, rest)
            self.center = beyond

    def _leads_to(self, vertex: int, leg: str, target: int) -> bool:
        beyond = self._other(leg, vertex)
        if beyond is None or beyond == target:
            return beyond == target
        return any(self._leads_to(beyond, n, target) for n in self.legs[beyond] if n != leg)

    def _exchange(self, vertex: int, a: str, b: str) -> None:
        """Brings `a` one edge nearer to `b`; the norm stays at its vertex."""
        edge = self._towards(vertex, b)
        assert edge is not None
        beyond = self._other(edge, vertex)
        assert beyond is not None
        nearer = self._towards(beyond, b, edge)
        assert nearer is not None
        (c,) = (name for name in self.legs[vertex] if name not in (a, edge))
        (f,) = (name for name in self.legs[beyond] if name not in (edge, nearer))
        both = einsum(
            "ace,egf->agcf", self._pop(vertex, (a, c, edge)), self._pop(beyond, (edge, nearer, f))
        )
        rows, cols = both.shape[:2], both.shape[2:]
        u, s, vh = backend(both).linalg.svd(
            both.reshape(rows[0] * rows[1], -1), full_matrices=False
        )
        rank = self._rank(s)
        self.arrays[vertex] = (u[:, :rank] * s[:rank]).reshape(*rows, rank)
        self.legs[vertex] = [a, nearer, edge]
        self.arrays[beyond] = vh[:rank].reshape(rank, *cols)
        self.legs[beyond] = [edge, c, f]

    def _rank(self, s: Matrix) -> int:
        if self.bound is not None:
            return min(self.bound, s.shape[0])
        tails = np.cumsum(np.asarray(s, np.float64)[::-1] ** 2)[::-1]
        return max(1, int(np.sum(tails > self.share)))
