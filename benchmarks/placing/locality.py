"""Owns the edges cut between neighbouring tiles: after seeding, and after a thousand drifting rounds."""

import numpy as np

from placing.figures import Verdict, print_table
from placing.fleet import UNOWNED, Cells, Fleet, Graph, Loads, Rows, judge
from placing.ours import POLICY, ours
from placing.scratch import metis
from placing.workloads import disk, drifted, drifting

TILES, PODS = 10_000, 100
ROUNDS = 1_000
SEEDED_MAX, LATER_MAX = 1.25, 1.40


def compare_locality() -> list[Verdict]:
    """Follow the cut from two starts, our own and that of METIS, next to METIS from scratch on the same loads."""
    rng = np.random.default_rng(7)
    cells = disk(TILES)
    graph = Graph.of(cells)
    load = drifting(rng, TILES, 1)[0]
    owners = {"ours": _begin(cells, graph, load), "ours, from METIS": metis(_fleet(cells, graph, load, None))}
    rows = [_row(0, cells, graph, load, owners)]
    churn = dict.fromkeys(owners, 0.0)
    bound = dict.fromkeys(owners, 0.0)
    for number in range(1, ROUNDS + 1):
        load = drifted(rng, load)
        for name, owner in owners.items():
            fleet = _fleet(cells, graph, load, owner)
            owners[name] = ours(fleet)
            score = judge(fleet, owners[name], POLICY.target, 0.0)
            churn[name], bound[name] = churn[name] + score.churn, bound[name] + score.bound
        if number in (1, 10, 100, ROUNDS):
            rows.append(_row(number, cells, graph, load, owners))
    print(f"\nEdges cut between neighbouring tiles, {TILES:,} tiles on {PODS} pods, over METIS from scratch at 1.05")
    heads = ("after rounds", "METIS", *(f"{name} ÷ METIS" for name in owners))
    print_table(
        heads, [(f"{number:,}", f"{cut:,}", f"{own:.2f}", f"{seeded:.2f}") for number, cut, own, seeded in rows]
    )
    print("churn ÷ bound: " + ", ".join(f"{name} {churn[name] / bound[name]:.3f}" for name in owners))
    seeded, later = rows[0][2], rows[-1][2]
    return [
        Verdict(f"edges cut ≤ {SEEDED_MAX} × METIS when seeded", seeded <= SEEDED_MAX, f"{seeded:.2f}"),
        Verdict(f"edges cut ≤ {LATER_MAX} × METIS after {ROUNDS:,} rounds", later <= LATER_MAX, f"{later:.2f}"),
    ]


def _begin(cells: Cells, graph: Graph, load: Loads) -> Rows:
    """Return our own start: what is placed from nothing, then a round of balancing."""
    placed = ours(_fleet(cells, graph, load, None))
    return ours(_fleet(cells, graph, load, placed))


def _fleet(cells: Cells, graph: Graph, load: Loads, owner: Rows | None) -> Fleet:
    known = np.full(cells.size, UNOWNED, np.int32) if owner is None else owner
    return Fleet(cells, load, known, np.ones(cells.size, np.bool_), np.ones(PODS), np.ones(PODS, np.bool_), graph)


def _row(
    number: int, cells: Cells, graph: Graph, load: Loads, owners: dict[str, Rows]
) -> tuple[int, int, float, float]:
    """Return the edges METIS cuts on these loads, and how many times as many each of ours does."""
    cut = graph.edges_cut(metis(_fleet(cells, graph, load, None)))
    own, seeded = (graph.edges_cut(owner) / cut for owner in owners.values())
    return number, cut, own, seeded
