"""One graph through Apollo Gateway and Hive Gateway: joins in both directions, mutations, failures, credentials."""

import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from tests.gateway.client import Gateway

ABSENT_ID = "00000000-0000-4000-8000-000000000000"
CELL = "842da85ffffffff"
ASSIGNED_SECONDS_MAX = 30
POLL_SECONDS = 0.25

CREATE_SESSION = """
mutation ($input: CreateSessionInput!) {
  createSession(input: $input) { session { id displayName experiments { id } } errors { code message } }
}"""
START_EXPERIMENT = """
mutation ($input: StartExperimentInput!) {
  startExperiment(input: $input) { experiment { id name } }
}"""
REGISTER_POD = """
mutation ($input: RegisterPodInput!) {
  registerPod(input: $input) { pod { id } leaseToken errors { code message } }
}"""
HEARTBEAT_POD = """
mutation ($input: HeartbeatPodInput!) {
  heartbeatPod(input: $input) { pod { id } errors { code message } }
}"""

pytestmark = pytest.mark.xdist_group("gateway")


def create_session(gateway: Gateway, **fields: object) -> dict[str, Any]:
    payload = gateway.data(CREATE_SESSION, input=fields)["createSession"]
    assert payload["errors"] == []
    session: dict[str, Any] = payload["session"]
    return session


def start_experiment(gateway: Gateway, **fields: object) -> dict[str, Any]:
    experiment: dict[str, Any] = gateway.data(START_EXPERIMENT, input=fields)["startExperiment"]["experiment"]
    return experiment


def test_a_session_joins_its_experiments(gateway: Gateway) -> None:
    session = create_session(gateway)
    start_experiment(gateway, name="first", sessionId=session["id"])
    start_experiment(gateway, name="second", sessionId=session["id"])
    answer = gateway.data(
        "query ($id: ID!) { session(ref: {id: $id}) { displayName experiments { name startedAt session { id } } } }",
        id=session["id"],
    )
    joined = answer["session"]
    assert joined["displayName"] == session["displayName"]
    assert [(one["name"], one["session"]["id"]) for one in joined["experiments"]] == [
        ("first", session["id"]),
        ("second", session["id"]),
    ]


def test_mutations_on_either_subgraph_answer_with_fields_of_the_other(gateway: Gateway) -> None:
    session = create_session(gateway)
    assert session["experiments"] == []
    answer = gateway.data(
        """
        mutation ($id: ID!) {
          startExperiment(input: {name: "joined", sessionId: $id}) {
            experiment { session { id displayName state } }
          }
        }""",
        id=session["id"],
    )
    assert answer["startExperiment"]["experiment"]["session"] == {
        "id": session["id"],
        "displayName": session["displayName"],
        "state": "ACTIVE",
    }


def test_an_experiment_joins_its_session_tile_and_assignment(gateway: Gateway) -> None:
    pod_id = f"pod-{uuid4()}"
    session = create_session(gateway, coverage={"cells": [CELL]})
    tile_id = f"{session['id']}:{CELL}"
    assignment_id = hold_tile(gateway, tile_id, pod_id)
    started = start_experiment(
        gateway, name="on a tile", sessionId=session["id"], tileId=tile_id, assignmentId=assignment_id
    )
    experiment = gateway.data(
        """
        query ($id: ID!) {
          experiment(id: $id) {
            session { displayName }
            tile { sessionId h3Index cell { h3Index experiments { id } } }
            assignment { tileId epoch pod { id service } }
          }
        }""",
        id=started["id"],
    )["experiment"]
    assert experiment["session"] == {"displayName": session["displayName"]}
    assert (experiment["tile"]["sessionId"], experiment["tile"]["h3Index"]) == (session["id"], CELL)
    assert {"id": started["id"]} in experiment["tile"]["cell"]["experiments"]
    assert experiment["assignment"]["tileId"] == tile_id
    assert assignment_id == f"{tile_id}@{experiment['assignment']['epoch']}"
    assert experiment["assignment"]["pod"]["service"] == "gateway-test"


def hold_tile(gateway: Gateway, tile_id: str, pod_id: str) -> str:
    """Keep a pod alive until the monitoring cycle has given the tile to a pod; answer the assignment's id."""
    registration = {"id": pod_id, "service": "gateway-test", "capacity": 1000.0, "lease": "PT5S"}
    payload = gateway.data(REGISTER_POD, input=registration)["registerPod"]
    assert payload["errors"] == []
    deadline = time.monotonic() + ASSIGNED_SECONDS_MAX
    while time.monotonic() < deadline:
        tile = gateway.data("query ($id: ID!) { tile(id: $id) { assignment { id } } }", id=tile_id)["tile"]
        if tile["assignment"]:
            return str(tile["assignment"]["id"])
        heartbeat = {"podId": pod_id, "leaseToken": payload["leaseToken"]}
        assert gateway.data(HEARTBEAT_POD, input=heartbeat)["heartbeatPod"]["errors"] == []
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"{tile_id} is still unassigned after {ASSIGNED_SECONDS_MAX} s")


