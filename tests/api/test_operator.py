"""The operator's hand: cordon, drain, pause, dry runs with suppositions, and plans carried out or refused as stale."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.server import RunningServer, until
from tests.support.world import FakeWork, disk, new_session, until_owned

PLAN = """query($input: RebalancePlanInput) { rebalancePlan(input: $input) {
  id isHypothetical skipped moveCount churn churnLowerBound computeMs baseVersion
  before { imbalance maxUtilization unassignedTiles } after { imbalance maxUtilization unassignedTiles }
  moves { totalCount edges { node { tileId fromPodId toPodId reason load gain tile { id } from { id } to { id } } } }
  unplaceable { tileId tile { id } reasons } } }"""
REBALANCE = """mutation($input: RebalanceInput) { rebalance(input: $input) { plan { id moveCount }
  errors { code message path ... on RebalancePlanStale { changedTileIds changedPodIds } } } }"""
PAUSE = """mutation($input: PauseRebalancingInput!) { pauseRebalancing(input: $input) {
  fleet { rebalancing { paused pausedUntil pausedBy reason } } errors { code path } } }"""
RESUME = "mutation { resumeRebalancing { fleet { rebalancing { paused reason } } errors { code } } }"


def operate(server: RunningServer, mutation: str, pod_id: str) -> dict[str, Any]:
    query = (
        f"mutation($id: ID!) {{ {mutation}(input: {{podId: $id}}) {{ pod {{ id status }} errors {{ code path }} }} }}"
    )
    answer: dict[str, Any] = server.data(query, id=pod_id)[mutation]
    return answer


@contextmanager
def loaded_pod(server: RunningServer, tiles: int) -> Iterator[tuple[FakeWork, str]]:
    """One pod that owns and reports all tiles of a session, each with load 1."""
    pod = FakeWork(server)
    pod.register()
    session_id = new_session(server, disk(2)[:tiles])
    until_owned(server, session_id, tiles)
    pod.acknowledge()
    report(pod)
    yield pod, session_id


def report(pod: FakeWork) -> None:
    active = [term for term in pod.terms() if term["state"] == "ACTIVE"]
    pod.report([{"tileId": t["tileId"], "epoch": t["epoch"], "recordsPerSecond": 1.0} for t in active])


def tiles_of(server: RunningServer, pod: FakeWork) -> int:
    count: int = server.data("query($id: ID!) { pod(id: $id) { tileCount } }", id=pod.id)["pod"]["tileCount"]
    return count


def test_a_cordoned_pod_keeps_its_tiles_and_gets_no_new_ones(own_server: RunningServer) -> None:
    server = own_server
    with loaded_pod(server, 7) as (cordoned, _):
        assert operate(server, "cordonPod", cordoned.id) == {
            "pod": {"id": cordoned.id, "status": "CORDONED"},
            "errors": [],
        }
        assert operate(server, "cordonPod", cordoned.id)["errors"] == []
        other = FakeWork(server)
        other.register()
        until_owned(server, new_session(server, disk(1, 10, 10)), 7)
        assert (tiles_of(server, cordoned), tiles_of(server, other)) == (7, 7)
        assert operate(server, "uncordonPod", cordoned.id)["pod"]["status"] == "READY"


def test_a_draining_pods_tiles_move_make_before_break(own_server: RunningServer) -> None:
    server = own_server
    with loaded_pod(server, 7) as (leaving, session_id):
        heir = FakeWork(server)
        heir.register()
        assert operate(server, "drainPod", leaving.id)["pod"]["status"] == "DRAINING"
        until(lambda: {t["state"] for t in heir.terms()} == {"PREPARING"} and len(heir.terms()) == 7, "all prepare")
        # Until the heir is ready, the owner works on, at the epoch it has.
        assert {t["state"] for t in leaving.terms()} == {"ACTIVE"}
        before = {t["tileId"]: t["epoch"] for t in leaving.terms()}
        heir.acknowledge()
        until(lambda: {t["state"] for t in heir.terms()} == {"ACTIVE"}, "the cut-over")
        assert {t["state"] for t in leaving.terms()} == {"DRAINING"}
        assert all(t["epoch"] > before[t["tileId"]] and t["reason"] == "POD_DRAINED" for t in heir.terms())
        heir.acknowledge()
        leaving.acknowledge()
        until(lambda: not leaving.terms(), "all are released")
        assert {t["assignment"]["podId"] for t in until_owned(server, session_id, 7)} == {heir.id}


def test_operating_an_unknown_or_lost_pod_is_refused(own_server: RunningServer) -> None:
    server = own_server
    for mutation in ("cordonPod", "uncordonPod", "drainPod"):
        assert operate(server, mutation, "nobody") == {
            "pod": None,
            "errors": [{"code": "NOT_FOUND", "path": ["podId"]}],
        }
    pod = FakeWork(server)
    pod.register()
    pod.leave()
    assert operate(server, "drainPod", pod.id)["errors"] == [{"code": "LEASE_LOST", "path": ["podId"]}]


def test_a_pause_says_who_until_when_and_why_and_holds_balancing_but_not_placing(own_server: RunningServer) -> None:
    server = own_server
    with loaded_pod(server, 19) as (pod, _):
        wanted = {"duration": "PT10M", "reason": "a race is on"}
        paused = server.data(PAUSE, input=wanted)["pauseRebalancing"]
        state = paused["fleet"]["rebalancing"]
        assert (state["paused"], state["pausedBy"], state["reason"]) == (True, "local", "a race is on")
        newcomer = FakeWork(server)
        newcomer.register()
        skip = "{ fleet { rebalancing { lastSkip } } }"
        until(lambda: server.data(skip)["fleet"]["rebalancing"]["lastSkip"] == "PAUSED", "the loop says it is paused")
        assert tiles_of(server, newcomer) == 0
        until_owned(server, new_session(server, disk(1, 10, 10)), 7)
        assert server.data(RESUME)["resumeRebalancing"]["fleet"]["rebalancing"] == {"paused": False, "reason": None}
        report(pod)


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"reason": "r"}, ["until"]),
        ({"reason": "r", "duration": "PT1H", "until": "2100-01-01T00:00:00Z"}, ["until"]),
        ({"reason": "r", "duration": "-PT1H"}, ["until"]),
        ({"reason": "r", "duration": "P8D"}, ["until"]),
        ({"reason": " ", "duration": "PT1H"}, ["reason"]),
        ({"reason": "r" * 501, "duration": "PT1H"}, ["reason"]),
    ],
)
def test_a_malformed_pause_is_refused_by_field(server: RunningServer, wanted: dict[str, str], path: list[str]) -> None:
    answer = server.data(PAUSE, input=wanted)["pauseRebalancing"]
    assert answer == {"fleet": None, "errors": [{"code": "INVALID_INPUT", "path": path}]}


def test_a_dry_run_changes_nothing_and_says_what_it_would_do(own_server: RunningServer) -> None:
    server = own_server
    with loaded_pod(server, 19) as (pod, _):
        supposed = [{"id": "supposed", "capacity": 100.0}]
        plan = server.data(PLAN, input={"addPods": supposed})["rebalancePlan"]
        assert plan["isHypothetical"]
        assert plan["before"]["imbalance"] > 1.9
        assert plan["after"]["imbalance"] < plan["before"]["imbalance"]
        moves = [edge["node"] for edge in plan["moves"]["edges"]]
        assert plan["moveCount"] == len(moves) == plan["moves"]["totalCount"] > 0
        for move in moves:
            assert (move["fromPodId"], move["toPodId"], move["to"]) == (pod.id, "supposed", None)
            assert (move["from"]["id"], move["tile"]["id"]) == (pod.id, move["tileId"])
            assert (move["reason"], move["load"]) == ("MANUAL", 1.0)
        assert plan["churn"] == pytest.approx(len(moves))
        assert tiles_of(server, pod) == 19
        refused = server.data(REBALANCE, input={"planId": plan["id"]})["rebalance"]
        assert [error["code"] for error in refused["errors"]] == ["NOT_FOUND"]


def test_a_supposed_loss_shows_what_would_be_left_without_a_place(own_server: RunningServer) -> None:
    server = own_server
    with loaded_pod(server, 7) as (pod, _):
        plan = server.data(PLAN, input={"removePods": [pod.id]})["rebalancePlan"]
        assert len(plan["unplaceable"]) == 7
        assert all(tile["tile"]["id"] == tile["tileId"] for tile in plan["unplaceable"])
        assert {reason for tile in plan["unplaceable"] for reason in tile["reasons"]} == {"NO_PODS"}
        assert plan["after"]["unassignedTiles"] == 7


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"removePods": ["nobody"]}, ["removePods"]),
        ({"loadFactor": 0.0}, ["loadFactor"]),
        ({"loadFactor": 1e9}, ["loadFactor"]),
        ({"addPods": [{"id": "x", "capacity": 0.0}]}, ["addPods", "0", "capacity"]),
        ({"addPods": [{"id": "x", "capacity": 1.0}] * 2}, ["addPods", "1", "id"]),
        ({"maxChurn": 1.5}, ["maxChurn"]),
        ({"maxChurn": 0.5, "emergency": True}, ["maxChurn"]),
    ],
)
def test_a_contradictory_supposition_is_refused_by_field(
    server: RunningServer, wanted: dict[str, object], path: list[str]
) -> None:
    (error,) = server.ask(PLAN, input=wanted)["errors"]
    assert (error["extensions"]["code"], error["extensions"]["argumentPath"]) == ("INVALID_INPUT", path)


def test_a_plan_is_carried_out_by_its_id_and_refused_when_what_it_touches_changed(own_server: RunningServer) -> None:
    server = own_server
    with loaded_pod(server, 19) as (pod, session_id):
        server.data(PAUSE, input={"duration": "PT10M", "reason": "only by hand"})
        heir = FakeWork(server)
        heir.register()
        report(pod)
        plan = server.data(PLAN)["rebalancePlan"]
        assert plan["moveCount"] > 0
        stale = server.data(PLAN)["rebalancePlan"]

        done = server.data(REBALANCE, input={"planId": plan["id"]})["rebalance"]
        assert (done["errors"], done["plan"]["moveCount"]) == ([], plan["moveCount"])
        until(lambda: len(heir.terms()) == plan["moveCount"], "the moves are under way")

        refused = server.data(REBALANCE, input={"planId": stale["id"]})["rebalance"]
        (error,) = refused["errors"]
        assert error["code"] == "PLAN_STALE"
        assert sorted(error["changedTileIds"]) == sorted(edge["node"]["tileId"] for edge in stale["moves"]["edges"])
        assert len(until_owned(server, session_id, 19)) == 19


def test_a_tile_is_moved_by_hand_and_to_nobody_who_receives_none(own_server: RunningServer) -> None:
    server = own_server
    with loaded_pod(server, 7) as (pod, session_id):
        heir = FakeWork(server)
        heir.register()
        tile = f"{session_id}:{disk(0)[0]}"

        def move(tile_id: str, pod_id: str) -> dict[str, Any]:
            answer: dict[str, Any] = server.data(
                "mutation($input: PlaceTileInput!) { moveTile(input: $input) {"
                " assignment { tileId podId state reason } errors { code path } } }",
                input={"tileId": tile_id, "podId": pod_id},
            )["moveTile"]
            return answer

        assert move(tile, pod.id)["assignment"]["state"] == "ACTIVE"
        moved = move(tile, heir.id)
        assert moved["errors"] == []
        assert moved["assignment"] == {"tileId": tile, "podId": heir.id, "state": "PREPARING", "reason": "MANUAL"}
        assert move(tile, heir.id)["errors"] == [{"code": "ILLEGAL_STATE", "path": ["tileId"]}]
        heir.acknowledge()
        until(lambda: any(t["state"] == "ACTIVE" for t in heir.terms()), "the cut-over")
        operate(server, "cordonPod", pod.id)
        for tile_id, pod_id, expected in (
            ("nonsense", heir.id, ("NOT_FOUND", ["tileId"])),
            (f"{session_id}:{disk(1)[1]}", "nobody", ("NOT_FOUND", ["podId"])),
            (tile, pod.id, ("ILLEGAL_STATE", ["podId"])),
        ):
            (error,) = move(tile_id, pod_id)["errors"]
            assert (error["code"], error["path"]) == expected


PLACE = """mutation($input: PlaceTileInput!) { pinTile(input: $input) {
  assignment { podId pinned } errors { code path } } }"""
EXPLAIN = """query($id: ID!) { tile(id: $id) { assignment { podId pinned } explanation { tile { id } current { id }
  candidates { pod { id } feasible rejectedBy score scoreTerms } } } }"""


def test_a_pinned_tile_goes_to_its_pod_and_stays_until_it_is_unpinned(own_server: RunningServer) -> None:
    server = own_server
    with loaded_pod(server, 7) as (pod, session_id):
        heir = FakeWork(server)
        heir.register()
        tile = f"{session_id}:{disk(0)[0]}"
        pinned = server.data(PLACE, input={"tileId": tile, "podId": heir.id})["pinTile"]
        assert pinned == {"assignment": {"podId": pod.id, "pinned": False}, "errors": []}

        def has_moved() -> bool:
            for one in (pod, heir):
                one.acknowledge()
            report(pod)
            report(heir)
            return tile in {term["tileId"] for term in heir.terms() if term["state"] == "ACTIVE"}

        until(has_moved, "the tile has gone to its pin")
        told = server.data(EXPLAIN, id=tile)["tile"]
        assert told["assignment"] == {"podId": heir.id, "pinned": True}
        by_pod = {candidate["pod"]["id"]: candidate for candidate in told["explanation"]["candidates"]}
        assert told["explanation"]["current"] == {"id": heir.id}
        assert (by_pod[heir.id]["feasible"], by_pod[heir.id]["rejectedBy"]) == (True, [])
        assert (by_pod[pod.id]["feasible"], by_pod[pod.id]["rejectedBy"]) == (False, ["PINNED_ELSEWHERE"])
        assert set(by_pod[pod.id]["scoreTerms"]) == {"utilizationAfter", "gain", "churn", "neighborsKept"}
        unpin = "mutation($id: ID!) { unpinTile(input: {tileId: $id}) { assignment { pinned } errors { code } } }"
        for _ in range(2):
            assert server.data(unpin, id=tile)["unpinTile"] == {"assignment": {"pinned": False}, "errors": []}


def test_a_pin_to_nobody_or_of_nothing_is_refused(own_server: RunningServer) -> None:
    server = own_server
    with loaded_pod(server, 1) as (pod, session_id):
        tile = f"{session_id}:{disk(2)[0]}"
        for wanted, path in (
            ({"tileId": tile, "podId": "nobody"}, ["podId"]),
            ({"tileId": "nonsense", "podId": pod.id}, ["tileId"]),
        ):
            (error,) = server.data(PLACE, input=wanted)["pinTile"]["errors"]
            assert (error["code"], error["path"]) == ("NOT_FOUND", path)


def test_a_cordoned_pod_says_why_it_is_no_place(own_server: RunningServer) -> None:
    server = own_server
    with loaded_pod(server, 1) as (_, session_id):
        cordoned = FakeWork(server)
        cordoned.register()
        operate(server, "cordonPod", cordoned.id)
        told = server.data(EXPLAIN, id=f"{session_id}:{disk(2)[0]}")["tile"]["explanation"]
        by_pod = {candidate["pod"]["id"]: candidate for candidate in told["candidates"]}
        assert by_pod[cordoned.id]["rejectedBy"] == ["NOT_ACCEPTING"]
        assert by_pod[cordoned.id]["score"] is None


def test_rebalancing_now_needs_no_plan_and_a_plan_no_budget(own_server: RunningServer) -> None:
    server = own_server
    with loaded_pod(server, 19) as (pod, _):
        server.data(PAUSE, input={"duration": "PT10M", "reason": "only by hand"})
        heir = FakeWork(server)
        heir.register()
        report(pod)
        assert server.data(REBALANCE)["rebalance"]["plan"]["moveCount"] > 0
        until(heir.terms, "the moves are under way")
        both = server.data(REBALANCE, input={"planId": "x", "maxChurn": 0.5})["rebalance"]
        assert [(error["code"], error["path"]) for error in both["errors"]] == [("INVALID_INPUT", ["maxChurn"])]
        none = server.data(REBALANCE, input={"planId": "nothing"})["rebalance"]
        assert [error["code"] for error in none["errors"]] == ["NOT_FOUND"]
