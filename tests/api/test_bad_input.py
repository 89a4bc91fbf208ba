"""Bad input: a clear error that names the field and the limit, nothing lost, the process alive."""

import json
from typing import Any
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosedError

from tests.support.server import RunningServer
from tests.support.subscriber import socket_to, subscribed
from tests.support.world import CREATE, REGISTER_POD, REGISTER_TILES, FakeWork, disk, new_session, until_owned

BIG = {"type": "Polygon", "coordinates": [[[-125, 25], [-66, 25], [-66, 49], [-125, 49], [-125, 25]]]}


@pytest.mark.parametrize(
    ("coverage", "path", "says"),
    [
        ({"cells": ["nonsense"]}, ["coverage", "cells", "0"], "nonsense"),
        ({"cells": ["8426819ffffffff", "0"]}, ["coverage", "cells", "1"], "'0'"),
        ({"geoJson": {"type": "Point", "coordinates": [0, 0]}, "resolution": 3}, ["coverage", "geoJson"], "Point"),
        ({"geoJson": BIG, "resolution": 16}, ["coverage", "resolution"], "16"),
        ({"geoJson": BIG}, ["coverage", "resolution"], "resolution from 0 to 15"),
        ({"cells": ["8426819ffffffff"], "resolution": 4}, ["coverage", "resolution"], "cells have their own"),
        ({"cells": ["8426819ffffffff"], "tileCapacity": -1}, ["coverage", "tileCapacity"], "tileCapacity"),
    ],
)
def test_a_malformed_coverage_is_refused_by_field(
    server: RunningServer, coverage: dict[str, object], path: list[str], says: str
) -> None:
    answer = server.data(REGISTER_TILES, input={"sessionId": new_session(server), "coverage": coverage})
    (error,) = answer["registerTiles"]["errors"]
    assert error["code"] == "INVALID_INPUT"
    assert error["path"][: len(path)] == path
    assert says in error["message"]


def test_a_polygon_with_ten_million_cells_is_refused_with_the_limit(server: RunningServer) -> None:
    wanted = {"sessionId": new_session(server), "coverage": {"geoJson": BIG, "resolution": 8}}
    (error,) = server.data(REGISTER_TILES, input=wanted)["registerTiles"]["errors"]
    assert error["code"] == "INVALID_INPUT"
    assert "100,000" in error["message"] + error["limit"] or "100000" in error["limit"]


def test_a_cell_around_an_existing_tile_is_refused_and_the_tile_stays(server: RunningServer) -> None:
    child, parent = "8426819ffffffff", "83268" + "1fffffffff"
    session_id = new_session(server, [child])
    (error,) = server.data(REGISTER_TILES, input={"sessionId": session_id, "coverage": {"cells": [parent]}})[
        "registerTiles"
    ]["errors"]
    assert error["code"] == "INVALID_INPUT"
    assert child in error["message"]


def test_registering_again_is_idempotent_and_nested_cells_are_covered(server: RunningServer) -> None:
    session_id, cells = new_session(server), disk(2)
    first = server.data(REGISTER_TILES, input={"sessionId": session_id, "coverage": {"cells": cells}})["registerTiles"]
    again = server.data(REGISTER_TILES, input={"sessionId": session_id, "coverage": {"cells": cells}})["registerTiles"]
    assert (first["registered"], again["registered"]) == (19, 0)
    assert {t["h3Index"] for t in first["tiles"]} == {t["h3Index"] for t in again["tiles"]} == set(cells)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"capacity": 0}, ["capacity"]),
        ({"capacity": -1}, ["capacity"]),
        ({"capacity": 1e-320}, ["capacity"]),
        ({"maxTiles": -1}, ["maxTiles"]),
        ({"lease": "PT31S"}, ["lease"]),
        ({"lease": "PT0.1S"}, ["lease"]),
        ({"service": ""}, ["service"]),
        ({"id": "x" * 129}, ["id"]),
        ({"labels": [{"key": "a", "value": "1"}] * 2}, ["labels", "1", "key"]),
        ({"held": [{"tileId": "nonsense", "epoch": 1}]}, ["held", "0", "tileId"]),
    ],
)
def test_a_malformed_registration_is_refused_by_field(
    server: RunningServer, fields: dict[str, object], path: list[str]
) -> None:
    wanted = {"id": "bad-pod", "service": "test", "capacity": 1.0, **fields}
    answer = server.data(REGISTER_POD, input=wanted)["registerPod"]
    assert answer["leaseToken"] is None
    assert [(e["code"], e["path"]) for e in answer["errors"]] == [("INVALID_INPUT", path)]


