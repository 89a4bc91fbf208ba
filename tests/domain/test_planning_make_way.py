"""Others make way where rules leave tiles without a slot: as many find a place as there can, and hard rules hold."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from subgraph.domain.planning.columns import NO_LIMIT, UNOWNED, PlanningInput
from subgraph.domain.planning.plan import MoveReason, Plan, plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy
from tests.support.planning_fleets import POLICY, UNBOUNDED, carried_out, fleet


def ruled(columns: PlanningInput, groups: list[int], allows: list[list[int]], limits: list[int]) -> PlanningInput:
    return replace(
        columns,
        tile_group=np.array(groups, np.int32),
        group_allows=np.array(allows, np.bool_),
        pod_tiles_max=np.array(limits, np.int64),
    )


def by_reason(plan: Plan) -> dict[int, tuple[int, str]]:
    """Tiles with where they go, and why."""
    reasons = [MoveReason(reason).name for reason in plan.reasons.tolist()]
    return {
        tile: (target, why)
        for tile, target, why in zip(plan.tiles.tolist(), plan.targets.tolist(), reasons, strict=True)
    }


ANY, ONLY_0 = [1, 1], [1, 0]
CALM = replace(POLICY, trigger=9.0, floor=0.0)


def test_a_tile_that_could_be_elsewhere_makes_way_for_one_that_could_not() -> None:
    columns = ruled(fleet([1, 3, 2], [UNOWNED, 0, 0], [9, 9]), [1, 0, 0], [ANY, ONLY_0], [2, 9])
    # The lighter one goes: that is less to hand over.
    plan = plan_rebalance(columns, CALM)
    assert by_reason(plan) == {0: (0, "PLACED"), 2: (1, "REPAIRED")}


def test_way_is_made_over_several_pods() -> None:
    allows = [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    columns = ruled(fleet([1, 1, 1], [UNOWNED, 0, 1], [9, 9, 9]), [0, 1, 2], allows, [1, 1, 1])
    assert by_reason(plan_rebalance(columns, POLICY)) == {
        0: (0, "PLACED"),
        1: (1, "REPAIRED"),
        2: (2, "REPAIRED"),
    }


def test_what_this_round_places_anyway_goes_elsewhere_at_no_cost() -> None:
    # Dealt by itself the first group would take the pod that the last one needs.
    allows = [[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 0, 0]]
    columns = ruled(fleet([4, 3, 2], [UNOWNED] * 3, [1, 1, 1]), [0, 1, 2], allows, [1, 1, 1])
    broke = replace(POLICY, repair_moves_max=0, repair_moves_ratio_max=0.0)
    plan = plan_rebalance(columns, broke)
    assert (plan.unplaceable_tiles.size, sorted(plan.targets.tolist())) == (0, [0, 1, 2])


def test_no_owner_makes_way_beyond_the_budget_in_a_pause_or_in_an_emergency() -> None:
    columns = ruled(fleet([1, 3, 2], [UNOWNED, 0, 0], [9, 9]), [1, 0, 0], [ANY, ONLY_0], [2, 9])
    for policy in (
        replace(CALM, repair_moves_max=0, repair_moves_ratio_max=0.0),
        replace(CALM, paused=True),
        replace(CALM, emergency=True),
    ):
        plan = plan_rebalance(columns, policy)
        assert (plan.tiles.tolist(), plan.unplaceable_tiles.tolist()) == ([], [0])


def test_way_is_made_for_a_pinned_tile_and_for_one_that_leaves_a_draining_pod() -> None:
    pinned = ruled(fleet([1, 1], [UNOWNED, 0], [9, 9]), [0, 0], [ANY], [1, 1])
    pinned = replace(pinned, tile_pin=np.array([0, UNOWNED], np.int32))
    assert by_reason(plan_rebalance(pinned, POLICY)) == {0: (0, "PLACED"), 1: (1, "REPAIRED")}
    draining = fleet([1, 1], [2, 0], [9, 9, 9], draining=[2])
    draining = ruled(draining, [1, 0], [[1, 1, 1], [1, 0, 0]], [1, 1, 9])
    assert by_reason(plan_rebalance(draining, POLICY)) == {0: (0, "EVACUATED"), 1: (1, "REPAIRED")}


def test_nothing_makes_way_for_nothing() -> None:
    full = ruled(fleet([1, 1, 1], [UNOWNED, 0, 1], [9, 9]), [1, 0, 0], [ANY, ONLY_0], [1, 1])
    assert plan_rebalance(full, POLICY).tiles.size == 0
    stuck = ruled(fleet([1, 1], [UNOWNED, 0], [9, 9], pinned=[1]), [1, 0], [ANY, ONLY_0], [1, 9])
    assert plan_rebalance(stuck, POLICY).tiles.size == 0


# ── Whatever the rules ────────────────────────────────────────────────────────────────────────────────────────────

PODS_MAX, TILES_MAX, GROUPS = 5, 16, 4


@st.composite
def lawful_fleets(draw: st.DrawFn) -> PlanningInput:
    """Draw a fleet with labels, forbidden pods, pins, cordons, drains and limits; nothing is where it may not be."""
    pods, tiles = draw(st.integers(1, PODS_MAX)), draw(st.integers(1, TILES_MAX))
    statuses = st.sampled_from(("ready", "ready", "ready", "cordoned", "draining"))
    status = draw(st.lists(statuses, min_size=pods, max_size=pods))
    row = st.lists(st.booleans(), min_size=pods, max_size=pods)
    allows = np.array(draw(st.lists(row, min_size=GROUPS, max_size=GROUPS)), np.bool_)
    groups, pins, owners = [], [], []
    for _ in range(tiles):
        group = draw(st.integers(0, GROUPS - 1))
        open_pods = np.flatnonzero(allows[group]).tolist()
        pin = draw(st.sampled_from([UNOWNED, UNOWNED, UNOWNED, *open_pods]))
        groups.append(group)
        pins.append(pin)
        owners.append(draw(st.sampled_from([UNOWNED, pin] if pin != UNOWNED else [UNOWNED, *open_pods])))
    counts = np.bincount(np.array(owners) + 1, minlength=pods + 1)[1:]
    room = draw(st.lists(st.sampled_from((0, 1, 2, NO_LIMIT)), min_size=pods, max_size=pods))
    columns = fleet(
        draw(st.lists(st.integers(0, 9), min_size=tiles, max_size=tiles)),
        owners,
        [10.0] * pods,
        pinned=draw(st.lists(st.integers(0, tiles - 1), max_size=2)),
        cordoned=[pod for pod, one in enumerate(status) if one == "cordoned"],
        draining=[pod for pod, one in enumerate(status) if one == "draining"],
    )
    limits = [min(NO_LIMIT, count + more) for count, more in zip(counts.tolist(), room, strict=True)]
    return replace(ruled(columns, groups, allows.tolist(), limits), tile_pin=np.array(pins, np.int32))


def places(columns: PlanningInput, tile: int) -> list[int]:
    """The pods that a tile may come to."""
    assert columns.group_allows is not None
    assert columns.tile_group is not None
    assert columns.tile_pin is not None
    pods = np.flatnonzero(columns.group_allows[columns.tile_group[tile]] & columns.pod_accepts & ~columns.pod_evacuates)
    pin = columns.tile_pin[tile]
    return [pod for pod in pods.tolist() if pin in (UNOWNED, pod)]


def placeable_at_most(columns: PlanningInput) -> int:
    """How many of the tiles that need a place can have one at once: a largest matching, searched for from scratch."""
    receives = columns.pod_accepts & ~columns.pod_evacuates
    needy = [t for t in range(columns.tile_load.size) if _needs_place(columns, t)]
    pin = columns.tile_pin
    assert pin is not None
    others = [
        t
        for t in range(columns.tile_load.size)
        if t not in needy and columns.tile_movable[t] and receives[columns.tile_pod[t]] and pin[t] == UNOWNED
    ]
    immovable = [t for t in range(columns.tile_load.size) if t not in needy and t not in others]
    slots = columns.pod_tiles_max.copy()
    for tile in immovable:
        slots[columns.tile_pod[tile]] -= 1
    holders: dict[int, list[int]] = {}

    def find(tile: int, seen: set[int]) -> bool:
        for pod in places(columns, tile):
            if pod in seen:
                continue
            seen.add(pod)
            held = holders.setdefault(pod, [])
            if len(held) < slots[pod]:
                held.append(tile)
                return True
            for other in held:
                if find(other, seen):
                    held.remove(other)
                    held.append(tile)
                    return True
        return False

    for tile in others:
        assert find(tile, set()), "they all have a place"
    return sum(find(tile, set()) for tile in needy)


def _needs_place(columns: PlanningInput, tile: int) -> bool:
    pod = columns.tile_pod[tile]
    return bool(pod == UNOWNED or (columns.pod_evacuates[pod] and columns.tile_movable[tile]))


WITHOUT_BOUNDS: BalancePolicy = replace(UNBOUNDED, repair_load_ratio_max=1e9, trigger=1e9, target=1.0)


@given(lawful_fleets())
def test_all_that_can_be_placed_is_placed_and_no_move_breaks_a_rule(columns: PlanningInput) -> None:
    plan = plan_rebalance(columns, WITHOUT_BOUNDS)
    for tile, target in zip(plan.tiles.tolist(), plan.targets.tolist(), strict=True):
        assert target in places(columns, tile)
        assert columns.tile_movable[tile] or columns.tile_pod[tile] == UNOWNED
    after = carried_out(columns, plan)
    counts = np.bincount(after.tile_pod + 1, minlength=columns.pod_capacity.size + 1)[1:]
    assert np.all(counts <= columns.pod_tiles_max)
    needy = [tile for tile in range(columns.tile_load.size) if _needs_place(columns, tile)]
    assert len(set(needy) & set(plan.tiles.tolist())) == placeable_at_most(columns)
    assert set(plan.unplaceable_tiles.tolist()) == set(needy) - set(plan.tiles.tolist())
