"""Pairwise orders: what cotengra finds under several objectives.

Up to ten operands the search is exact, above it is random-greedy from fixed seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from ht_jax.network import Indices
from ht_jax.schedule.schedule import BATCH, INPUT, Problem, Product, Step

EXACT_OPERANDS = 10
Pairs = Sequence[Sequence[int]]  # numbers of operands, then of results, as cotengra gives them


def pairwise(problem: Problem) -> Iterator[tuple[str, list[Step]]]:
    """Steps of the orders that cotengra finds, with the objective they were found by."""
    network, batch = problem.network, problem.batch
    operands = {INPUT: (BATCH, *network.inputs), **network.indices}
    size = {BATCH: batch, **network.size}
    output = (BATCH, *network.outputs)
    for found_by, path in _paths(tuple(operands.values()), output, size):
        yield found_by, steps_of_path(operands, path, output)


def _paths(
    inputs: tuple[Indices, ...], output: Indices, size: dict[str, int]
) -> Iterator[tuple[str, Any]]:
    """Orders in static single assignment form, under several objectives."""
    from cotengra.pathfinders import path_basic  # 0.1 s: imported where a plan is made

    if len(inputs) <= EXACT_OPERANDS and not _has_hyperindex(inputs, output):
        for objective in ("flops", "combo-64", "size"):
            path = path_basic.optimize_optimal(
                inputs, output, size, minimize=objective, use_ssa=True
            )
            yield f"cotengra optimal, {objective}", path
        return
    for seed in range(2):
        path, _ = path_basic.optimize_random_greedy_track_flops(
            inputs, output, size, ntrials=16, seed=seed, use_ssa=True
        )
        yield f"cotengra random-greedy, seed {seed}", path


def _has_hyperindex(inputs: tuple[Indices, ...], output: Indices) -> bool:
    counts: dict[str, int] = {}
    for index in itertools.chain(output, *inputs):
        counts[index] = counts.get(index, 0) + 1
    return any(count > 2 for count in counts.values())


def steps_of_path(operands: dict[str, Indices], path: Pairs, output: Indices) -> list[Step]:
    """Steps of a path in static single assignment form: numbers count operands, then results."""
    names, indices = list(operands), dict(operands)
    alive = set(names)
    steps = []
    for pair in path:
        if len(pair) == 1:  # cotengra marks a lone operand whose indices could be summed early
            names.append(names[pair[0]])
            continue
        left, right = sorted((names[k] for k in pair), key=lambda n: BATCH not in indices[n])
        alive -= {left, right}
        kept = set(output).union(*(indices[n] for n in alive))
        out = f"@t{len(steps)}"
        steps.append(step_of(left, right, out, indices, kept))
        indices[out] = steps[-1].indices
        names.append(out)
        alive.add(out)
    return steps


def step_of(left: str, right: str, out: str, indices: dict[str, Indices], kept: set[str]) -> Step:
    """The step that contracts two operands and keeps the indices in `kept`."""
    both = dict.fromkeys(indices[left] + indices[right])
    product = Product.of(indices[left], indices[right], tuple(i for i in both if i in kept))
    return Step(left, right, out, product.indices)


def group_path(inputs: tuple[Indices, ...], output: Indices, size: dict[str, int]) -> Pairs:
    """A path that multiplies the cores of a group, in static single assignment form."""
    from cotengra.pathfinders import path_basic

    if len(inputs) <= 6 or (len(inputs) <= EXACT_OPERANDS and not _has_hyperindex(inputs, output)):
        return path_basic.optimize_optimal(inputs, output, size, minimize="flops", use_ssa=True)
    return path_basic.optimize_greedy(inputs, output, size, use_ssa=True)
