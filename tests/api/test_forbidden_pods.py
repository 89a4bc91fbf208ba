"""Tiles kept off pods, and moved or pinned only where no rule forbids it; the reasons, pod by pod, in GraphQL."""

from typing import Any

import pytest

from subgraph.domain.tile_rules import FORBIDDEN_PODS_MAX
from tests.support.server import RunningServer, until
from tests.support.world import FakeWork, disk, new_session, until_owned

RULE = """mutation($input: PlaceTileInput!) { %s(input: $input) {
  tile { id forbiddenPodIds } errors { code message path ... on SessionIllegalState { state }
    ... on SessionManagerQuotaExceeded { quota limit } } } }"""
PLACE = """mutation($input: PlaceTileInput!) { %s(input: $input) {
  assignment { podId } errors { code message path ... on SessionIllegalState { state } } } }"""
EXPLAIN = """query($id: ID!) { tile(id: $id) { explanation { candidates {
  pod { id } feasible rejectedBy missingLabels { key value } } } } }"""
PLAN = """query($input: RebalancePlanInput) { rebalancePlan(input: $input) { moveCount
  unplaceable { tileId reasons rejections { reason missingLabels { key value } podCount podIds } } } }"""


def rule(server: RunningServer, name: str, tile_id: str, pod_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = server.data(RULE % name, input={"tileId": tile_id, "podId": pod_id})[name]
    return answer


def place(server: RunningServer, name: str, tile_id: str, pod_id: str) -> list[dict[str, Any]]:
    errors: list[dict[str, Any]] = server.data(PLACE % name, input={"tileId": tile_id, "podId": pod_id})[name]["errors"]
    return errors


def pod(server: RunningServer, **fields: Any) -> FakeWork:
    working = FakeWork(server)
    working.register(**fields)
    return working


def one_tile(server: RunningServer, **fields: Any) -> tuple[str, str]:
    """A session's only tile, once it is owned, and its owner."""
    (tile,) = until_owned(server, new_session(server, disk(0), **fields), 1)
    return tile["id"], tile["assignment"]["podId"]


def test_a_forbidden_tile_moves_away_at_once_make_before_break_and_never_comes_back(
    own_server: RunningServer,
) -> None:
    server, former = own_server, pod(own_server)
    tile_id, _ = one_tile(server)
    former.acknowledge()
    heir = pod(server)
    for _ in range(2):
        answer = rule(server, "forbidTile", tile_id, former.id)
        assert answer == {"tile": {"id": tile_id, "forbiddenPodIds": [former.id]}, "errors": []}
    until(lambda: {term["state"] for term in heir.terms()} == {"PREPARING"}, "the heir prepares")
    assert {term["state"] for term in former.terms()} == {"ACTIVE"}

    def moved() -> bool:
        for one in (former, heir):
            one.acknowledge()
        return not former.terms() and {term["state"] for term in heir.terms()} == {"ACTIVE"}

    until(moved, "the tile has moved")
    heir.leave()
    assert server.data(PLAN)["rebalancePlan"]["unplaceable"] == [
        {
            "tileId": tile_id,
            "reasons": ["FORBIDDEN"],
            "rejections": [{"reason": "FORBIDDEN", "missingLabels": [], "podCount": 1, "podIds": [former.id]}],
        }
    ]
    assert rule(server, "allowTile", tile_id, former.id)["tile"]["forbiddenPodIds"] == []
    until(lambda: former.terms(), "it may come back now")


def test_what_cannot_be_placed_is_told_with_a_reason_per_pod_and_all_else_is_placed(own_server: RunningServer) -> None:
    server = own_server
    eu, us = pod(server, zone="eu"), pod(server, zone="us", labels=[{"key": "gpu", "value": "yes"}])
    until_owned(server, new_session(server, disk(1)), 7)
    required = [{"key": "gpu", "value": "yes"}, {"key": "zone", "value": "eu"}]
    session_id = new_session(server, disk(0, 10, 10), requiredLabels=required)
    (tile,) = server.data(PLAN)["rebalancePlan"]["unplaceable"]
    assert (tile["tileId"], tile["reasons"]) == (f"{session_id}:{disk(0, 10, 10)[0]}", ["LABELS"])
    assert sorted(tile["rejections"], key=lambda one: str(one["missingLabels"])) == [
        {"reason": "LABELS", "missingLabels": [required[0]], "podCount": 1, "podIds": [eu.id]},
        {"reason": "LABELS", "missingLabels": [required[1]], "podCount": 1, "podIds": [us.id]},
    ]
    supposed = {"addPods": [{"id": "x", "capacity": 1.0, "zone": "eu", "labels": required[:1]}]}
    plan = server.data(PLAN, input=supposed)["rebalancePlan"]
    assert (plan["unplaceable"], plan["moveCount"] > 0) == ([], True)
    told = server.data(EXPLAIN, id=tile["tileId"])["tile"]["explanation"]["candidates"]
    assert {one["pod"]["id"]: (one["rejectedBy"], one["missingLabels"]) for one in told} == {
        eu.id: (["LABELS"], [required[0]]),
        us.id: (["LABELS"], [required[1]]),
    }


def test_rulings_that_contradict_each_other_name_tile_and_pod(own_server: RunningServer) -> None:
    server, former = own_server, pod(own_server)
    tile_id, _ = one_tile(server)
    other = pod(server, labels=[{"key": "gpu", "value": "no"}])
    assert place(server, "pinTile", tile_id, former.id) == []
    (error,) = rule(server, "forbidTile", tile_id, former.id)["errors"]
    assert (error["code"], error["state"], error["path"]) == ("ILLEGAL_STATE", "PINNED", ["podId"])
    assert tile_id in error["message"]
    assert former.id in error["message"]
    (error,) = place(server, "moveTile", tile_id, other.id)
    assert (error["code"], error["state"]) == ("ILLEGAL_STATE", "PINNED")
    server.data("mutation($id: ID!) { unpinTile(input: {tileId: $id}) { errors { code } } }", id=tile_id)
    assert rule(server, "forbidTile", tile_id, other.id)["errors"] == []
    for name in ("pinTile", "moveTile"):
        (error,) = place(server, name, tile_id, other.id)
        assert (error["code"], error["state"], error["path"]) == ("ILLEGAL_STATE", "FORBIDDEN", ["podId"])
        assert tile_id in error["message"]
        assert other.id in error["message"]


def test_a_tile_is_not_pinned_or_moved_to_a_pod_that_lacks_its_labels(own_server: RunningServer) -> None:
    server = own_server
    pod(server, zone="eu")
    tile_id, _ = one_tile(server, requiredLabels=[{"key": "zone", "value": "eu"}])
    other = pod(server, zone="us")
    for name in ("pinTile", "moveTile"):
        (error,) = place(server, name, tile_id, other.id)
        assert (error["code"], error["state"]) == ("ILLEGAL_STATE", "LABELS")
        assert "zone=eu" in error["message"]


def test_a_tile_is_kept_off_a_bounded_number_of_pods(own_server: RunningServer) -> None:
    server = own_server
    pods = [pod(server) for _ in range(FORBIDDEN_PODS_MAX + 1)]
    tile_id, _ = one_tile(server)
    answers = [rule(server, "forbidTile", tile_id, one.id)["errors"] for one in pods]
    assert answers[:-1] == [[]] * FORBIDDEN_PODS_MAX
    (error,) = answers[-1]
    assert (error["code"], error["limit"], error["path"]) == ("QUOTA_EXCEEDED", FORBIDDEN_PODS_MAX, ["podId"])


@pytest.mark.parametrize("name", ["forbidTile", "allowTile", "pinTile"])
def test_rulings_about_nothing_are_refused(server: RunningServer, name: str) -> None:
    work = pod(server)
    query = RULE if name != "pinTile" else PLACE
    for tile_id, pod_id, path in (("nonsense", work.id, ["tileId"]), (f"x:{disk(0)[0]}", work.id, ["tileId"])):
        (error,) = server.data(query % name, input={"tileId": tile_id, "podId": pod_id})[name]["errors"]
        assert (error["code"], error["path"]) == ("NOT_FOUND", path)
    if name != "allowTile":
        (error,) = server.data(query % name, input={"tileId": f"x:{disk(0)[0]}", "podId": "nobody"})[name]["errors"]
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["podId"])
    work.leave()