def test_calls_of_an_unknown_pod_and_with_a_wrong_token_are_told_apart(server: RunningServer) -> None:
    unknown = FakeWork(server, token="made-up")
    assert [e["code"] for e in unknown.heartbeat()["errors"]] == ["NOT_FOUND"]
    assert [e["code"] for e in unknown.report([])["errors"]] == ["NOT_FOUND"]
    known = FakeWork(server)
    known.register()
    impostor = FakeWork(server, id=known.id, token="made-up")
    for errors in (impostor.heartbeat()["errors"], impostor.report([])["errors"], impostor.acknowledge([])["errors"]):
        assert [(e["code"]) for e in errors] == ["LEASE_LOST"]
    assert known.heartbeat()["errors"] == []
    known.leave()


def test_a_new_instance_fences_the_former_and_says_so(server: RunningServer) -> None:
    former = FakeWork(server)
    former.register()
    latter = FakeWork(server, id=former.id)
    latter.register()
    (error,) = former.heartbeat()["errors"]
    assert (error["code"], error["superseded"]) == ("LEASE_LOST", True)
    assert latter.heartbeat()["errors"] == []
    latter.leave()


def test_loads_that_are_none_are_refused_whole_and_stale_epochs_one_by_one(server: RunningServer) -> None:
    pod = FakeWork(server)
    pod.register()
    session_id = new_session(server, disk(1))
    tiles = [tile for tile in until_owned(server, session_id, 7) if tile["assignment"]["podId"] == pod.id]
    loads = [{"tileId": t["id"], "epoch": t["assignment"]["epoch"], "recordsPerSecond": 5.0} for t in tiles]
    assert pod.report(loads)["accepted"] == len(loads) > 0

    negative = pod.report([*loads, {**loads[0], "recordsPerSecond": -1.0}])
    assert negative["accepted"] == 0
    (error,) = negative["errors"]
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["loads", str(len(loads)), "recordsPerSecond"])

    stale = pod.report([*loads[1:], {**loads[0], "epoch": 1}])
    assert stale["accepted"] == len(loads) - 1
    (error,) = stale["errors"]
    assert (error["code"], error["currentEpoch"]) == ("EPOCH_STALE", loads[0]["epoch"])

    (error,) = pod.report([{**loads[0], "tileId": "nobody:8426819ffffffff"}])["errors"]
    assert (error["code"], error["currentEpoch"]) == ("EPOCH_STALE", 0)
    assert "no owner, or is unknown" in error["message"]
    pod.leave()


def test_infinity_never_reaches_the_fleet(server: RunningServer) -> None:
    pod = FakeWork(server)
    pod.register()
    load = '{tileId: "s:8426819ffffffff", epoch: 1, recordsPerSecond: 1e999}'
    lease = f'podId: "{pod.id}", leaseToken: "{pod.token}"'
    report = f"mutation {{ reportTileLoads(input: {{{lease}, loads: [{load}]}}) {{ accepted errors {{ code }} }} }}"
    answer = server.ask(report)
    assert "INVALID_INPUT" in json.dumps(answer) or "errors" in answer, answer
    pod.leave()


