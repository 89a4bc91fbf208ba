"""Tenancy: whatever a stranger asks of another's, the answer is word for word that to what never was.

Every argument that can mean something of a tenant is found by walking the schema: one in no table fails.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import h3
import httpx
import pytest
from graphql import get_named_type, is_required_argument
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from subgraph.api.entities import ENTITIES
from subgraph.api.schema import make_schema
from tests.support.issuer import token
from tests.support.references import SELECTION_DEPTH_MAX, Leaf, leaves_of, operation, selection
from tests.support.server import PATIENT, PLAIN, RunningServer, running_server
from tests.support.world import FakeWork, disk, new_session, until_owned

SECRET = "a-shared-secret-of-at-least-32-bytes"
PLACE = {"lat": 40.0, "lng": -100.0}
CELLS = disk(1)
ALL = "session:read session:write tenant:read tenant:write fleet:read fleet:operate pod admin"
SILENT_SECONDS_MAX = 3.0
STRANGERS = {
    "another tenant": {"tenant": "other", "sub": "eve", "scope": "tenant:read tenant:write pod"},
    "another tenant, same owner": {"tenant": "third", "sub": "ann", "scope": "tenant:read tenant:write pod"},
    "another owner": {"tenant": "acme", "sub": "bob", "scope": "session:read session:write pod"},
}

MEANS: Mapping[str, str] = {
    "SessionRef.id": "session",
    "SessionRef.externalId": "external id",
    "SessionRef.displayName": "name",
    "SessionRef.any": "session",
    "Query.currentSessions.dataSource": "data source",
    "SessionFilter.dataSource": "data source",
    "SessionFilter.ownerId": "owner",
    "SessionFilter.displayNameContains": "name",
    "Query.exportSession.id": "session",
    "Query.tile.id": "tile",
    "Query.tileAt.sessionId": "session",
    "Query.podAssignment.id": "term",
    "Query.assignmentHistory.sessionId": "session",
    "UpdateSessionInput.id": "session",
    "EndSessionInput.id": "session",
    "RenameSessionInput.id": "session",
    "TitleSessionInput.id": "session",
    "ExtendSessionInput.id": "session",
    "DeleteSessionInput.id": "session",
    "RestoreSessionInput.id": "session",
    "CopySessionInput.sourceId": "session",
    "CreateSessionInput.associateIds": "session",
    "AssociateSessionsInput.parentId": "session",
    "AssociateSessionsInput.associateIds": "session",
    "EraseSessionOwnerInput.ownerId": "owner",
    "RegisterTilesInput.sessionId": "session",
    "RequireTileLabelsInput.tileIds": "tile",
    "TileRefInput.tileId": "tile",
    "TileRefsInput.tileIds": "tile",
    "MergeTilesInput.sessionId": "session",
    "PlaceTileInput.tileId": "tile",
    "Subscription.sessionStarted.dataSource": "stream",
    "Subscription.sessionStopped.dataSource": "stream",
    "Subscription.sessionEvents.sessionId": "session",
    "Subscription.sessionEvents.dataSource": "stream",
    "Subscription.tileChanges.sessionId": "session",
    "Subscription.tileRoutes.sessionId": "session",
}
"""What an argument means: which of ann's things goes there, and something that never was instead."""

