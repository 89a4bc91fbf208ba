"""Owns the edges cut between neighbouring tiles, seeded and after a thousand drifting rounds, and their price."""

import numpy as np

from placing.figures import Verdict, print_table
from placing.fleet import UNOWNED, Cells, Fleet, Graph, Loads, Rows
from placing.judge import judge
from placing.ours import POLICY, ours
from placing.scratch import metis
from placing.workloads import disk, drifted, drifting

TILES, PODS = 10_000, 100
ROUNDS = 1_000
SEEDED_MAX, LATER_MAX = 1.25, 1.40
CHURN_MAX = 1.05
RELATIVE_TOLERANCE = 1e-9


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
    above = dict.fromkeys(owners, 0)
    for number in range(1, ROUNDS + 1):
        load = drifted(rng, load)
        for name, owner in owners.items():
            fleet = _fleet(cells, graph, load, owner)
            owners[name] = ours(fleet)
            score = judge(fleet, owners[name], POLICY, 0.0)
            # A tile that is heavier than a pod's target stays where it is; what it is over cannot move.
            churn[name] += score.churn
            bound[name] += score.bound - _beyond_reach(fleet, owner) if score.churn else 0.0
            allowed = max(POLICY.target if score.churn else POLICY.trigger, float(load.max()) / fleet.level)
            above[name] += score.peak > allowed * (1 + RELATIVE_TOLERANCE)
        if number in (1, 10, 100, ROUNDS):
            rows.append(_row(number, cells, graph, load, owners))
    print(f"\nEdges cut between neighbouring tiles, {TILES:,} tiles on {PODS} pods, over METIS from scratch at 1.05")
    heads = ("after rounds", "METIS", *(f"{name} ÷ METIS" for name in owners))
    print_table(
        heads, [(f"{number:,}", f"{cut:,}", f"{own:.2f}", f"{seeded:.2f}") for number, cut, own, seeded in rows]
    )
    for name in owners:
        words = f"churn ÷ bound {churn[name] / bound[name]:.3f}, {above[name]} rounds above the target"
        print(f"{name}: {words}; moved a round: {churn[name] / ROUNDS:.2%} of the load")
    seeded, later = rows[0][2], rows[-1][2]
    costliest = max(churn[name] / bound[name] for name in owners)
    return [
        Verdict(f"edges cut ≤ {SEEDED_MAX} × METIS when seeded", seeded <= SEEDED_MAX, f"{seeded:.2f}"),
        Verdict(f"edges cut ≤ {LATER_MAX} × METIS after {ROUNDS:,} rounds", later <= LATER_MAX, f"{later:.2f}"),
        Verdict(f"with neighbours: churn ≤ {CHURN_MAX} × bound", costliest <= CHURN_MAX, f"{costliest:.3f}"),
        Verdict(
            "with neighbours: max ≤ target where sizes allow",
            not any(above.values()),
            f"{sum(above.values())} of {ROUNDS * len(owners):,} rounds above",
        ),
    ]


def _begin(cells: Cells, graph: Graph, load: Loads) -> Rows:
    """Return our own start: what is placed from nothing, then a round of balancing."""
    placed = ours(_fleet(cells, graph, load, None))
    return ours(_fleet(cells, graph, load, placed))


def _beyond_reach(fleet: Fleet, owner: Rows) -> float:
    """Return the part of the bound that no set of tiles covers: what single tiles are over the target by themselves."""
    over = np.maximum(fleet.load - POLICY.target * fleet.fair_share[owner], 0.0)
    return float(over.sum() / fleet.load.sum())


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