def test_a_release_of_nothing_is_refused_and_one_of_a_free_tile_changes_nothing(server: RunningServer) -> None:
    release = "mutation($id: ID!) { releaseTile(input: {tileId: $id}) { tile { id } errors { code path } } }"
    tile_id = f"{new_session(server, disk(0))}:{disk(0)[0]}"
    assert server.data(release, id=tile_id)["releaseTile"] == {"tile": {"id": tile_id}, "errors": []}
    assert server.data(release, id="nonsense")["releaseTile"] == {
        "tile": None,
        "errors": [{"code": "NOT_FOUND", "path": ["tileId"]}],
    }


@pytest.mark.parametrize(
    ("fields", "path", "limit"),
    [
        ({"zone": ""}, ["zone"], "1 character"),
        ({"labels": [{"key": "", "value": ""}]}, ["labels", "0", "key"], "1 character"),
        ({"labels": [{"key": "a", "value": ""}] * 2}, ["labels", "1", "key"], None),
        ({"zone": "a", "labels": [{"key": "zone", "value": "b"}]}, ["zone"], None),
    ],
)
def test_malformed_labels_of_a_supposed_pod_are_refused_by_field(
    server: RunningServer, fields: dict[str, Any], path: list[str], limit: str | None
) -> None:
    added = [{"id": "x", "capacity": 1.0}, {"id": "y", "capacity": 1.0, **fields}]
    (error,) = server.ask(PLAN, input={"addPods": added})["errors"]
    extensions = error["extensions"]
    assert (extensions["code"], extensions["argumentPath"]) == ("INVALID_INPUT", ["addPods", "1", *path])
    assert extensions.get("limit") == limit
