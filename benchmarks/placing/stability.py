"""Owns whether the planner comes to rest: under a fixed load, and without going to and fro under a drifting one."""

import numpy as np

from placing.figures import Verdict, print_table
from placing.fleet import Flags, Fleet, Graph, Loads, Rows
from placing.ours import POLICY, applied, columns_of
from placing.workloads import SIGMA, drifting
from subgraph.domain.planning.plan import plan_rebalance

ROUNDS_AFTER = 1_000
ROUNDS_MAX = 200
QUIET_WITHIN = 2
WITH_NEIGHBOURS = ", with neighbours"
COOL_DOWN_ROUNDS = 10
"""The shipped cool-down of 10 s, in cycles of 1 s."""


def compare_stability(*, full: bool) -> list[Verdict]:
    """Measure both, print them, and hold them against the bars."""
    fixed_verdict = _fixed_load(fleets=100 if full else 20)
    return [*fixed_verdict, _flapping(rounds=5_000 if full else 1_000)]


def _fixed_load(fleets: int) -> list[Verdict]:
    rows, unquiet_worst, later_total = [], 0, 0
    cases: list[tuple[int, int, int, Graph | None]] = [(700, 5, fleets, None), (10_000, 100, 3, None)]
    cases += [(tiles, pods, count, Graph.of_grid(tiles)) for tiles, pods, count, _ in cases]
    for tiles, pods, count, graph in cases:
        quiet_after, later, budget_rounds = [], 0, []
        for seed in range(count):
            rng = np.random.default_rng(1_000 + seed)
            load = np.exp(rng.normal(0.0, SIGMA, tiles))
            owner = rng.integers(0, pods, tiles).astype(np.int32)
            bound, unbound, owner = _until_quiet(load, owner, pods, graph)
            budget_rounds.append(bound)
            quiet_after.append(unbound)
            for _ in range(ROUNDS_AFTER):
                plan = plan_rebalance(columns_of(_fleet(load, owner, pods, graph)), POLICY)
                later += plan.tiles.size
                owner[plan.tiles] = plan.targets
        unquiet_worst, later_total = max(unquiet_worst, *quiet_after), later_total + later
        rows.append(
            (
                f"{tiles:,} × {pods:,}{WITH_NEIGHBOURS if graph else ''}",
                str(count),
                f"{np.median(budget_rounds):.0f} / {max(budget_rounds)}",
                f"{np.median(quiet_after):.0f} / {max(quiet_after)}",
                str(later),
            )
        )
    print("\nFixed load, from a random start")
    heads = ("tiles × pods", "fleets", "rounds a budget binds", "then rounds that move", "moves in 1,000 more")
    print_table(heads, rows)
    return [
        Verdict(
            f"fixed load: quiet ≤ {QUIET_WITHIN} rounds after budgets stop binding",
            unquiet_worst <= QUIET_WITHIN,
            f"at most {unquiet_worst} rounds that move",
        ),
        Verdict("fixed load: 0 moves over the next 1,000 rounds", later_total == 0, f"{later_total} moves"),
    ]


def _until_quiet(load: Loads, owner: Rows, pods: int, graph: Graph | None) -> tuple[int, int, Rows]:
    """Return the rounds in which a budget bound, the rounds after the last of them that moved, and the end."""
    bound = unbound = 0
    for _ in range(ROUNDS_MAX):
        fleet = _fleet(load, owner, pods, graph)
        plan = plan_rebalance(columns_of(fleet), POLICY)
        if not plan.tiles.size:
            break
        bound, unbound = (bound + 1 + unbound, 0) if plan.budget_bound else (bound, unbound + 1)
        owner = applied(fleet, plan)
    return bound, unbound, owner


def _flapping(rounds: int) -> Verdict:
    """Count the tiles that come back where they were, under drift, with the cool-down kept by the caller."""
    rows, within_total = [], 0
    for tiles, pods, graph in ((700, 5, None), (2_000, 20, None), (2_000, 20, Graph.of_grid(2_000))):
        loads = drifting(np.random.default_rng(tiles), tiles, rounds)
        owner = (np.arange(tiles) % pods).astype(np.int32)
        cooling_until, moved_at = np.zeros(tiles, np.int64), np.full(tiles, -(10**9))
        came_from = np.full(tiles, -1, np.int32)
        moves = within = soon = 0
        for number in range(rounds):
            fleet = _fleet(loads[number], owner, pods, graph, movable=cooling_until <= number)
            plan = plan_rebalance(columns_of(fleet), POLICY)
            back = plan.targets == came_from[plan.tiles]
            rest = number - moved_at[plan.tiles]
            within += int(np.count_nonzero(back & (rest < COOL_DOWN_ROUNDS)))
            soon += int(np.count_nonzero(back & (rest < 3 * COOL_DOWN_ROUNDS)))
            moves += plan.tiles.size
            came_from[plan.tiles], moved_at[plan.tiles] = plan.sources, number
            cooling_until[plan.tiles] = number + COOL_DOWN_ROUNDS
            owner = applied(fleet, plan)
        within_total += within
        name = f"{tiles:,} × {pods:,}{WITH_NEIGHBOURS if graph else ''}"
        rows.append((name, f"{rounds:,}", f"{moves:,}", str(within), str(soon)))
    print(f"\nDrifting load, with a cool-down of {COOL_DOWN_ROUNDS} rounds")
    heads = ("tiles × pods", "rounds", "moves", "A → B → A within it", "within three of it")
    print_table(heads, rows)
    return Verdict("drifting load: no A → B → A within the cool-down", within_total == 0, f"{within_total} of them")


def _fleet(load: Loads, owner: Rows, pods: int, graph: Graph | None, movable: Flags | None = None) -> Fleet:
    free = np.ones(load.size, np.bool_) if movable is None else movable
    return Fleet(np.arange(load.size), load, owner, free, np.ones(pods), np.ones(pods, np.bool_), graph)
