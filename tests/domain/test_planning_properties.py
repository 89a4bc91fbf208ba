"""What holds for every fleet: the planner's invariants over random fleets, policies and sequences of rounds."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from subgraph.domain.planning.columns import UNOWNED, PlanningInput, known_loads
from subgraph.domain.planning.plan import MoveReason, Plan, SkipReason, plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy
from tests.support.planning_fleets import carried_out
from tests.support.random_fleets import fleets

POLICIES = st.builds(
    BalancePolicy,
    trigger=st.sampled_from((1.05, 1.07, 1.5)),
    target=st.sampled_from((1.0, 1.05)),
    load_moved_ratio_max=st.sampled_from((0.0, 0.1, 1.0, 10.0)),
    moves_max=st.sampled_from((0, 1, 5, 1_000)),
    evacuation_load_ratio_max=st.sampled_from((0.0, 0.1, 1.0)),
    evacuation_moves_max=st.sampled_from((0, 1, 1_000)),
    in_flight_max=st.sampled_from((0, 10, 1_000)),
    in_flight_ratio_max=st.just(0.0),
    paused=st.sampled_from((False, False, False, True)),
)


def moved_by(plan: Plan, reason: MoveReason) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.flatnonzero(plan.reasons == reason)


@given(fleets(), POLICIES)
def test_every_move_is_lawful(columns: PlanningInput, policy: BalancePolicy) -> None:
    plan = plan_rebalance(columns, policy)
    receives = columns.pod_accepts & ~columns.pod_evacuates
    assert np.unique(plan.tiles).size == plan.tiles.size, "a tile has one target at most"
    assert not np.intersect1d(plan.tiles, plan.unplaceable_tiles).size
    assert np.all(receives[plan.targets])
    assert np.all(plan.sources == columns.tile_pod[plan.tiles])
    assert np.all(plan.sources != plan.targets)
    owned = plan.sources != UNOWNED
    assert np.all(columns.tile_movable[plan.tiles[owned]])
    assert np.all((plan.reasons == MoveReason.PLACED) == ~owned)
    assert np.all(columns.pod_evacuates[plan.sources[plan.reasons == MoveReason.EVACUATED]])
    assert not np.any(columns.pod_evacuates[plan.sources[plan.reasons == MoveReason.BALANCED]])
    assert (plan.skip is None) == (plan.tiles.size > 0)
    counts = [np.bincount(tile_pod[tile_pod != UNOWNED], minlength=receives.size)
              for tile_pod in (columns.tile_pod, carried_out(columns, plan).tile_pod)]  # fmt: skip
    assert np.all(counts[1] <= np.maximum(counts[0], columns.pod_tiles_max))


@given(fleets(), POLICIES)
def test_every_unowned_tile_is_placed_or_reported(columns: PlanningInput, policy: BalancePolicy) -> None:
    plan = plan_rebalance(columns, policy)
    unowned = np.flatnonzero(columns.tile_pod == UNOWNED)
    placed = plan.tiles[plan.reasons == MoveReason.PLACED]
    reported = plan.unplaceable_tiles[columns.tile_pod[plan.unplaceable_tiles] == UNOWNED]
    assert np.array_equal(np.sort(np.concatenate((placed, reported))), unowned)
    assert (plan.before.unassigned_tiles, plan.after.unassigned_tiles) == (unowned.size, reported.size)
    if reported.size:
        counts = np.bincount(carried_out(columns, plan).tile_pod + 1, minlength=columns.pod_capacity.size + 1)[1:]
        open_pods = columns.pod_accepts & (counts < columns.pod_tiles_max)
        assert not open_pods.any() or plan.churn > 0, "a pod with a free slot would have done"


@given(fleets(), POLICIES)
def test_budgets_hold(columns: PlanningInput, policy: BalancePolicy) -> None:
    plan = plan_rebalance(columns, policy)
    total, tiles = float(known_loads(columns.tile_load).sum()), columns.tile_load.size
    evacuated, balanced = moved_by(plan, MoveReason.EVACUATED), moved_by(plan, MoveReason.BALANCED)
    assert evacuated.size <= max(policy.evacuation_moves_max, int(policy.evacuation_moves_ratio_max * tiles))
    assert balanced.size <= max(policy.moves_max, int(policy.moves_ratio_max * tiles))
    assert evacuated.size + balanced.size <= max(0, policy.in_flight_max - columns.tiles_in_flight)
    # One move, or one swap, may be heavier than the whole budget, and is the only one then; or what moves in its stead.
    heaviest_two = np.sort(known_loads(columns.tile_load))[-2:].sum() * (1 + 1e-9)
    evacuated_load, balanced_load = plan.loads[evacuated].sum(), plan.loads[balanced].sum()
    assert evacuated_load <= policy.evacuation_load_ratio_max * total * (1 + 1e-9) or evacuated.size <= 1
    assert balanced_load <= max(policy.load_moved_ratio_max * total * (1 + 1e-9), heaviest_two)
    if policy.paused:
        assert evacuated.size + balanced.size == 0


@given(fleets(healthy=True), POLICIES)
def test_balancing_makes_nothing_worse(columns: PlanningInput, policy: BalancePolicy) -> None:
    after = carried_out(columns, plan_rebalance(columns, policy))
    load, capacity = known_loads(columns.tile_load), columns.pod_capacity
    peak_before, peak_after = (
        float((np.bincount(pods, weights=load, minlength=capacity.size) / capacity).max())
        for pods in (columns.tile_pod, after.tile_pod)
    )
    assert peak_after <= peak_before * (1 + 1e-9)


@settings(deadline=None)
@given(fleets(), POLICIES)
def test_a_fixed_load_comes_to_rest_for_ever(columns: PlanningInput, policy: BalancePolicy) -> None:
    for _ in range(200):
        plan = plan_rebalance(columns, policy)
        if not plan.tiles.size:
            break
        columns = carried_out(columns, plan)
    assert plan.skip is not None
    assert plan.churn == 0.0
    again = plan_rebalance(columns, policy)
    assert (again.skip, again.tiles.size) == (plan.skip, 0)
    if plan.skip is SkipReason.BALANCED and not policy.paused:
        draining = columns.pod_evacuates[columns.tile_pod] & columns.tile_movable & (columns.tile_pod != UNOWNED)
        assert not draining.any()


@given(fleets(healthy=True))
def test_a_balanced_verdict_is_true(columns: PlanningInput) -> None:
    policy = BalancePolicy()
    ready = replace(columns, pod_accepts=np.ones_like(columns.pod_accepts))
    plan = plan_rebalance(ready, policy)
    if plan.skip is SkipReason.BALANCED:
        assert plan.before.imbalance <= policy.target * (1 + 1e-6)
        assert plan.churn_lower_bound == 0.0
    elif plan.skip is SkipReason.WITHIN_HYSTERESIS:
        assert policy.target < plan.before.imbalance <= policy.trigger * (1 + 1e-6)
    elif plan.skip is None:
        assert plan.before.imbalance > policy.trigger * (1 - 1e-6)
