"""Labels that tiles require of their pods: of a session, of a coverage, of single tiles; kept to, changed, refused."""

from typing import Any

import pytest

from subgraph.domain.labels import LABEL_KEY_LENGTH_MAX, LABEL_VALUE_LENGTH_MAX, REQUIRED_LABELS_MAX
from tests.support.server import RunningServer, until
from tests.support.world import CREATE, REGISTER_POD, REGISTER_TILES, FakeWork, disk, new_session, until_owned

UPDATE = """mutation($input: UpdateSessionInput!) { updateSession(input: $input) {
  session { revision requiredLabels { key value } } errors { code message path
    ... on SessionRevisionConflict { currentRevision } ... on SessionManagerInvalidInput { limit } } } }"""
REQUIRE = """mutation($input: RequireTileLabelsInput!) { requireTileLabels(input: $input) {
  tiles { id requiredLabels { key value } } errors { code message path } } }"""
TILES = """query($id: ID!) { session(ref: {id: $id}) { requiredLabels { key value } tiles(first: 1000) { edges { node {
  id requiredLabels { key value } handoff { podId reason } assignment { podId epoch reason } } } } } }"""


def labels(**pairs: str) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in pairs.items()]


def tiles_of(server: RunningServer, session_id: str) -> list[dict[str, Any]]:
    return [edge["node"] for edge in server.data(TILES, id=session_id)["session"]["tiles"]["edges"]]


def pod(server: RunningServer, **fields: Any) -> FakeWork:
    working = FakeWork(server)
    working.register(**fields)
    return working


def owners(tiles: list[dict[str, Any]]) -> set[str]:
    return {tile["assignment"]["podId"] for tile in tiles}


def all_moved(server: RunningServer, session_id: str, to: FakeWork, *pods: FakeWork) -> bool:
    """Let the pods do what they are told, and see whether the tiles are all with one of them."""
    for one in (to, *pods):
        one.acknowledge()
    return owners(tiles_of(server, session_id)) == {to.id}


def test_tiles_go_only_to_pods_that_bear_all_their_labels(own_server: RunningServer) -> None:
    gpu_eu = pod(own_server, zone="eu", labels=labels(gpu="yes"))
    plain_eu = pod(own_server, zone="eu")
    pod(own_server, zone="us", labels=labels(gpu="no"))
    session_id = new_session(own_server, disk(2), requiredLabels=labels(zone="eu"))
    assert owners(until_owned(own_server, session_id, 19)) == {gpu_eu.id, plain_eu.id}
    wanted = {"cells": disk(1, 10, 10), "requiredLabels": labels(gpu="yes")}
    answer = own_server.data(REGISTER_TILES, input={"sessionId": session_id, "coverage": wanted})["registerTiles"]
    assert (answer["errors"], answer["registered"]) == ([], 7)
    until_owned(own_server, session_id, 26)
    demanding = [tile for tile in tiles_of(own_server, session_id) if len(tile["requiredLabels"]) == 2]
    assert (len(demanding), owners(demanding)) == (7, {gpu_eu.id})
    assert demanding[0]["requiredLabels"] == labels(gpu="yes", zone="eu")


def test_a_changed_requirement_moves_the_tiles_make_before_break(own_server: RunningServer) -> None:
    us = pod(own_server, zone="us")
    session_id = new_session(own_server, disk(1))
    before = {tile["id"]: tile["assignment"]["epoch"] for tile in until_owned(own_server, session_id, 7)}
    us.acknowledge()
    eu = pod(own_server, zone="eu")
    wanted = {"id": session_id, "expectedRevision": 1, "requiredLabels": labels(zone="eu")}
    answer = own_server.data(UPDATE, input=wanted)["updateSession"]
    assert answer == {"session": {"revision": 2, "requiredLabels": labels(zone="eu")}, "errors": []}

    def prepared() -> bool:
        handoffs = [tile["handoff"] for tile in tiles_of(own_server, session_id)]
        return all(handoff == {"podId": eu.id, "reason": "MANUAL"} for handoff in handoffs)

    until(prepared, "the heir prepares")
    # Until then the owner works on, at the epoch it has.
    assert {t["id"]: t["assignment"]["epoch"] for t in tiles_of(own_server, session_id)} == before
    until(lambda: all_moved(own_server, session_id, eu, us), "the tiles have moved")
    again = own_server.data(UPDATE, input={"id": session_id, "requiredLabels": labels(zone="eu")})["updateSession"]
    assert again["session"]["revision"] == 2, "nothing new, nothing changed"