POD = "the fleet is shared: pods are nobody's in particular"
OF_PODS = "a pod serves the tiles of all tenants that it was given"
PLACE_IN_LIST = "a place in a list, which is of the caller's own all the same"
DESCRIBES = "describes sessions, of which only the caller's own are listed"
MEANS_NOTHING_OF_A_TENANT: Mapping[str, str] = {
    "Query.currentSessions.after": PLACE_IN_LIST,
    "Query.sessions.after": PLACE_IN_LIST,
    "Query.sessionAuditLog.after": PLACE_IN_LIST,
    "Query.assignmentHistory.after": PLACE_IN_LIST,
    "Subscription.sessionEvents.after": PLACE_IN_LIST,
    "SessionFilter.type": DESCRIBES,
    "SessionDetailInput.key": DESCRIBES,
    "SessionDetailInput.value": DESCRIBES,
    "Query.pod.id": POD,
    "RebalancePlanInput.removePods": POD,
    "HypotheticalPodInput.id": POD,
    "HypotheticalPodInput.zone": POD,
    "Query.assignmentHistory.podId": POD,
    "PlaceTileInput.podId": POD,
    "RegisterPodInput.id": POD,
    "HeartbeatPodInput.podId": POD,
    "HeartbeatPodInput.leaseToken": POD,
    "ReportTileLoadsInput.podId": POD,
    "ReportTileLoadsInput.leaseToken": POD,
    "AcknowledgeAssignmentsInput.podId": POD,
    "AcknowledgeAssignmentsInput.leaseToken": POD,
    "PodRefInput.podId": POD,
    "Subscription.podAssignments.podId": POD,
    "Subscription.podAssignments.leaseToken": POD,
    "HeldTileInput.tileId": OF_PODS,
    "TileLoadInput.tileId": OF_PODS,
    "AcknowledgementInput.assignmentId": OF_PODS,
    "RebalanceInput.planId": "a plan is the fleet's",
    "TileCoverageInput.cells": "a place on Earth",
    "MergeTilesInput.parent": "a place on Earth",
}
"""Every other id, and every other text that can be asked for; each with the reason."""

SCHEMA = make_schema()._schema
LEAVES = tuple(leaves_of(SCHEMA))
CASES = [leaf for leaf in LEAVES if MEANS.get(leaf.key) not in (None, "stream")]
MATRIX = [
    pytest.param(leaf, stranger, id=f"{leaf.name} by {stranger}")
    for leaf in CASES
    for stranger, claims in STRANGERS.items()
    if MEANS[leaf.key] != "owner" or claims["sub"] != "ann"  # who is called the same finds its own
]
QUERY: Any = SCHEMA.query_type
LISTS = [
    name
    for name, field in QUERY.fields.items()
    if str(get_named_type(field.type)).endswith("Connection")
    and not any(is_required_argument(one) for one in field.args.values())
]
STREAMS = [leaf for leaf in LEAVES if MEANS.get(leaf.key) == "stream"]


def test_every_argument_that_could_mean_something_of_a_tenant_is_in_a_table() -> None:
    asked_for = {leaf.key for leaf in LEAVES if leaf.type_name == "ID" or leaf.root != "Mutation"}
    texts = {leaf.key for leaf in LEAVES if leaf.key in asked_for and leaf.type_name in ("ID", "String")}
    assert texts - MEANS.keys() - MEANS_NOTHING_OF_A_TENANT.keys() == set(), "say what it means"
    assert (MEANS.keys() | MEANS_NOTHING_OF_A_TENANT.keys()) - {leaf.key for leaf in LEAVES} == set(), "it is gone"
    assert MEANS.keys() & MEANS_NOTHING_OF_A_TENANT.keys() == set()


