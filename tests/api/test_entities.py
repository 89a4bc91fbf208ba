"""References from other subgraphs: resolved in batches, each error in its place."""

from uuid import uuid4

import h3

from tests.support.server import RunningServer
from tests.support.world import FakeWork, disk, new_session, until_owned

ENTITIES = """query($reps: [_Any!]!) { _entities(representations: $reps) { __typename
  ... on Session { id state } ... on Tile { id sessionId h3Index } ... on Pod { id status }
  ... on PodAssignment { id podId epoch } } }"""


def test_all_entities_resolve_by_every_key_in_their_places(server: RunningServer) -> None:
    pod = FakeWork(server)
    pod.register()
    session_id, cells = new_session(server, disk(0)), disk(0)
    (tile,) = until_owned(server, session_id, 1)
    owner = tile["assignment"]
    answer = server.ask(
        ENTITIES,
        reps=[
            {"__typename": "Tile", "sessionId": session_id, "h3Index": cells[0], "unknownField": [1]},
            {"__typename": "Session", "id": session_id},
            {"__typename": "PodAssignment", "id": owner["id"]},
            {"__typename": "Tile", "id": tile["id"]},
            {"__typename": "Pod", "id": owner["podId"]},
            {"__typename": "Session", "id": session_id},
        ],
    )
    assert "errors" not in answer
    told = answer["data"]["_entities"]
    as_tile = {"__typename": "Tile", "id": tile["id"], "sessionId": session_id, "h3Index": cells[0]}
    assert told[0] == told[3] == as_tile
    assert told[1] == told[5] == {"__typename": "Session", "id": session_id, "state": "ACTIVE"}
    assert told[2] == {
        "__typename": "PodAssignment",
        "id": owner["id"],
        "podId": owner["podId"],
        "epoch": owner["epoch"],
    }
    assert told[4]["id"] == owner["podId"]
    pod.leave()


def test_absent_entities_are_null_without_an_error(server: RunningServer) -> None:
    session_id = str(uuid4())
    cell = h3.latlng_to_cell(1, 1, 4)
    reps = [
        {"__typename": "Session", "id": session_id},
        {"__typename": "Tile", "id": f"{session_id}:{cell}"},
        {"__typename": "PodAssignment", "id": f"{session_id}:{cell}@5"},
        {"__typename": "Pod", "id": "nobody"},
    ]
    assert server.ask(ENTITIES, reps=reps) == {"data": {"_entities": [None] * 4}}


def test_a_bad_reference_fails_alone(server: RunningServer) -> None:
    session_id = new_session(server)
    reps: list[object] = [
        {"__typename": "Session", "id": session_id},
        "nonsense",
        {"__typename": "Nothing", "id": "1"},
        {"__typename": "Tile", "sessionId": session_id},
        {"id": session_id},
        {"__typename": "Session", "id": None},
    ]
    answer = server.ask(ENTITIES, reps=reps)
    assert answer["data"]["_entities"] == [{"__typename": "Session", "id": session_id, "state": "ACTIVE"}, *[None] * 5]
    assert [error["path"] for error in answer["errors"]] == [["_entities", index] for index in range(1, 6)]
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"INVALID_INPUT"}


def test_fifty_thousand_references_are_refused_with_the_limit(server: RunningServer) -> None:
    reps = [{"__typename": "Pod", "id": "p"}] * 50_000
    (error,) = server.ask(ENTITIES, reps=reps)["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert "10,000" in error["message"]
    assert "50,000" in error["message"]
    assert server.http.get("/healthz").status_code == 200
