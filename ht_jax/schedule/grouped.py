"""Grouped orders: schedules that are shaped as few large matrix products.

A step multiplies a group of cores into one tensor, which is small, and hits the running tensor
with it, which is large; a beam search chooses the groups by the cost model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from ht_jax.network import Indices
from ht_jax.schedule.cost import PARTS, Device, backward_seconds, layout_seconds, product_seconds
from ht_jax.schedule.pairwise import group_path, step_of, steps_of_path
from ht_jax.schedule.schedule import BATCH, INPUT, Problem, Step

BEAM = 24
MAX_GROUPS = 5
EXHAUSTIVE_CORES = 12  # every subset is a candidate group up to here, connected ones above


@dataclasses.dataclass(frozen=True)
class _State:
    """A running tensor with some groups of cores multiplied in."""

    groups: tuple[int, ...]  # bit masks over the operands, in order
    left: int  # mask of the operands that remain
    indices: Indices  # of the running tensor
    seconds: float


class _Grouping:
    """Arrays that price all groups of a state at once: one row a group, bits over the operands."""

    def __init__(self, problem: Problem, dev: Device):
        network = problem.network
        self.network, self.dev, self.mode = network, dev, problem.mode
        self.itemsize, self.parts = np.dtype(problem.dtype).itemsize, PARTS[problem.arithmetic]
        self.size = {BATCH: problem.batch, **network.size}
        self.operands = list(network.indices)
        self.carriers = {
            i: sum(1 << k for k, (_, indices) in enumerate(network.operands) if i in indices)
            for i, _ in network.sizes
        }
        self.all = (1 << len(self.operands)) - 1

    def groups(self, state: _State) -> np.ndarray:
        """Masks of the groups that may come next."""
        free = [k for k in range(len(self.operands)) if state.left >> k & 1]
        if len(free) <= EXHAUSTIVE_CORES:
            bits = np.arange(1, 1 << len(free))
            masks = sum(((bits >> n & 1) << k for n, k in enumerate(free)), np.zeros_like(bits))
        else:
            masks = np.array(sorted(self._connected(state)), dtype=np.int64)
        return masks

    def _connected(self, state: _State) -> set[int]:
        """For each trailing block of inputs its cores, with neighbours added one by one."""
        open_inputs = [i for i in self.network.inputs if i in state.indices]
        found = {state.left}
        for k in range(len(open_inputs)):
            seed = 0
            for index in open_inputs[k:]:
                seed |= self.carriers[index] & state.left
            found |= self._grown(seed or state.left, state.left)
        if not open_inputs:
            found |= {1 << k for k in range(len(self.operands)) if state.left >> k & 1}
        return found

    def _grown(self, seed: int, left: int) -> set[int]:
        """`seed` and what it becomes as neighbours without an input join, nearest first."""
        inputs = 0
        for index in self.network.inputs:
            inputs |= self.carriers[index]
        found, frontier = {seed}, {seed}
        for _ in range(4):
            frontier = {
                mask | 1 << k
                for mask in frontier
                for k in range(len(self.operands))
                if (left & ~inputs & ~mask) >> k & 1 and self._touch(mask, k)
            }
            found |= frontier
            if len(found) > 256:
                break
        rest = seed | (left & ~inputs)
        return found | {rest}

    def _touch(self, mask: int, operand: int) -> bool:
        _, indices = self.network.operands[operand]
        return any(self.carriers[i] & mask for i in indices)

    def price(self, state: _State, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Seconds of hitting the running tensor with each group, and numbers it leaves."""
        sizes = {part: np.ones(len(masks)) for part in ("groups", "inner", "cols")}
        rows = float(self.size[BATCH])
        for index, carriers in self.carriers.items():
            size, inside = self.size[index], (masks & carriers) != 0
            later = ((state.left & carriers & ~masks) != 0) | (index in self.network.outputs)
            if index in state.indices:
                rows *= size
                sizes["groups"] *= np.where(inside & later, size, 1)
                sizes["inner"] *= np.where(inside & ~later, size, 1)
            else:
                sizes["cols"] *= np.where(inside & later, size, 1)
        groups, inner, cols = sizes["groups"], sizes["inner"], sizes["cols"]
        rows = rows / (groups * inner)
        seconds = self._seconds(state, masks, groups, rows, inner, cols)
        seconds += self._making(masks, groups * inner * cols)
        return np.where(inner > 1, seconds, seconds * 4), groups * rows * cols

    def _seconds(self, state: _State, masks, groups, rows, inner, cols) -> np.ndarray:
        first = not state.groups
        if first and self.parts:
            sizes = (groups, rows, inner, self.parts * cols, 4 / self.dev.byte_speed)
        else:
            sizes = (groups, rows, inner, cols, self.itemsize)
        laid_out = np.where(self._is_trailing(state, masks), 0.0, groups * rows * inner)
        seconds = product_seconds(self.dev, *sizes)
        seconds = seconds + layout_seconds(self.dev, laid_out, self.itemsize)
        if self.mode == "train":
            seconds = seconds + backward_seconds(self.dev, *sizes, not first, laid_out)
        return seconds

    def _is_trailing(self, state: _State, masks: np.ndarray) -> np.ndarray:
        """Whether the indices that a group sums stand last in the running tensor."""
        trailing, summed_before = np.full(len(masks), True), np.full(len(masks), False)
        for index in state.indices[1:]:
            carriers = self.carriers[index]
            inside = (masks & carriers) != 0
            later = ((state.left & carriers & ~masks) != 0) | (index in self.network.outputs)
            trailing &= ~(inside & later) & (inside | ~summed_before)
            summed_before |= inside & ~later
        return trailing

    def _making(self, masks: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Seconds to multiply the cores of a group into one tensor of `size` numbers."""
        cores = np.zeros(len(masks))
        for k in range(len(self.operands)):
            cores += masks >> k & 1
        passes = 4.0 if self.mode == "infer" else 12.0
        work = passes * size * self.itemsize / self.dev.bandwidth + cores * self.dev.overhead
        return np.where(cores > 1, work, 0.0)

    def after(self, state: _State, mask: int, seconds: float) -> _State:
        """The state once the group `mask` is multiplied in."""
        left = state.left & ~mask
        order = (*state.indices, *self.group_indices(mask, state))
        kept = [i for i in dict.fromkeys(order) if self._needed(i, left)]
        return _State((*state.groups, mask), left, tuple(kept), seconds)

    def _needed(self, index: str, left: int) -> bool:
        if index == BATCH or index in self.network.outputs:
            return True
        return bool(self.carriers[index] & left)

    def group_indices(self, mask: int, state: _State) -> Indices:
        """Indices that a group brings: bonds to later cores first, then outputs."""
        carried = [
            i for k, (_, at) in enumerate(self.network.operands) if mask >> k & 1 for i in at
        ]
        new = [i for i in dict.fromkeys(carried) if self._needed(i, state.left & ~mask)]
        outputs = [i for i in self.network.outputs if i in new]
        return (*(i for i in new if i not in outputs), *outputs)


def grouped(problem: Problem, dev: Device) -> Iterator[tuple[str, list[Step]]]:
    """Steps of the groupings that the beam search likes best, with how they were found."""
    grouping = _Grouping(problem, dev)
    start = _State((), grouping.all, (BATCH, *problem.network.inputs), 0.0)
    done: dict[tuple[int, ...], float] = {}
    beam = [start]
    for _ in range(MAX_GROUPS):
        beam = _advance(grouping, beam, done)
    best = sorted(done, key=lambda groups: done[groups])[:8]
    for groups in best:
        yield f"groups of {_counts(groups)} cores", _steps_of_groups(grouping, start, groups)


def _advance(grouping: _Grouping, beam: list[_State], done: dict) -> list[_State]:
    """Extends every state of the beam by every group; finished ones go to `done`."""
    best: dict[tuple, tuple[float, _State]] = {}
    for state in beam:
        masks = grouping.groups(state)
        seconds, leaves = grouping.price(state, masks)
        total = state.seconds + seconds
        reach = total + 2 * leaves * grouping.itemsize / grouping.dev.bandwidth
        for n in np.argsort(reach, kind="stable")[:BEAM]:
            after = grouping.after(state, int(masks[n]), float(total[n]))
            _keep(best, (after.left, frozenset(after.indices)), float(reach[n]), after)
        whole = int(np.flatnonzero(masks == state.left)[0])
        done[(*state.groups, state.left)] = float(total[whole])
    ranked = sorted(best.values(), key=lambda pair: (pair[0], pair[1].groups))
    return [state for _, state in ranked if state.left][:BEAM]


def _keep(best: dict, key: tuple, reach: float, state: _State) -> None:
    if key not in best or reach < best[key][0]:
        best[key] = reach, state


def _counts(groups: tuple[int, ...]) -> str:
    return " + ".join(str(mask.bit_count()) for mask in groups)


def _steps_of_groups(grouping: _Grouping, state: _State, groups: tuple[int, ...]) -> list[Step]:
    running, steps = INPUT, []
    for n, mask in enumerate(groups):
        after = grouping.after(state, mask, 0.0)
        merged, made = _merge(grouping, mask, state, f"@v{n}")
        steps += made
        indices = {running: state.indices, merged: made[-1].indices if made else ()}
        if not made:
            indices[merged] = grouping.network.indices[merged]
        steps.append(step_of(running, merged, f"@t{n}", indices, set(after.indices)))
        running = f"@t{n}"
        state = dataclasses.replace(after, indices=steps[-1].indices)
    return steps


def _merge(grouping: _Grouping, mask: int, state: _State, name: str) -> tuple[str, list[Step]]:
    """Steps that multiply the cores of a group into one tensor, laid out for its product."""
    operands = {c: at for k, (c, at) in enumerate(grouping.network.operands) if mask >> k & 1}
    if len(operands) == 1:
        return next(iter(operands)), []
    wanted = _wanted(grouping, mask, state)
    path = group_path(tuple(operands.values()), wanted, grouping.size)
    steps = steps_of_path(operands, path, wanted)
    names = {step.out: f"{name}_{n}" for n, step in enumerate(steps)}
    steps = [
        Step(names.get(s.left, s.left), names.get(s.right, s.right), names[s.out], s.indices)
        for s in steps
    ]
    steps[-1] = dataclasses.replace(steps[-1], indices=wanted)
    return steps[-1].out, steps


def _wanted(grouping: _Grouping, mask: int, state: _State) -> Indices:
    """The group's indices: those shared with the running tensor in its order, then new ones."""
    carried = set().union(
        *(indices for k, (_, indices) in enumerate(grouping.network.operands) if mask >> k & 1)
    )
    shared = [i for i in state.indices if i in carried]
    left = state.left & ~mask
    new = [i for i in grouping.group_indices(mask, state) if i not in shared]
    return (
        *(i for i in shared if grouping._needed(i, left)),
        *(i for i in shared if not grouping._needed(i, left)),
        *new,
    )
