"""An emergency: what has no owner or drains goes elsewhere at once, by hard constraints only; all else stays."""

from dataclasses import replace

import numpy as np
from hypothesis import given

from subgraph.domain.planning.columns import UNOWNED, PlanningInput
from subgraph.domain.planning.plan import MoveReason, SkipReason, plan_rebalance
from tests.support.planning_fleets import POLICY, carried_out, fleet
from tests.support.random_fleets import fleets

TIGHT = replace(
    POLICY, evacuation_moves_max=1, evacuation_moves_ratio_max=0.0, in_flight_max=1, in_flight_ratio_max=0.0
)
EMERGENCY = replace(TIGHT, emergency=True)


def test_a_draining_pod_is_emptied_at_once_whatever_the_budgets_say() -> None:
    columns = replace(fleet([5] * 40, [0] * 40, [1, 1, 1], draining=[0]), tiles_in_flight=100)
    assert plan_rebalance(columns, TIGHT).tiles.size == 0
    plan = plan_rebalance(columns, EMERGENCY)
    assert (plan.tiles.size, set(plan.reasons.tolist()), plan.budget_bound) == (40, {MoveReason.EVACUATED}, False)


def test_nothing_moves_for_balance_or_for_a_rule() -> None:
    columns = fleet([5, 5, 5, 5, 1], [0, 0, 0, 0, 1], [1, 1])
    assert plan_rebalance(columns, POLICY).tiles.size
    plan = plan_rebalance(columns, EMERGENCY)
    assert (plan.tiles.size, plan.skip) == (0, SkipReason.NO_EMERGENCY)
    pinned = replace(columns, tile_pin=np.array([UNOWNED] * 4 + [0], np.int32))
    assert plan_rebalance(pinned, EMERGENCY).skip is SkipReason.NO_EMERGENCY


@given(fleets())
def test_an_emergency_leaves_no_tile_where_it_cannot_stay_if_there_is_a_place_and_moves_no_other(
    columns: PlanningInput,
) -> None:
    plan = plan_rebalance(columns, EMERGENCY)
    homeless = columns.tile_pod == UNOWNED
    draining = ~homeless & np.append(columns.pod_evacuates, False)[columns.tile_pod] & columns.tile_movable
    assert np.all((homeless | draining)[plan.tiles])
    after = carried_out(columns, plan)
    counts = np.bincount(after.tile_pod + 1, minlength=columns.pod_capacity.size + 1)[1:]
    is_open = columns.pod_accepts & ~columns.pod_evacuates & (counts < columns.pod_tiles_max)
    left = np.setdiff1d(np.flatnonzero(homeless | draining), plan.tiles)
    assert not left.size or not is_open.any()
    assert set(left.tolist()) <= set(plan.unplaceable_tiles.tolist())
