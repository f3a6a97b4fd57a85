"""The table of the papers, counted from real cells: `python experiments/tables.py [--json]`.

Parameters are counted in the arrays of the cells as built (without their memory), flops in the
planned contractions. The exit status is 1 if a count differs from one that was published.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from configs.systems import OTHERS, SYSTEMS, System

import ht_jax as ht
from ht_jax import schedule
from ht_jax.nn import RecurrentCell
from ht_jax.summary import cell_costs
from ht_jax.train import UserError, command
from ht_jax.train.table import print_table

BATCH, FRAMES = 16, 6  # 96 frames at once


def row(system: System) -> dict[str, Any]:
    """One line of the table, as plain data.

    Args:
        system: A system.

    Returns:
        Its published and its counted numbers; None where there are none.
    """
    cell, fmt = system.build(), system.fmt
    params = None if cell is None else _matrix_params(cell, system.place)
    dense = None if cell is None else _dense_params(cell, system.place)
    matched = None if None in (params, system.params) else params == system.params
    return {
        "system": system.name,
        "dataset": system.dataset,
        "cell": None if system.cell is None else system.cell.__name__.removesuffix("Cell"),
        "in_modes": None if fmt is None else fmt.in_modes,
        "out_modes": None if fmt is None else fmt.out_modes,
        "ranks": None if fmt is None else _ranks(fmt),
        "params": params,
        "published_params": system.params,
        "match": matched,
        "compression_ratio": dense / params if dense and params else None,
        "published_compression_ratio": system.ratio,
        "published_cr_reference": system.reference,
        "published_accuracy": system.accuracy,
        **_flops(cell),
        "note": system.note,
    }


def _ranks(fmt: ht.Format) -> dict[str, Any]:
    """The arguments of the format that are ranks, or numbers of terms."""
    names = [f.name for f in dataclasses.fields(fmt)]
    found = {n: getattr(fmt, n) for n in names if n.endswith("rank") or n == "terms"}
    return {name: value for name, value in found.items() if value is not None}


def _matrix_params(cell: RecurrentCell, place: str) -> int:
    """Numbers in the arrays of one matrix of a cell, without the bias."""
    cores = getattr(cell, place).cores
    return sum(math.prod(core.shape) for core in jax.tree.leaves(cores))


def _dense_params(cell: RecurrentCell, place: str) -> int:
    """Numbers of that matrix in the dense cell of the same kind."""
    rows = cell.in_features + (cell.hidden_features if place == "joint" else 0)
    return rows * cell.gates * cell.hidden_features


def _flops(cell: RecurrentCell | None) -> dict[str, float | None]:
    """Of one frame: both products of the cell, as planned for a batch, and those of a dense one."""
    names = ("flops_per_frame", "dense_flops_per_frame", "backward_flops_per_frame")
    if cell is None:
        return dict.fromkeys(names)
    costs = cell_costs(cell, BATCH, FRAMES)
    total = costs["input"] + costs["recurrent"]
    return dict(zip(names, (total.forward, 2.0 * _dense_params(cell, "joint"), total.backward)))


# The orders that the papers claim: d modes of sizes m and n, ranks r, N inputs, M outputs, C terms.
CLAIMS = {
    "dense": {"forward": "N M", "backward": "N M", "numbers": "N M"},
    "TT": {"forward": "d m r^2 N", "backward": "d^2 m r^4 N", "numbers": "d m n r^2"},
    "TR": {
        "forward": "d r^3 N + d r^3 M",
        "backward": "d^2 r^5 N + n d^2 r^5 M",
        "numbers": "d m n r^2",
    },
    "BT": {
        "forward": "d m r^d N C",
        "backward": "d^2 m r^d N C",
        "numbers": "d m n r + r^d",
    },
    "HT": {
        "forward": "d m r^2 N + d r^3 N",
        "backward": "d^2 m r^5 N + d^2 r^6 N",
        "numbers": "d m n r + d r^3",
    },
}
MAKERS: dict[str, Callable[[int, int, int, int], ht.Format]] = {
    "dense": lambda d, m, n, r: ht.Dense(m**d, n**d),
    "TT": lambda d, m, n, r: ht.TT((m,) * d, (n,) * d, r),
    "TR": lambda d, m, n, r: ht.TR((m,) * d, (n,) * d, r),
    "BT": lambda d, m, n, r: ht.BT((m,) * d, (n,) * d, r, 1),
    "HT": lambda d, m, n, r: ht.HT((m,) * d, (n,) * d, rank=r),
}
# d, m, n, r; the outputs stay M = 64, so n falls as d grows, and has an exponent of its own.
GRID = [(d, m, n, r) for d, n in ((2, 8), (3, 4), (6, 2)) for m in (4, 6, 8) for r in (2, 3, 4)]


def complexity() -> list[dict[str, Any]]:
    """Counted flops and numbers, and how they grow with d, m, n, r and N, beside the claims.

    The flops, of one row, are the fewest of all schedules found for 96 rows; the counts are those
    of the grid's last point. The exponents are fitted by least squares to logarithms, those of
    the claimed orders over the same grid.
    """
    points = [dict(zip("dmnrNMC", (d, m, n, r, m**d, n**d, 1))) for d, m, n, r in GRID]
    rows = []
    for name, claims in CLAIMS.items():
        counted = [_count(MAKERS[name](*point)) for point in GRID]
        for quantity, order in claims.items():
            found = [count[quantity] for count in counted]
            claimed = [_value(order, point) for point in points]
            rows.append({"system": name, "quantity": quantity, "claimed_order": order})
            rows[-1] |= {"counted": found[-1], "claimed": claimed[-1], "at": points[-1]}
            rows[-1] |= {"counted_growth": _exponents(points, found)}
            rows[-1] |= {"claimed_growth": _exponents(points, claimed)}
    return rows


def _count(fmt: ht.Format) -> dict[str, float]:
    rows = BATCH * FRAMES
    plans = schedule.ranked(fmt.problem(rows))
    return {
        "forward": min(plan.flops for plan in plans) / rows,
        "backward": min(plan.backward_flops for plan in plans) / rows,
        "numbers": fmt.num_params,
    }


def _value(order: str, at: Mapping[str, int]) -> float:
    """The value of an order, a sum of products of powers such as "d m r^2 N + d r^3 N"."""

    def power(factor: str) -> int:
        base, _, exponent = factor.partition("^")
        return at[base] ** (at[exponent] if exponent in at else int(exponent or 1))

    return sum(math.prod(map(power, term.split())) for term in order.split(" + "))


def _exponents(points: Sequence[Mapping[str, int]], values: Sequence[float]) -> dict[str, float]:
    """Exponents of d, m, n, r and N in the product of powers that is nearest to the values."""
    grid = np.log([[math.e, *(point[name] for name in "dmnrN")] for point in points])
    solution, *_ = np.linalg.lstsq(grid, np.log(np.array(values, float)), rcond=None)
    return {name: round(float(x), 2) + 0.0 for name, x in zip("dmnrN", solution[1:])}


@dataclasses.dataclass(frozen=True)
class Options:
    """Counts the systems of the papers and prints them beside the published numbers."""

    json: bool = False
    """Print the rows as JSON."""
    markdown: bool = False
    """Print the tables as Markdown."""
    latex: bool = False
    """Print the tables as LaTeX."""
    complexity: bool = False
    """Print how flops and numbers grow, beside what the papers claim, instead."""
    debug: bool = False
    """Show the traceback of an error."""

    @property
    def form(self) -> str:
        """How to print."""
        chosen = [name for name in ("json", "markdown", "latex") if getattr(self, name)]
        if len(chosen) > 1:
            raise UserError(f"--{' and --'.join(chosen)} exclude each other: pass one of them")
        return chosen[0] if chosen else "rich"


def tables(options: Options) -> list[str]:
    """Prints what the options ask for.

    Args:
        options: The command line.

    Returns:
        The systems whose count should match a published one and does not.
    """
    form = options.form
    rows = complexity() if options.complexity else [row(system) for system in SYSTEMS]
    if form == "json":
        print(json.dumps(rows, indent=1))
    elif options.complexity:
        at = ", ".join(f"{name} = {value:,}" for name, value in rows[0]["at"].items())
        print_table(form, f"Counts at {at}; exponents of d, m, n, r, N", *_growth_table(rows))
    else:
        print_table(form, "Systems of the papers", *_systems_table(rows))
        if form != "latex":
            print(_notes(rows))
        print_table(form, "Other work", ("work", "data", "accuracy", "input"), OTHERS)
    return [f"{r['system']} {r['dataset']}" for r in rows if r.get("match") is False]


def _notes(rows: Sequence[Mapping[str, Any]]) -> str:
    systems: dict[str, list[str]] = {}
    for r in rows:
        systems.setdefault(r["note"], []).append(f"{r['system']} {r['dataset']}")
    return "".join(f"- {', '.join(names)}: {note}\n" for note, names in systems.items() if note)


def _systems_table(rows: Sequence[Mapping[str, Any]]) -> tuple[Sequence[str], list[list[str]]]:
    header = "system,data,in modes,out modes,ranks,params,published,match,ratio,accuracy %"
    header = f"{header},Mflop a frame,backward,dense".split(",")
    return header, [_system_cells(r) for r in rows]


def _system_cells(r: Mapping[str, Any]) -> list[str]:
    ranks = ", ".join(f"{n.replace('_', ' ')} {_modes(v)}" for n, v in (r["ranks"] or {}).items())
    flops = (r[f"{kind}flops_per_frame"] for kind in ("", "backward_", "dense_"))
    return [
        *(r["system"], r["dataset"], _modes(r["in_modes"]), _modes(r["out_modes"]), ranks or "-"),
        *("-" if r[n] is None else f"{r[n]:,}" for n in ("params", "published_params")),
        {None: "-", True: "yes", False: "NO"}[r["match"]],
        *("-" if r["compression_ratio"] is None else f"{r['compression_ratio']:,.0f}",),
        *("-" if r["published_accuracy"] is None else f"{r['published_accuracy']:.1f}",),
        *("-" if count is None else f"{count / 1e6:,.2f}" for count in flops),
    ]


def _modes(modes: Any) -> str:
    if modes is None:
        return "-"
    return " ".join(map(str, modes)) if isinstance(modes, Sequence) else str(modes)


def _growth_table(rows: Sequence[Mapping[str, Any]]) -> tuple[Sequence[str], list[list[str]]]:
    header = ["system", "quantity", "claimed order"]
    for kind in ("counted", "claimed"):
        header += [kind, *(f"{name}^" for name in "dmnrN")]
    return header, [_growth_cells(r) for r in rows]


def _growth_cells(r: Mapping[str, Any]) -> list[str]:
    cells = [r["system"], r["quantity"], f"O({r['claimed_order']})"]
    for kind in ("counted", "claimed"):
        cells += [f"{r[kind]:,.0f}", *(f"{x:.2f}" for x in r[f"{kind}_growth"].values())]
    return cells


def main(args: Sequence[str]) -> int:
    """Prints as the command line says; returns the exit status."""
    wrong: list[str] = []

    def work() -> None:
        options = command.require_tyro().cli(Options, args=args)
        wrong.extend(tables(options))

    status = command.run(work, debug="--debug" in args)
    if wrong:
        print(f"error: counts differ from the published ones: {', '.join(wrong)}", file=sys.stderr)
    return status or int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
