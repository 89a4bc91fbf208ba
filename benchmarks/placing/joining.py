"""Owns what becomes of a pod that joins a fleet in which nobody is too hot: how soon it has its share, at what cost."""

import numpy as np

from placing.figures import Verdict, print_table
from placing.fleet import UNOWNED, Fleet, Graph, Loads, Rows
from placing.ours import POLICY, applied, columns_of
from placing.scratch import largest_first
from placing.workloads import SIGMA
from subgraph.domain.planning.plan import plan_rebalance

SIZES = ((3_000, 30), (10_000, 100), (100_000, 1_000))
ROUNDS_MAX, ROUNDS_AFTER = 20, 1_000
# Where all pods are even, what one can spare is far lighter than an average tile: many are to be handed over.
FILLED_WITHIN = 10
SPARE = 1e-9


def compare_joining() -> list[Verdict]:
    """Add an empty pod to even fleets under a fixed load, and follow it."""
    rows, rounds_worst, taken_worst, given_worst, later_total = [], 0, 0.0, 1.0, 0
    for tiles, pods in SIZES:
        rng = np.random.default_rng(pods)
        load, graph = np.exp(rng.normal(0.0, SIGMA, tiles)), Graph.of_grid(tiles)
        nobody = np.full(tiles, UNOWNED, np.int32)
        owner = largest_first(_fleet(load, nobody, graph, pods))
        fleet = _fleet(load, owner, graph, pods + 1)
        filled, churn, least = [0.0], 0.0, 1.0
        for _ in range(ROUNDS_MAX):
            before, owner = owner, applied(fleet, plan_rebalance(columns_of(fleet), POLICY))
            churn += float(load[owner != before].sum())
            fleet = _fleet(load, owner, graph, pods + 1)
            utilization = fleet.pod_load(owner) / fleet.fair_share
            filled.append(float(utilization[-1]))
            gave = np.unique(before[owner != before])
            least = min(least, float(utilization[gave].min(initial=1.0)))
        later = 0
        for _ in range(ROUNDS_AFTER if tiles <= 10_000 else ROUNDS_MAX):
            later += plan_rebalance(columns_of(fleet), POLICY).tiles.size
        rounds = next(number for number, share in enumerate([*filled, np.inf]) if share >= POLICY.floor)
        taken = float(np.diff(filled).max())
        cost = churn / (filled[-1] * float(fleet.fair_share[-1]))
        rounds_worst, taken_worst = max(rounds_worst, rounds), max(taken_worst, taken)
        given_worst, later_total = min(given_worst, least), later_total + later
        shares = " ".join(f"{share:.2f}" for share in filled[1 : rounds + 2])
        rows.append(
            (f"{tiles:,} × {pods:,} + 1", shares, f"{filled[-1]:.3f}", f"{least:.3f}", f"{cost:.3f}", str(later))
        )
    print("\nA pod joins a fleet in which nobody is above the target (fixed load, largest first)")
    heads = (
        "tiles × pods",
        "its share after each round",
        "in the end",
        "least of who gave",
        "moved ÷ got",
        "moves later",
    )
    print_table(heads, rows)
    within = f"filled to {POLICY.floor:.2f} of its share within {FILLED_WITHIN} rounds"
    return [
        Verdict(f"a pod that joins: {within}", rounds_worst <= FILLED_WITHIN, f"{rounds_worst} rounds"),
        Verdict(
            "a pod that joins: never more of its share at once than the policy says",
            taken_worst <= POLICY.pod_filled_ratio_max + SPARE,
            f"at most {taken_worst:.3f} in a round",
        ),
        Verdict("a pod that joins: nobody gives of its own share", given_worst >= 1 - SPARE, f"{given_worst:.3f}"),
        Verdict("a pod that joins: 0 moves once it is filled", later_total == 0, f"{later_total} moves"),
    ]


def _fleet(load: Loads, owner: Rows, graph: Graph, pods: int) -> Fleet:
    movable, live = np.ones(load.size, np.bool_), np.ones(pods, np.bool_)
    return Fleet(np.arange(load.size), load, owner, movable, np.ones(pods), live, graph)
