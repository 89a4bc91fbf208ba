"""What GraphQL itself refuses: with which code over HTTP and WebSocket, in which media type and with which status."""

import json
from typing import Any

import pytest

from subgraph.api.media_types import GRAPHQL_TYPE, JSON_TYPE, answer_type
from tests.support.server import RunningServer
from tests.support.subscriber import socket_to

TWO = "query A { __typename } query B { __typename }"
REFUSED = {
    "no syntax": ({"query": "{ session("}, "GRAPHQL_PARSE_FAILED"),
    "no such field": ({"query": "{ nothing }"}, "GRAPHQL_VALIDATION_FAILED"),
    "a literal of a wrong type": ({"query": "{ sessions(first: true) { totalCount } }"}, "GRAPHQL_VALIDATION_FAILED"),
    "no variable": ({"query": "query($id: ID!) { pod(id: $id) { id } }"}, "BAD_USER_INPUT"),
    "a variable of a wrong type": (
        {"query": "query($n: Int) { sessions(first: $n) { totalCount } }", "variables": {"n": "x"}},
        "BAD_USER_INPUT",
    ),
    "a variable that a scalar refuses": (
        {
            "query": "query($at: DateTime) { sessions(filter: {createdAfter: $at}) { totalCount } }",
            "variables": {"at": 5},
        },
        "BAD_USER_INPUT",
    ),
    "an operation that is not there": ({"query": TWO, "operationName": "C"}, "OPERATION_RESOLUTION_FAILURE"),
    "no name of several": ({"query": TWO}, "OPERATION_RESOLUTION_FAILURE"),
}


@pytest.mark.parametrize(("asked", "code"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_before_it_is_executed_has_a_code_and_in_graphqls_type_a_status(
    server: RunningServer, asked: dict[str, Any], code: str
) -> None:
    answer = server.http.post("/graphql", json=asked, headers={"Accept": GRAPHQL_TYPE})
    assert (answer.status_code, answer.headers["content-type"]) == (400, f"{GRAPHQL_TYPE}; charset=utf-8")
    assert answer.json().keys() == {"errors"}
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == [code]
    plain = server.http.post("/graphql", json=asked)
    assert plain.headers["content-type"] == JSON_TYPE
    assert plain.json()["errors"] == answer.json()["errors"]
    with socket_to(server.websocket_url) as socket:
        socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": asked}))
        told = json.loads(socket.recv(30))
    errors = told["payload"] if told["type"] == "error" else told["payload"]["errors"]
    assert [error["extensions"]["code"] for error in errors] == [code]


def test_what_a_field_refuses_is_an_answer_in_both_types(server: RunningServer) -> None:
    asked = {"query": '{ currentSessions(dataSource: "") { totalCount } }'}
    answer = server.http.post("/graphql", json=asked, headers={"Accept": GRAPHQL_TYPE})
    assert answer.status_code == 200
    assert answer.json()["data"] is None
    assert answer.json() == server.http.post("/graphql", json=asked).json()


def test_an_argument_that_turns_out_to_have_no_value_is_the_clients_fault(server: RunningServer) -> None:
    # A variable with a default may stand where a value is required; that it is null is seen when the field is executed.
    (error,) = server.ask('query($id: ID = "x") { pod(id: $id) { id } }', id=None)["errors"]
    assert (error["extensions"]["code"], error["path"]) == ("BAD_USER_INPUT", ["pod"])


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (None, JSON_TYPE),
        ("", JSON_TYPE),
        ("*/*", JSON_TYPE),
        ("application/*", JSON_TYPE),
        ("application/json", JSON_TYPE),
        (GRAPHQL_TYPE, GRAPHQL_TYPE),
        (f"{GRAPHQL_TYPE}, application/json;q=0.9", GRAPHQL_TYPE),
        (f"application/json, {GRAPHQL_TYPE}", GRAPHQL_TYPE),
        (f"application/json, {GRAPHQL_TYPE}; q=0.5", JSON_TYPE),
        (f"{GRAPHQL_TYPE}; charset=utf-8; Q=0.4, */*;q=0.1", GRAPHQL_TYPE),
        (f"{GRAPHQL_TYPE};q=0, */*", JSON_TYPE),
        (f"{GRAPHQL_TYPE};q=nonsense", GRAPHQL_TYPE),
        ("text/html,application/xhtml+xml,*/*;q=0.8", JSON_TYPE),
        ("text/event-stream", JSON_TYPE),
        ("text/plain", None),
        ("application/json;q=0", None),
    ],
)
def test_the_media_type_is_the_one_the_client_likes_best(accept: str | None, given: str | None) -> None:
    assert answer_type(accept) == given


def test_who_accepts_no_answer_is_told_so(server: RunningServer) -> None:
    asked = {"query": "mutation { cleanUpExpiredSessions { expired } }"}
    answer = server.http.post("/graphql", json=asked, headers={"Accept": "text/plain"})
    assert answer.status_code == 406
    (error,) = answer.json()["errors"]
    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert GRAPHQL_TYPE in error["message"]