def bearer(claims: Mapping[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(SECRET.encode(), 'HS256', seconds=3_000, **claims)}"}


@dataclass
class World:
    """A server, and what ann of acme has there. `of`: what is hers, `never`: the like of it that never was."""

    server: RunningServer
    of: dict[str, str]
    never: dict[str, str]
    samples: dict[str, Any]
    http: httpx.Client
    """Shows no token of its own: of whoever asks."""

    def ask(self, asked: Mapping[str, Any], headers: Mapping[str, str]) -> str:
        return self.http.post("/graphql", json=dict(asked), headers=dict(headers)).text

    def first_told(self, asked: Mapping[str, Any], headers: Mapping[str, str]) -> str:
        """The first message of a subscription."""
        with connect(self.server.websocket_url, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
            socket.send(json.dumps({"type": "connection_init", "payload": dict(headers)}))
            socket.recv(30)
            socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": dict(asked)}))
            try:
                return str(socket.recv(SILENT_SECONDS_MAX))
            except TimeoutError:
                return "{}"  # it has begun, and has nothing to tell

    def answer(self, leaf: Leaf, value: str, headers: Mapping[str, str]) -> str:
        samples = self.samples
        if leaf.key == "AssociateSessionsInput.associateIds":
            # Only with a session of its own does a stranger get as far as the other one.
            samples = samples | {"AssociateSessionsInput.parentId": self.made_by(headers)}
        asked = operation(SCHEMA, leaf, value, samples)
        return (self.first_told if leaf.root == "Subscription" else self.ask)(asked, headers)

    def made_by(self, headers: Mapping[str, str]) -> str:
        """The id of a new session of a caller's."""
        made = {"query": "mutation { createSession(input: {}) { session { id } } }"}
        session_id: str = json.loads(self.ask(made, headers))["data"]["createSession"]["session"]["id"]
        return session_id

    def in_state(self, state: str) -> str:
        """The id of a session of ann's in a state."""
        if state == "EXPIRED":
            session_id = new_session(self.server, ttl="PT1S")
            time.sleep(1.1)
            return session_id
        session_id = new_session(self.server)
        mutation = {"ENDED": "endSession", "DELETED": "deleteSession"}[state]
        query = f"mutation($id: ID!) {{ {mutation}(input: {{id: $id}}) {{ errors {{ code }} }} }}"
        done = self.server.data(query, id=session_id)
        assert done[mutation]["errors"] == []
        return session_id

    def without_ids(self, text: str) -> str:
        """An answer as it is but for what was asked for."""
        for value in sorted({*self.of.values(), *self.never.values()}, key=len, reverse=True):
            text = text.replace(value, "…")
        return text

    def warm(self) -> None:
        """Have whatever keeps sessions and tiles in memory know ann's."""
        query = "query($id: ID!) { session(ref: {id: $id}) { tiles { edges { node { session { id } } } } } }"
        found = self.server.data(query, id=self.of["session"])
        assert found["session"]["tiles"]["edges"][0]["node"]["session"] == {"id": self.of["session"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    secret = {"SESSION_MANAGER_JWT_SECRET": SECRET}
    directory = tmp_path_factory.mktemp("tenancy") / "data"
    with (
        running_server(directory, **PATIENT, **secret) as server,
        httpx.Client(base_url=server.url, timeout=30, verify=PLAIN) as http,
    ):
        server.http.headers.update(bearer({"sub": "ann", "tenant": "acme", "scope": ALL}))
        pod = FakeWork(server)
        pod.register()
        marks = {name: f"{name.replace(' ', '-')}-{uuid4().hex}" for name in ("external id", "name", "data source")}
        session_id = new_session(
            server,
            CELLS,
            externalId=marks["external id"],
            displayName=marks["name"],
            dataSource=marks["data source"],
            metadata={"secret": "marked"},
        )
        tile = until_owned(server, session_id, len(CELLS))[0]
        pod.acknowledge()
        cell, term = tile["id"].partition(":")[2], tile["assignment"]["id"]
        absent = str(uuid4())
        of = {**marks, "session": session_id, "tile": tile["id"], "term": term, "owner": "ann"}
        never = {name: f"{name.replace(' ', '-')}-{uuid4().hex}" for name in marks}
        never |= {"session": absent, "tile": f"{absent}:{cell}", "term": f"{absent}:{cell}@{term.partition('@')[2]}"}
        samples = {
            "Query.tileAt": PLACE,
            "Int": 1,
            "Duration": "PT1H",
            "SessionDetailInput": {"key": "k", "value": "v"},
            "TileCoverageInput": {"cells": [CELLS[0]]},
            "RequireTileLabelsInput.requiredLabels": [],
            "RenameSessionInput.displayName": "another name",
            "CopySessionInput.displayName": "a copy",
            "TitleSessionInput": {"title": "A title"},
            "AssociateSessionsInput.associateIds": [absent],
            "MergeTilesInput.parent": h3.cell_to_parent(CELLS[0], 3),
            "PlaceTileInput.podId": pod.id,
        }
        yield World(server, of, never | {"owner": "nobody-at-all"}, samples, http)


@pytest.mark.parametrize(("leaf", "stranger"), MATRIX)
def test_what_is_anothers_is_answered_like_what_never_was(world: World, leaf: Leaf, stranger: str) -> None:
    kind, headers = MEANS[leaf.key], bearer(STRANGERS[stranger])
    never = world.answer(leaf, world.never[kind], headers)
    assert "INVALID_INPUT" not in never, f"refused before anything was looked up: {never}"
    assert "GRAPHQL" not in never
    before = world.answer(leaf, world.of[kind], headers)
    world.warm()
    after = world.answer(leaf, world.of[kind], headers)
    assert world.without_ids(before) == world.without_ids(never)
    assert world.without_ids(after) == world.without_ids(never)
    assert "marked" not in before + after


@pytest.mark.parametrize("leaf", [leaf for leaf in CASES if leaf.root != "Mutation"], ids=lambda leaf: leaf.name)
def test_its_owner_is_answered_otherwise(world: World, leaf: Leaf) -> None:
    kind = MEANS[leaf.key]
    headers = bearer({"sub": "ann", "tenant": "acme", "scope": ALL})
    own, never = (world.answer(leaf, of[kind], headers) for of in (world.of, world.never))
    assert "errors" not in json.loads(own), own
    assert world.without_ids(own) != world.without_ids(never)


REFERENCES = [(name, fields) for name, entity in ENTITIES.items() for fields in map(tuple, map(sorted, entity.keys))]


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize(("type_name", "fields"), REFERENCES, ids=lambda one: "+".join([*one]) if one else "")
def test_a_reference_to_anothers_entity_resolves_like_one_that_never_was(
    world: World, type_name: str, fields: tuple[str, ...], stranger: str
) -> None:
    kind = {"Session": "session", "Tile": "tile", "PodAssignment": "term", "Pod": "session"}[type_name]
    headers = bearer(STRANGERS[stranger])

    def answer(of: Mapping[str, str], headers: Mapping[str, str]) -> str:
        session_id, _, cell = of["tile"].partition(":")
        key = {"id": of[kind]} if fields == ("id",) else {"sessionId": session_id, "h3Index": cell}
        query = f"query($r: [_Any!]!) {{ _entities(representations: $r) {{ ... on {type_name} {{ id }} }} }}"
        return world.ask({"query": query, "variables": {"r": [{"__typename": type_name, **key}]}}, headers)

    never, before = answer(world.never, headers), answer(world.of, headers)
    world.warm()
    after = answer(world.of, headers)
    assert world.without_ids(before) == world.without_ids(after) == world.without_ids(never)
    owner = bearer({"sub": "ann", "tenant": "acme", "scope": ALL})
    assert (world.of[kind] in answer(world.of, owner)) == (type_name != "Pod")


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("stranger", STRANGERS)
def test_no_list_of_a_strangers_has_anything_of_anothers(world: World, name: str, stranger: str) -> None:
    world.warm()
    query = f"{{ {name}(first: 100) {selection(SCHEMA, QUERY.fields[name], SELECTION_DEPTH_MAX)} }}"
    answer = world.ask({"query": query}, bearer(STRANGERS[stranger]))
    assert {error["extensions"]["code"] for error in json.loads(answer).get("errors", [])} <= {"NOT_ALLOWED"}, answer
    assert not any(mark in answer for mark in (world.of["session"], world.of["name"], "marked"))
    own = world.ask({"query": query}, bearer({"sub": "ann", "tenant": "acme", "scope": ALL}))
    assert world.of["session"] in own, "its owner finds it there"


@pytest.mark.parametrize("state", ["ENDED", "EXPIRED", "DELETED"])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_whatever_became_of_it_a_stranger_is_told_nothing(world: World, stranger: str, state: str) -> None:
    session_id, headers = world.in_state(state), bearer(STRANGERS[stranger])
    for leaf in CASES:
        if MEANS[leaf.key] == "session":
            answer, never = (world.answer(leaf, one, headers) for one in (session_id, world.never["session"]))
            assert answer.replace(session_id, "…") == world.without_ids(never), leaf.name


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("leaf", STREAMS, ids=lambda leaf: leaf.name)
def test_a_stream_tells_a_stranger_of_its_own_sessions_alone(world: World, leaf: Leaf, stranger: str) -> None:
    headers, shared = bearer(STRANGERS[stranger]), f"shared-{uuid4().hex}"
    asked = operation(SCHEMA, leaf, shared, world.samples)
    with connect(world.server.websocket_url, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        socket.send(json.dumps({"type": "connection_init", "payload": headers}))
        socket.recv(30)
        socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": asked}))
        # The socket answers in order, so when this is answered the stream has begun to.
        socket.send(json.dumps({"type": "ping"}))
        assert json.loads(socket.recv(30))["type"] == "pong"
        own = ""
        for _ in range(50):
            anns = new_session(world.server, dataSource=shared)
            end = "mutation($id: ID!) { endSession(input: {id: $id}) { errors { message } } }"
            world.server.data(end, id=anns)
            made = {"query": "mutation($d: String) { createSession(input: {dataSource: $d}) { session { id } } }"}
            created = json.loads(world.ask({**made, "variables": {"d": shared}}, headers))
            own = created["data"]["createSession"]["session"]["id"]
            world.ask({"query": end, "variables": {"id": own}}, headers)
            try:
                told = str(socket.recv(0.5))
            except TimeoutError:
                continue  # it had not begun when these came
            assert json.loads(told)["type"] == "next", told
            assert anns not in told
            return
    raise AssertionError("nothing was told of the stranger's own sessions")


def test_names_and_external_ids_of_another_tenant_are_in_nobodys_way(world: World) -> None:
    headers = bearer(STRANGERS["another tenant"])
    query = "mutation($input: CreateSessionInput!) { createSession(input: $input) { session { id } errors { code } } }"
    wanted = {"displayName": world.of["name"], "externalId": world.of["external id"]}
    created = json.loads(world.ask({"query": query, "variables": {"input": wanted}}, headers))["data"]["createSession"]
    assert created["errors"] == []
    deleted = {"query": "mutation($id: ID!) { deleteSession(input: {id: $id, purge: true}) { errors { code } } }"}
    world.ask({**deleted, "variables": {"id": created["session"]["id"]}}, headers)


def test_with_fleet_read_tiles_and_terms_of_all_tenants_are_seen_and_their_sessions_are_not(world: World) -> None:
    FakeWork(world.server).register()
    until_owned(world.server, world.of["session"], len(CELLS))
    headers = bearer({"tenant": "other", "sub": "operator", "scope": "fleet:read session:read"})
    query = """query($tile: ID!, $term: ID!, $session: ID!) {
      tile(id: $tile) { id session { id } assignment { pod { id } } } podAssignment(id: $term) { tile { id } }
      session(ref: {id: $session}) { id } }"""
    variables = {name: world.of[name] for name in ("tile", "term", "session")}
    found = json.loads(world.ask({"query": query, "variables": variables}, headers))
    assert "errors" not in found
    assert found["data"]["tile"]["id"] == found["data"]["podAssignment"]["tile"]["id"] == world.of["tile"]
    assert found["data"]["tile"]["assignment"]["pod"] is not None
    assert found["data"]["tile"]["session"] is None
    assert found["data"]["session"] is None


def test_who_may_see_and_not_change_is_told_which_scope_would_do(world: World) -> None:
    headers = bearer({"tenant": "acme", "sub": "carol", "scope": "session:write tenant:read"})
    query = """mutation($id: ID!) { renameSession(input: {id: $id, displayName: "mine"}) {
      errors { code ... on SessionManagerNotAllowed { requiredScope } } } }"""
    answer = json.loads(world.ask({"query": query, "variables": {"id": world.of["session"]}}, headers))
    (error,) = answer["data"]["renameSession"]["errors"]
    assert error == {"code": "NOT_ALLOWED", "requiredScope": "tenant:write"}