@pytest.mark.parametrize("body", ["5", "null", '"text"', "", "{", "NaN", '{"query": "\\ud800"}', "[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(server: RunningServer, body: str) -> None:
    refused = server.http.post("/graphql", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 400, refused.text
    (error,) = refused.json()["errors"]
    assert "JSON" in error["message"]
    assert error["extensions"]["code"] == "BAD_REQUEST"


@pytest.mark.parametrize(
    ("method", "asked", "status", "says"),
    [
        ("POST", {"content": "{}", "headers": {"Content-Type": "text/plain"}}, 400, "content type"),
        ("POST", {"json": {"query": ""}}, 400, "No GraphQL query"),
        ("POST", {"json": [{"query": "{ __typename }"}]}, 400, "Batching"),
        ("GET", {"params": {"query": "mutation { cleanUpSessions { expired } }"}}, 405, "mutations"),
        ("PUT", {"json": {"query": "{ __typename }"}}, 405, "GET and POST"),
    ],
)
def test_what_is_no_request_is_told_in_the_form_of_errors(
    server: RunningServer, method: str, asked: dict[str, Any], status: int, says: str
) -> None:
    answer = server.http.request(method, "/graphql", **asked)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    (error,) = answer.json()["errors"]
    assert says in error["message"]
    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert answer.headers.get("allow") == {405: "POST" if method == "GET" else "GET, POST"}.get(status)


@pytest.mark.parametrize("literal", ["{a: 1e999}", "[" * 70 + "]" * 70, '{a: "\\ud800"}'])
def test_metadata_that_could_not_be_written_down_again_is_refused(server: RunningServer, literal: str) -> None:
    answer = server.ask(f"mutation {{ createSession(input: {{metadata: {literal}}}) {{ session {{ id }} }} }}")
    assert answer["errors"], answer
    assert "Unexpected" not in json.dumps(answer)


def test_an_operation_nested_beyond_reason_is_refused(server: RunningServer) -> None:
    answer = server.ask("{ a" * 3_000 + "}" * 3_000)
    assert answer["errors"]
    assert "Unexpected" not in json.dumps(answer)
    assert server.http.get("/healthz").status_code == 200


def test_a_refused_coverage_creates_no_session(server: RunningServer) -> None:
    wanted = {"displayName": f"refused {uuid4()}", "coverage": {"cells": disk(0), "tileCapacity": -1}}
    (error,) = server.data(CREATE, input=wanted)["createSession"]["errors"]
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["coverage", "tileCapacity"])
    wanted["coverage"] = {"cells": disk(0)}
    assert server.data(CREATE, input=wanted)["createSession"]["errors"] == []


def test_a_cursor_that_is_none_is_refused(server: RunningServer) -> None:
    session_id = new_session(server, disk(0))
    query = "query($id: ID!, $after: String) { session(ref: {id: $id}) { tiles(after: $after) { totalCount } } }"
    for after in ("nonsense", "f" * 40):
        (error,) = server.ask(query, id=session_id, after=after)["errors"]
        assert error["extensions"]["code"] == "INVALID_INPUT"


def test_malformed_ids_are_no_crash(server: RunningServer) -> None:
    answer = server.ask('{ tile(id: "x") { id } podAssignment(id: "y@z") { id } pod(id: "") { id } }')
    assert answer == {"data": {"tile": None, "podAssignment": None, "pod": None}}
    (error,) = server.ask('{ tileAt(sessionId: "s", lat: 91, lng: 0) { id } }')["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"


def test_an_operation_beyond_the_limits_is_refused(server: RunningServer) -> None:
    aliases = " ".join(f"a{i}: fleet {{ id }}" for i in range(300))
    assert "aliases" in json.dumps(server.ask(f"{{ {aliases} }}"))
    body = json.dumps({"query": "{ fleet { id } }", "variables": {"x": "y" * 5_000_001}})
    refused = server.http.post("/graphql", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 413
    assert refused.json()["errors"][0]["extensions"]["limit"] == "5000000 bytes"


def test_a_syntax_error_is_told_with_its_place_each_time(server: RunningServer) -> None:
    for _ in range(2):
        (error,) = server.ask("{ nonsense")["errors"]
        assert error["message"].startswith("Syntax Error")
        assert error["locations"] == [{"line": 1, "column": 11}]


def test_an_unexpected_error_tells_no_python(server: RunningServer) -> None:
    (error,) = server.ask('{ session(ref: {id: "a", any: "b"}) { id } }')["errors"]
    assert "any" in error["message"]
    assert "Traceback" not in json.dumps(error)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-01:00"])
def test_a_moment_that_is_out_of_range_in_utc_is_refused(server: RunningServer, moment: str) -> None:
    query = "query($at: DateTime!) { sessions(filter: {createdAfter: $at}) { edges { node { id } } } }"
    (error,) = server.ask(query, at=moment)["errors"]
    assert "years 1 to 9999" in error["message"]


def test_a_moment_without_an_offset_is_utc_wherever_it_is_given(server: RunningServer) -> None:
    pause = 'mutation { pauseRebalancing(input: {until: "0001-01-01T00:00:00", reason: "r"}) { errors { code } } }'
    assert server.data(pause)["pauseRebalancing"]["errors"] == [{"code": "INVALID_INPUT"}]


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "application/json",
        "text/event-stream",
        "application/json, text/event-stream",
        "multipart/mixed",
        'multipart/mixed;boundary="graphql";subscriptionSpec=1.0,application/json',
        "multipart/mixed; deferSpec=20220824",
    ],
)
def test_a_subscription_that_is_asked_for_over_plain_http_says_how_to_follow_it(
    server: RunningServer, accept: str
) -> None:
    operation, headers = {"query": "subscription { fleetChanges { version } }"}, {"Accept": accept}
    for answer in (
        server.http.get("/graphql", params=operation, headers=headers),
        server.http.post("/graphql", json=operation, headers=headers),
    ):
        assert answer.headers["content-type"] == "application/json"
        (error,) = answer.json()["errors"]
        assert error["extensions"]["code"] == "INVALID_INPUT"
        assert "WebSocket" in error["message"]


@pytest.mark.parametrize("payload", [{"variables": [1]}, {"variables": "x"}, {"operationName": 5}])
def test_a_socket_that_asks_with_what_are_no_variables_or_no_name_is_told_so(
    server: RunningServer, payload: dict[str, object]
) -> None:
    with socket_to(server.websocket_url) as socket:
        asked = {"query": "query A($n: Int! = 1) { sessions(first: $n) { totalCount } }", **payload}
        socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": asked}))
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv(30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4400
    assert "variables" in closed.value.rcvd.reason


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{ sessions(filter: {states: []}) { totalCount } }", ["filter", "states"]),
        ('{ sessions(filter: {dataSource: ""}) { totalCount } }', ["filter", "dataSource"]),
        ('{ sessions(filter: {type: ""}) { totalCount } }', ["filter", "type"]),
        ('{ currentSessions(dataSource: "") { totalCount } }', ["dataSource"]),
        ("{ mainSession { events(types: []) { totalCount } } }", ["types"]),
        ("{ mainSession { tiles(filter: {health: []}) { totalCount } } }", ["filter", "health"]),
        ('{ mainSession { tiles(filter: {within: "here"}) { totalCount } } }', ["filter", "within"]),
        ("{ fleet { pods(status: []) { totalCount } } }", ["status"]),
    ],
)
def test_a_choice_that_nothing_could_match_is_refused_by_field(
    server: RunningServer, text: str, path: list[str]
) -> None:
    (error,) = server.ask(text)["errors"]
    assert (error["extensions"]["code"], error["extensions"]["argumentPath"]) == ("INVALID_INPUT", path)


@pytest.mark.parametrize("stream", ['sessionStarted(dataSource: "")', "sessionEvents(types: [])"])
def test_a_stream_that_could_never_tell_anything_is_refused(server: RunningServer, stream: str) -> None:
    with subscribed(server.websocket_url, f"subscription {{ {stream} {{ session {{ id }} }} }}") as subscriber:
        (error,) = subscriber.next()["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"


def test_of_several_operations_none_is_executed_unless_it_is_named(server: RunningServer) -> None:
    name = f"one of two {uuid4()}"
    creation = f'createSession(input: {{displayName: "{name}"}}) {{ session {{ id }} }}'
    several = f"mutation A {{ {creation} }} query B {{ __typename }}"
    (error,) = server.ask(several)["errors"]
    assert error["message"] == "Must provide operation name if query contains multiple operations."
    named = server.http.post("/graphql", json={"query": several, "operationName": "B"}).json()
    assert named == {"data": {"__typename": "Query"}}
    query = "query($name: String!) { session(ref: {displayName: $name}) { id } }"
    assert server.data(query, name=name) == {"session": None}
