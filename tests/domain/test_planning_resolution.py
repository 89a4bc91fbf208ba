"""Which tiles split and which siblings merge in a round, why others do not, and what the round leaves alone for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraph.domain.planning.columns import PlanningInput
from subgraph.domain.planning.plan import Plan, SkipReason, plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.reasons import UnsplitReason
from subgraph.domain.planning.resolution import MAY_SPLIT, PARTS_MAX, Divisions, ResolutionPolicy, split_load
from subgraph.domain.planning.standing import Standing
from tests.support.planning_fleets import POLICY, fleet

RESOLUTION = ResolutionPolicy()


def divisions(
    columns: PlanningInput,
    families: Sequence[Sequence[int]] = (),
    whole: Mapping[int, UnsplitReason] | None = None,
    rests: Sequence[int] = (),
) -> Divisions:
    """All tiles may split but for those that stay whole for a reason; these families may merge."""
    obstacles = np.full(columns.tile_load.size, MAY_SPLIT, np.int8)
    for tile, reason in (whole or {}).items():
        obstacles[tile] = reason
    return Divisions(
        tile_obstacle=obstacles,
        family_offsets=np.cumsum([0, *map(len, families)], dtype=np.int64),
        family_tiles=np.array([tile for family in families for tile in family], np.int32),
        pod_rests=np.isin(np.arange(columns.pod_capacity.size), rests),
    )


def planned(
    columns: PlanningInput, policy: BalancePolicy = POLICY, resolution: ResolutionPolicy = RESOLUTION, **given: Any
) -> Plan:
    return plan_rebalance(columns, policy, divisions(columns, **given), resolution)


def split_of(plan: Plan) -> list[int]:
    return [int(tile) for tile in plan.splitting.tiles]


def refused(plan: Plan) -> dict[int, UnsplitReason]:
    pairs = zip(plan.splitting.refused.tolist(), plan.splitting.reasons.tolist(), strict=True)
    return {tile: UnsplitReason(reason) for tile, reason in pairs}


def threshold(columns: PlanningInput, **policy: Any) -> float:
    return split_load(Standing.of(columns), 1.05, ResolutionPolicy(**policy))


# The load above which a tile splits.


def test_what_no_pod_can_bear_well_splits() -> None:
    # Two pods bear 100 in all, evenly 50: twice that share is more than a pod should bear.
    assert threshold(fleet([60.0, 40.0], [0, 1], [100.0, 100.0])) == pytest.approx(80.0)
    assert threshold(fleet([60.0, 40.0], [0, 1], [100.0, 300.0])) == pytest.approx(2 * 1.05 * 50)
    assert threshold(fleet([300.0, 40.0], [0, 1], [100.0, 300.0])) == pytest.approx(0.8 * 300)


def test_what_is_twice_the_mean_share_splits() -> None:
    evenly = fleet([10.0] * 10, range(10), [100.0] * 10)
    assert threshold(evenly) == pytest.approx(2 * 1.05 * 10)
    assert threshold(evenly, share_ratio=3) == pytest.approx(3 * 1.05 * 10)


def test_what_is_lighter_than_a_tenth_of_a_pod_never_splits() -> None:
    assert threshold(fleet([0.1] * 10, range(10), [100.0] * 10)) == pytest.approx(10.0)
    assert threshold(fleet([0.0] * 10, range(10), [100.0] * 10)) == pytest.approx(10.0)


def test_what_fits_the_share_of_the_largest_pod_stays_whole() -> None:
    # The large pod's fair share is 1,000 of 2,800 in all; twice the mean share is only 210.
    columns = fleet([100.0] * 10, [0] * 10, [1_000.0, *[200.0] * 9])
    assert threshold(columns) == pytest.approx(1.05 * 1_000 * 1_000 / 2_800)


def test_only_pods_that_accept_tiles_count() -> None:
    assert threshold(fleet([60.0, 40.0], [0, 1], [100.0, 300.0], cordoned=[1])) == pytest.approx(80.0)
    assert threshold(fleet([60.0], [0], [100.0], cordoned=[0])) == float("inf")


def test_where_all_pods_are_beyond_their_capacity_the_bound_rises_with_the_load() -> None:
    # Ten pods of 100 with 4,000 in all: finer tiles would not help them.
    assert threshold(fleet([400.0] * 10, range(10), [100.0] * 10)) == pytest.approx(0.8 * 100 * 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"merge_ratio": 0.51},
        {"merge_ratio": -0.1},
        {"share_ratio": 0.9},
        {"floor_ratio": 0.0},
        {"floor_ratio": 0.9},
        {"splits_max": -1},
        {"finer_max": -1},
        {"merge_after_ms": -1},
    ],
)
def test_a_policy_that_would_flap_or_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|cannot"):
        ResolutionPolicy(**wrong)


# Splits.


def test_the_hottest_split_first_as_many_as_a_round_may() -> None:
    loads = [90.0, 95.0, 85.0, 99.0, 1.0]
    plan = planned(fleet(loads, [0, 1, 2, 3, 4], [100.0] * 5), resolution=ResolutionPolicy(splits_max=2))
    assert split_of(plan) == [3, 1]
    assert refused(plan) == dict.fromkeys((0, 2), UnsplitReason.BUDGET_EXHAUSTED)
    assert plan.skip is None


def test_what_forbids_a_split_is_said_and_uses_up_no_budget() -> None:
    columns = fleet([99.0, 95.0, 90.0, 5.0], [0, 1, 2, 0], [100.0] * 3)
    whole = {0: UnsplitReason.FINEST_RESOLUTION, 1: UnsplitReason.PINNED, 3: UnsplitReason.NOT_SETTLED}
    plan = planned(columns, resolution=ResolutionPolicy(splits_max=1), whole=whole)
    assert split_of(plan) == [2]
    assert refused(plan) == {0: UnsplitReason.FINEST_RESOLUTION, 1: UnsplitReason.PINNED}


def test_no_pod_gets_more_tiles_than_it_may_have_by_splits() -> None:
    columns = fleet([90.0, 85.0, 90.0], [0, 0, 1], [100.0] * 5, tiles_max=2 + PARTS_MAX - 1)
    plan = planned(columns)
    assert split_of(plan) == [0, 2]
    assert refused(plan) == {1: UnsplitReason.POD_FULL}


def test_no_tile_splits_for_a_load_that_nobody_reported() -> None:
    # Estimated at the mean of the others, it would be hot.
    plan = planned(fleet([90.0, 90.0, float("nan")], [0, 1, 2], [100.0] * 3))
    assert split_of(plan) == [0, 1]
    assert refused(plan) == {}


def test_a_tile_on_its_way_off_a_draining_pod_splits_where_it_comes_to() -> None:
    plan = planned(fleet([90.0, 1.0], [0, 1], [100.0, 100.0], draining=[0]))
    assert (split_of(plan), refused(plan)) == ([], {0: UnsplitReason.NOT_SETTLED})
    assert plan.tiles.tolist() == [0]


def test_a_tile_that_was_just_moved_may_split_where_it_is() -> None:
    assert split_of(planned(fleet([90.0, 1.0], [0, 1], [100.0, 100.0], pinned=[0]))) == [0]


def test_a_cordoned_pods_tile_splits_too() -> None:
    assert split_of(planned(fleet([90.0, 1.0], [0, 1], [100.0, 100.0], cordoned=[0]))) == [0]


def test_nobody_makes_room_for_what_is_about_to_leave() -> None:
    # Without the split, the light tiles would go to the other pod one by one.
    columns = fleet([90.0, *[5.0] * 6], [0] * 7, [100.0, 100.0])
    assert len(plan_rebalance(columns, POLICY).tiles) > 0
    plan = planned(columns)
    assert (split_of(plan), plan.tiles.tolist()) == ([0], [])
    # The same while nobody has said yet that he works on the parts.
    light = fleet([15.0] * 6, [0] * 6, [100.0, 100.0])
    assert planned(light, rests=[0]).tiles.tolist() == []
    assert len(planned(light).tiles) > 0


def test_what_is_paused_or_an_emergency_splits_and_merges_nothing() -> None:
    columns = fleet([95.0, *[0.0] * 7], [0] * 8, [100.0, 100.0])
    for policy in (BalancePolicy(paused=True), BalancePolicy(emergency=True)):
        plan = planned(columns, policy, families=[range(1, 8)])
        assert (split_of(plan), plan.merging.tolist(), refused(plan)) == ([], [], {})


def test_splits_wait_for_handoffs_under_way() -> None:
    columns = fleet([95.0, 1.0], [0, 1], [100.0, 100.0], in_flight=5)
    plan = planned(columns, BalancePolicy(in_flight_max=5, in_flight_ratio_max=0.0))
    assert refused(plan) == {0: UnsplitReason.BUDGET_EXHAUSTED}


# Merges.


def test_cold_siblings_on_one_pod_merge_the_coldest_first() -> None:
    columns = fleet([0.2] * 7 + [0.1] * 7 + [5.0] * 7 + [34.3], [0] * 7 + [1] * 14 + [0], [100.0, 100.0])
    families = [range(7), range(7, 14), range(14, 21)]
    plan = planned(columns, families=families)
    assert plan.merging.tolist() == [1, 0]
    assert planned(columns, families=families, resolution=ResolutionPolicy(merges_max=1)).merging.tolist() == [1]


def test_siblings_merge_up_to_an_eighth_of_what_would_split_them() -> None:
    for load, expected in ((0.99, [0]), (1.01, [])):
        columns = fleet([load * 80 / 8 / 7] * 7 + [75.0] * 2, [0] * 7 + [0, 1], [100.0, 100.0])
        assert threshold(columns) == pytest.approx(80.0)
        assert planned(columns, families=[range(7)]).merging.tolist() == expected


def test_siblings_apart_do_not_merge() -> None:
    assert planned(fleet([0.0] * 7, [0] * 6 + [1], [100.0, 100.0]), families=[range(7)]).merging.tolist() == []


def test_siblings_of_which_one_never_reported_do_not_merge() -> None:
    columns = fleet([0.0] * 6 + [float("nan")], [0] * 7, [100.0, 100.0])
    assert planned(columns, families=[range(7)]).merging.tolist() == []


def test_siblings_that_this_plan_moves_do_not_merge() -> None:
    columns = fleet([0.0] * 7, [0] * 7, [100.0, 100.0], draining=[0])
    plan = planned(columns, families=[range(7)])
    assert plan.targets.tolist() == [1] * 7
    assert plan.merging.tolist() == []


def test_a_plan_that_only_merges_is_not_one_that_does_nothing() -> None:
    plan = planned(fleet([0.0] * 7, [0] * 7, [100.0]), families=[range(7)])
    assert (plan.merging.tolist(), plan.skip, plan.tiles.size) == ([0], None, 0)
    assert planned(fleet([0.0] * 7, [0] * 7, [100.0])).skip is SkipReason.BALANCED


# Any fleet.


@st.composite
def divided(draw: st.DrawFn) -> tuple[PlanningInput, dict[str, Any]]:
    pods = draw(st.integers(1, 4))
    families = draw(st.integers(0, 3))
    others = draw(st.integers(0, 12))
    tiles = 7 * families + others
    load = st.one_of(st.just(0.0), st.floats(0, 300), st.just(float("nan")))
    owners = draw(st.lists(st.integers(0, pods - 1), min_size=families + others, max_size=families + others))
    owner = [pod for pod in owners[:families] for _ in range(7)] + owners[families:]
    columns = fleet(
        draw(st.lists(load, min_size=tiles, max_size=tiles)),
        owner,
        draw(st.lists(st.sampled_from((50.0, 100.0)), min_size=pods, max_size=pods)),
        draining=draw(st.lists(st.integers(0, pods - 1), max_size=1)),
        tiles_max=draw(st.sampled_from((10, 20, 10**6))),
    )
    reasons = st.dictionaries(st.integers(0, max(0, tiles - 1)), st.sampled_from(UnsplitReason), max_size=3)
    whole = draw(reasons) if tiles else {}
    return columns, {"families": [range(7 * n, 7 * n + 7) for n in range(families)], "whole": whole}


@given(divided(), st.sampled_from((0.125, 0.5)))
def test_no_tile_has_two_things_done_to_it_and_every_hot_one_is_told_of(
    world: tuple[PlanningInput, dict[str, Any]], merge_ratio: float
) -> None:
    columns, given_divisions = world
    resolution = ResolutionPolicy(merge_ratio=merge_ratio)
    plan = planned(columns, resolution=resolution, **given_divisions)
    merged = [tile for family in plan.merging.tolist() for tile in range(7 * family, 7 * family + 7)]
    done = [*plan.tiles.tolist(), *split_of(plan), *merged]
    assert len(set(done)) == len(done)
    limit = split_load(Standing.of(columns), POLICY.target, resolution)
    hot = np.flatnonzero(np.nan_to_num(columns.tile_load) > limit).tolist()
    assert sorted([*split_of(plan), *refused(plan)]) == hot
    assert len(split_of(plan)) <= resolution.splits_max
    for family in plan.merging.tolist():
        load = columns.tile_load[7 * family : 7 * family + 7].sum()
        assert load <= merge_ratio * limit <= limit / 2
    counts = np.bincount(columns.tile_pod, minlength=columns.pod_capacity.size)
    more = np.bincount(columns.tile_pod[plan.splitting.tiles], minlength=counts.size) * (PARTS_MAX - 1)
    assert np.all((counts + more <= columns.pod_tiles_max) | (more == 0))