def test_what_nobody_bears_stays_where_it_is_until_it_is_required_no_more(own_server: RunningServer) -> None:
    anywhere = pod(own_server)
    session_id = new_session(own_server, disk(1))
    until_owned(own_server, session_id, 7)
    anywhere.acknowledge()
    assert own_server.data(UPDATE, input={"id": session_id, "requiredLabels": labels(gpu="yes")})
    required = [{"key": "gpu", "value": "yes"}]
    until(lambda: tiles_of(own_server, session_id)[0]["requiredLabels"] == required, "the fleet knows")
    # Better on a pod without the label than on none.
    assert owners(tiles_of(own_server, session_id)) == {anywhere.id}
    wanted = {"sessionId": session_id, "coverage": {"cells": disk(0, 10, 10)}}
    (new,) = own_server.data(REGISTER_TILES, input=wanted)["registerTiles"]["tiles"]
    assert own_server.data("query($id: ID!) { tile(id: $id) { health } }", id=new["id"])["tile"] == {
        "health": "UNASSIGNED"
    }
    own_server.data(UPDATE, input={"id": session_id, "requiredLabels": []})
    until_owned(own_server, session_id, 8)


def test_tiles_can_require_labels_of_their_own_later_and_no_more(own_server: RunningServer) -> None:
    plain, gpu = pod(own_server), pod(own_server, labels=labels(gpu="yes"))
    session_id = new_session(own_server, disk(0))
    until_owned(own_server, session_id, 1)
    (tile,) = tiles_of(own_server, session_id)
    for one in (plain, gpu):
        one.acknowledge()
    wanted = {"tileIds": [tile["id"]], "requiredLabels": labels(gpu="yes")}
    for _ in range(2):
        answer = own_server.data(REQUIRE, input=wanted)["requireTileLabels"]
        assert answer == {"tiles": [{"id": tile["id"], "requiredLabels": labels(gpu="yes")}], "errors": []}
    until(lambda: all_moved(own_server, session_id, gpu, plain), "the tile has moved")
    answer = own_server.data(REQUIRE, input={**wanted, "requiredLabels": []})["requireTileLabels"]
    assert answer["tiles"][0]["requiredLabels"] == []


def test_a_pod_that_comes_back_with_other_labels_loses_the_tiles_that_need_them(own_server: RunningServer) -> None:
    former = pod(own_server, labels=labels(gpu="yes"))
    session_id = new_session(own_server, disk(0), requiredLabels=labels(gpu="yes"))
    (tile,) = until_owned(own_server, session_id, 1)
    former.acknowledge()
    former.register(held=[{"tileId": tile["id"], "epoch": tile["assignment"]["epoch"]}])
    heir = pod(own_server, labels=labels(gpu="yes"))
    until(lambda: all_moved(own_server, session_id, heir, former), "the tile has moved")


LONG_KEY, LONG_VALUE = "k" * (LABEL_KEY_LENGTH_MAX + 1), "v" * (LABEL_VALUE_LENGTH_MAX + 1)
MANY = labels(**{f"k{n}": "" for n in range(REQUIRED_LABELS_MAX + 1)})
MALFORMED = [
    (MANY, [], f"{REQUIRED_LABELS_MAX} labels"),
    (labels(**{LONG_KEY: ""}), ["0", "key"], f"{LABEL_KEY_LENGTH_MAX} characters"),
    ([*labels(a=""), *labels(k=LONG_VALUE)], ["1", "value"], f"{LABEL_VALUE_LENGTH_MAX} characters"),
    (labels(**{"": "v"}), ["0", "key"], "1 character"),
    (labels(a="1") * 2, ["1", "key"], None),
]


@pytest.mark.parametrize(("wanted", "path", "limit"), MALFORMED)
def test_malformed_requirements_are_refused_by_entry_field_and_limit_and_nothing_is_made(
    server: RunningServer, wanted: list[dict[str, str]], path: list[str], limit: str | None
) -> None:
    coverage = {"cells": disk(0), "requiredLabels": wanted}
    for fields, prefix in (
        ({"requiredLabels": wanted}, ["requiredLabels"]),
        ({"coverage": coverage}, ["coverage", "requiredLabels"]),
    ):
        answer = server.data(CREATE, input=fields)["createSession"]
        (error,) = answer["errors"]
        assert (error["code"], error["path"], error.get("limit")) == ("INVALID_INPUT", [*prefix, *path], limit)
        assert answer["session"] is None
    session_id = new_session(server)
    answers = [
        server.data(REGISTER_TILES, input={"sessionId": session_id, "coverage": coverage})["registerTiles"],
        server.data(UPDATE, input={"id": session_id, "requiredLabels": wanted})["updateSession"],
        server.data(REQUIRE, input={"tileIds": [f"{session_id}:{disk(0)[0]}"], "requiredLabels": wanted})[
            "requireTileLabels"
        ],
    ]
    for answer, prefix in zip(answers, (["coverage"], [], []), strict=True):
        (error,) = answer["errors"]
        assert (error["code"], error["path"]) == ("INVALID_INPUT", [*prefix, "requiredLabels", *path])
    assert server.data(TILES, id=session_id)["session"]["tiles"]["edges"] == []