def test_an_expected_failure_arrives_as_data_with_its_facts(gateway: Gateway) -> None:
    answer = gateway.data(
        """
        mutation ($id: ID!) {
          endSession(input: {id: $id}) {
            session { id }
            errors { __typename code message ... on SessionManagerNotFound { entity id } }
          }
        }""",
        id=ABSENT_ID,
    )
    (error,) = answer["endSession"]["errors"]
    assert answer["endSession"]["session"] is None
    assert (error["__typename"], error["code"], error["id"]) == ("SessionManagerNotFound", "NOT_FOUND", ABSENT_ID)


def test_an_error_of_one_field_leaves_the_other_subgraphs_data(gateway: Gateway) -> None:
    answer = gateway.ask('{ experiment(id: "no-such-experiment") { name } mainSession { isMain } }')
    (error,) = answer["errors"]
    assert answer["data"] == {"experiment": None, "mainSession": {"isMain": True}}
    assert (error["path"], error["extensions"]["code"]) == (["experiment"], "EXPERIMENT_NOT_FOUND")


def test_an_error_of_the_session_manager_keeps_its_path_and_leaves_the_neighbours_data(gateway: Gateway) -> None:
    answer = gateway.ask(
        "query ($id: ID!) { session(ref: {id: $id}) { tiles(first: 0) { totalCount } } experimentManagerCaller }",
        id=create_session(gateway)["id"],
    )
    (error,) = answer["errors"]
    assert answer["data"] == {"session": None, "experimentManagerCaller": gateway.authorization}
    assert (error["path"], error["extensions"]["code"]) == (["session", "tiles"], "INVALID_INPUT")


def test_an_unknown_field_is_refused_before_any_subgraph_is_asked(gateway: Gateway) -> None:
    answer = gateway.ask("{ mainSession { id noSuchField } }")
    assert not answer.get("data")
    assert "noSuchField" in answer["errors"][0]["message"]


def test_an_experiment_outlives_its_session_as_null(gateway: Gateway) -> None:
    answer = gateway.ask('{ experiment(id: "experiment-0") { name session { id displayName } } }')
    assert answer["data"]["experiment"] == {"name": "orphan", "session": None}
    assert_errors_only_of_absent_entities(answer)


@pytest.mark.parametrize("nonsense", ["no such thing", ":", "@", "a:b@c", "\x00", "e\u0301" * 500])
def test_references_that_cannot_name_anything_are_null(gateway: Gateway, nonsense: str) -> None:
    started = start_experiment(gateway, name="lost", sessionId=nonsense, tileId=nonsense, assignmentId=nonsense)
    answer = gateway.ask(
        """
        query ($id: ID!) {
          experiment(id: $id) { name session { displayName } tile { h3Index } assignment { epoch } }
        }""",
        id=started["id"],
    )
    assert answer["data"]["experiment"] == {"name": "lost", "session": None, "tile": None, "assignment": None}
    assert_errors_only_of_absent_entities(answer)


def test_absent_and_present_sessions_of_one_batch_keep_their_places(gateway: Gateway) -> None:
    session = create_session(gateway)
    experiment = start_experiment(gateway, name="beside the orphan", sessionId=session["id"])
    answer = gateway.ask("{ experiments { id session { displayName } } }")
    joined = {one["id"]: one["session"] for one in answer["data"]["experiments"]}
    assert joined["experiment-0"] is None
    assert joined[experiment["id"]] == {"displayName": session["displayName"]}
    assert_errors_only_of_absent_entities(answer)


def assert_errors_only_of_absent_entities(answer: dict[str, Any]) -> None:
    """Hive reports that a non-null field of an absent entity is null; Apollo keeps silent. Neither says more."""
    for error in answer.get("errors", []):
        value = answer["data"]
        for step in error["path"]:
            value = None if value is None else value[step]
        assert value is None, error


def test_both_subgraphs_receive_the_callers_authorization(gateway: Gateway) -> None:
    answer = gateway.data("{ experimentManagerCaller mainSession { isMain } }")
    assert answer == {"experimentManagerCaller": gateway.authorization, "mainSession": {"isMain": True}}


@pytest.mark.parametrize("authorization", [None, "Bearer not-the-secret"])
def test_the_session_manager_refuses_a_caller_without_its_token(gateway: Gateway, authorization: str | None) -> None:
    stranger = replace(gateway, authorization=authorization)
    assert stranger.data("{ experimentManagerCaller }") == {"experimentManagerCaller": authorization}
    answer = stranger.ask("{ mainSession { isMain } }")
    assert not answer.get("data")
    assert answer["errors"]
