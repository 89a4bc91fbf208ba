"""From the picture to the planner's groups: which pods a tile may be on, by labels, zones and an operator's word."""

import numpy as np
import pytest

from subgraph.domain.fleet.changes import FleetChange, FleetSnapshot, Versioned
from subgraph.domain.fleet.columns import REALITY, HypotheticalPod, WhatIf, fleet_columns
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.planning.columns import UNOWNED
from tests.support.fleets import SESSION, T1, T2, T3, A, B, C, fleet_of, held, pod, tile

GPU, EU = {"gpu": "yes"}, {"zone": "eu"}
PODS = {A: pod(labels=GPU, zone="eu"), B: pod(zone="eu"), C: pod(labels={"gpu": "no"}, zone="us")}


def allowed(fleet: Fleet, what_if: WhatIf = REALITY) -> dict[TileId, str]:
    """For each tile the names of the pods it may be on."""
    columns = fleet_columns(fleet, {}, (), 0, 0, what_if)
    group, allows = columns.input.tile_group, columns.input.group_allows
    assert group is not None
    assert allows is not None
    found = {}
    for position, row in enumerate(columns.tile_rows.tolist()):
        pods = np.flatnonzero(allows[group[position]]).tolist()
        found[fleet.tiles.id_of(row)] = "".join(sorted(columns.pods[pod].id for pod in pods))
    return found


def is_free(fleet: Fleet) -> bool:
    return fleet_columns(fleet, {}, (), 0, 0, REALITY).input.tile_group is None


def with_session(fleet: Fleet, requirement: SessionRequirement | None, version: int) -> None:
    fleet.apply(FleetChange(fleet.version, version, requirements={SESSION: requirement}))


def test_where_nothing_is_required_there_are_no_groups() -> None:
    assert is_free(fleet_of({T1: tile()}, PODS))
    assert is_free(fleet_of({}, PODS))
    assert is_free(fleet_of({T1: tile(required=EU)}, {B: PODS[B]}))
    assert is_free(fleet_of({T1: tile(required=EU)}, {}))


def test_a_pod_needs_every_label_with_that_value_and_its_zone_is_one() -> None:
    tiles = {T1: tile(required=GPU), T2: tile(required={**GPU, "zone": "us"}), T3: tile(required=EU)}
    assert allowed(fleet_of(tiles, PODS)) == {T1: "a", T2: "", T3: "ab"}


def test_tiles_with_the_same_pods_are_one_group_whatever_they_require() -> None:
    tiles = {T1: tile(required=GPU), T2: tile(required={**GPU, **EU}), T3: tile(forbidden=(B, C))}
    columns = fleet_columns(fleet_of(tiles, PODS), {}, (), 0, 0, REALITY).input
    assert columns.group_allows is not None
    # The first group is that of no requirement, which the third tile's ban starts from.
    assert columns.tile_group is not None
    assert len(set(columns.tile_group.tolist())) == 1


def test_a_session_speaks_for_all_its_tiles_also_those_to_come_until_it_takes_it_back() -> None:
    fleet = fleet_of({T1: tile(), T2: tile(required=GPU)}, PODS)
    with_session(fleet, SessionRequirement(1, EU), 11)
    assert allowed(fleet) == {T1: "ab", T2: "a"}
    fleet.apply(FleetChange(11, 12, {T3: tile()}))
    assert allowed(fleet)[T3] == "ab"
    with_session(fleet, SessionRequirement(2, {}), 13)
    assert allowed(fleet) == {T1: "abc", T2: "a", T3: "abc"}
    with_session(fleet, None, 14)
    assert fleet.record(T2) == tile(required=GPU)


def test_a_snapshot_brings_what_sessions_require() -> None:
    fleet = Fleet()
    pods = {pod_id: Versioned(1, record) for pod_id, record in PODS.items()}
    fleet.adopt(FleetSnapshot(1, {T1: Versioned(1, tile())}, pods, {SESSION: SessionRequirement(1, EU)}))
    assert allowed(fleet) == {T1: "ab"}


def test_a_forbidden_pod_is_closed_to_one_tile_and_one_that_is_gone_closes_nothing() -> None:
    tiles = {T1: tile(forbidden=(B,)), T2: tile(), T3: tile(required=EU, forbidden=(A, PodId("gone")))}
    assert allowed(fleet_of(tiles, PODS)) == {T1: "ac", T2: "abc", T3: "b"}


def test_a_retiring_tiles_ban_concerns_no_other() -> None:
    tiles = {T1: tile(draining=held(A, 1), retiring=True, forbidden=(B,)), T2: tile(required=EU)}
    assert allowed(fleet_of(tiles, PODS)) == {T2: "ab"}


def test_a_supposed_pod_has_labels_and_a_zone() -> None:
    fleet = fleet_of({T1: tile(required={**GPU, **EU})}, {C: PODS[C]})
    assert allowed(fleet) == {T1: ""}
    supposed = HypotheticalPod(PodId("x"), 1.0, zone="eu", labels=GPU)
    assert allowed(fleet, WhatIf(added=(supposed,))) == {T1: "x"}


@pytest.mark.parametrize(
    ("facts", "at_rest"),
    [
        ({}, True),
        ({"required": GPU}, False),
        ({"forbidden": (B,)}, False),
        ({"pin": A}, False),
        ({"required": EU, "forbidden": (A,), "pin": B}, True),
    ],
)
def test_a_tile_does_not_rest_where_it_may_not_be(facts: dict[str, object], at_rest: bool) -> None:
    fleet = fleet_of({T1: tile(owner=held(B, 1, at=1_000), **facts)}, PODS)
    columns = fleet_columns(fleet, {}, (), 1_001, 10_000, REALITY)
    assert columns.input.tile_movable.tolist() == [not at_rest]
    assert columns.input.tile_pod.tolist() != [UNOWNED]