@pytest.mark.parametrize(
    ("fields", "path", "limit"),
    [
        ({"labels": labels(**{LONG_KEY: ""})}, ["labels", "0", "key"], f"{LABEL_KEY_LENGTH_MAX} characters"),
        ({"labels": labels(k=LONG_VALUE)}, ["labels", "0", "value"], f"{LABEL_VALUE_LENGTH_MAX} characters"),
        ({"labels": labels(**{f"k{n}": "" for n in range(51)})}, ["labels"], "50 labels"),
        ({"zone": ""}, ["zone"], "1 character"),
        ({"zone": "eu", "labels": labels(zone="us")}, ["zone"], None),
    ],
)
def test_malformed_labels_of_a_pod_are_refused_by_entry_field_and_limit(
    server: RunningServer, fields: dict[str, Any], path: list[str], limit: str | None
) -> None:
    wanted = {"id": "bad-pod", "service": "test", "capacity": 1.0, **fields}
    (error,) = server.data(REGISTER_POD, input=wanted)["registerPod"]["errors"]
    assert (error["code"], error["path"], error["limit"]) == ("INVALID_INPUT", path, limit)


def test_labels_that_contradict_the_sessions_are_refused_with_both_values(server: RunningServer) -> None:
    wanted = {"cells": disk(0), "requiredLabels": labels(zone="us")}
    session_id = new_session(server, disk(0, 10, 10), requiredLabels=labels(zone="eu"))
    tile_id = tiles_of(server, session_id)[0]["id"]
    answers = [
        server.data(CREATE, input={"requiredLabels": labels(zone="eu"), "coverage": wanted})["createSession"],
        server.data(REGISTER_TILES, input={"sessionId": session_id, "coverage": wanted})["registerTiles"],
        server.data(REQUIRE, input={"tileIds": [tile_id], "requiredLabels": labels(zone="us")})["requireTileLabels"],
    ]
    for answer in answers:
        (error,) = answer["errors"]
        assert error["code"] == "INVALID_INPUT"
        assert error["path"][-2:] == ["requiredLabels", "0"]
        assert "zone=us" in error["message"]
        assert "zone=eu" in error["message"]


def test_an_update_is_refused_at_another_revision_for_nobody_and_after_the_end(server: RunningServer) -> None:
    session_id = new_session(server)
    wanted = {"id": session_id, "requiredLabels": labels(a="b")}
    (error,) = server.data(UPDATE, input={**wanted, "expectedRevision": 2})["updateSession"]["errors"]
    assert (error["code"], error["currentRevision"]) == ("REVISION_CONFLICT", 1)
    (error,) = server.data(UPDATE, input={**wanted, "id": "nobody"})["updateSession"]["errors"]
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["id"])
    server.data("mutation($id: ID!) { endSession(input: {id: $id}) { errors { code } } }", id=session_id)
    (error,) = server.data(UPDATE, input=wanted)["updateSession"]["errors"]
    assert (error["code"], error["path"]) == ("ILLEGAL_STATE", ["id"])


def test_labels_of_no_tiles_too_many_or_somebody_elses_are_refused(server: RunningServer) -> None:
    session_id = new_session(server, disk(0))
    tile_id = f"{session_id}:{disk(0)[0]}"
    for tile_ids, code, path in (
        ([], "INVALID_INPUT", ["tileIds"]),
        ([tile_id] * 1_001, "INVALID_INPUT", ["tileIds"]),
        ([tile_id, "nonsense"], "INVALID_INPUT", ["tileIds", "1"]),
        ([tile_id, f"{session_id}:{disk(1)[1]}"], "NOT_FOUND", ["tileIds", "1"]),
    ):
        wanted = {"tileIds": tile_ids, "requiredLabels": labels(a="b")}
        (error,) = server.data(REQUIRE, input=wanted)["requireTileLabels"]["errors"]
        assert (error["code"], error["path"]) == (code, path)
    assert tiles_of(server, session_id)[0]["requiredLabels"] == []
