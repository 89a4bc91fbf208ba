"""Owns small worlds for tests: sessions with tiles, and pods that answer for them, all through GraphQL."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import h3

from tests.support.server import RunningServer, until

CREATE = """mutation($input: CreateSessionInput!) { createSession(input: $input) {
  session { id revision displayName state isMain dataSource type version utcOffset details { key value } metadata }
  errors { __typename message code path
    ... on SessionManagerInvalidInput { limit } ... on SessionNameTaken { conflictingId } }
} }"""
REGISTER_TILES = """mutation($input: RegisterTilesInput!) { registerTiles(input: $input) {
  registered tiles { id h3Index }
  errors { __typename message code path
    ... on SessionManagerInvalidInput { limit } ... on SessionIllegalState { state } }
} }"""
REGISTER_POD = """mutation($input: RegisterPodInput!) { registerPod(input: $input) {
  leaseToken version pod { id status } assignments { id tileId epoch state }
  errors { __typename message code path ... on SessionManagerInvalidInput { limit } }
} }"""
HEARTBEAT = """mutation($input: HeartbeatPodInput!) { heartbeatPod(input: $input) {
  version pod { id } errors { __typename message code path ... on PodLeaseLost { podId superseded } }
} }"""
DEREGISTER_POD = "mutation($input: HeartbeatPodInput!) { deregisterPod(input: $input) { errors { code message } } }"
REPORT = """mutation($input: ReportTileLoadsInput!) { reportTileLoads(input: $input) {
  accepted errors { __typename message code path ... on AssignmentEpochStale { tileId currentEpoch }
    ... on SessionManagerInvalidInput { limit } ... on PodLeaseLost { podId superseded } }
} }"""
ACKNOWLEDGE = """mutation($input: AcknowledgeAssignmentsInput!) { acknowledgeAssignments(input: $input) {
  assignments { id state acknowledgedAt } errors { __typename message code path }
} }"""
ASSIGNMENTS = """query($id: ID!) { pod(id: $id) { status tileCount assignments(first: 1000) { edges { node {
  id tileId podId epoch state reason acknowledgedAt } } } } }"""

PHASE_AFTER = {"PREPARING": "READY", "ACTIVE": "ACTIVE", "DRAINING": "RELEASED"}


def disk(rings: int, lat: float = 40.0, lng: float = -100.0, resolution: int = 4) -> list[str]:
    """Cells around a place."""
    return list(h3.grid_disk(h3.latlng_to_cell(lat, lng, resolution), rings))


def new_session(server: RunningServer, cells: Sequence[str] = (), **fields: Any) -> str:
    """The id of a new session, with tiles for the cells."""
    wanted = {**fields, **({"coverage": {"cells": list(cells)}} if cells else {})}
    answer = server.data(CREATE, input=wanted)["createSession"]
    assert answer["errors"] == [], answer
    session_id: str = answer["session"]["id"]
    return session_id


@dataclass(slots=True)
class FakeWork:
    """A pod that does what it is told when it is asked to: nothing happens between the calls of a test."""

    server: RunningServer
    id: str = field(default_factory=lambda: f"pod-{uuid4().hex[:8]}")
    capacity: float = 100.0
    token: str = ""

    def register(self, **fields: Any) -> dict[str, Any]:
        wanted = {"id": self.id, "service": "test", "capacity": self.capacity, **fields}
        wanted.setdefault("lease", f"PT{self.server.pod_lease_seconds_max}S")
        answer: dict[str, Any] = self.server.data(REGISTER_POD, input=wanted)["registerPod"]
        assert answer["errors"] == [], answer["errors"]
        self.token = self.server.leases[self.id] = answer["leaseToken"]
        return answer

    @property
    def lease(self) -> dict[str, str]:
        return {"podId": self.id, "leaseToken": self.token}

    def heartbeat(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.server.data(HEARTBEAT, input=self.lease)["heartbeatPod"]
        return answer

    def terms(self) -> list[dict[str, Any]]:
        pod = self.server.data(ASSIGNMENTS, id=self.id)["pod"]
        return [edge["node"] for edge in pod["assignments"]["edges"]]

    def acknowledge(self, terms: Sequence[dict[str, Any]] | None = None) -> dict[str, Any]:
        """Acknowledge every term at the phase its state asks for."""
        wanted = self.terms() if terms is None else terms
        acks = [{"assignmentId": term["id"], "phase": PHASE_AFTER[term["state"]]} for term in wanted]
        given = self.server.data(ACKNOWLEDGE, input={**self.lease, "acknowledgements": acks})
        answer: dict[str, Any] = given["acknowledgeAssignments"]
        return answer

    def report(self, loads: Sequence[dict[str, Any]]) -> dict[str, Any]:
        given = self.server.data(REPORT, input={**self.lease, "loads": list(loads)})
        answer: dict[str, Any] = given["reportTileLoads"]
        return answer

    def leave(self) -> None:
        self.server.data(DEREGISTER_POD, input=self.lease)


def until_owned(server: RunningServer, session_id: str, tiles: int) -> list[dict[str, Any]]:
    """The session's tiles, once all of them have an owner."""

    def owned() -> list[dict[str, Any]] | None:
        answer = server.data(
            "query($id: ID!) { session(ref: {id: $id}) { tiles(first: 1000) { edges { node {"
            " id health assignment { id podId epoch state reason acknowledgedAt } } } } } }",
            id=session_id,
        )
        nodes = [edge["node"] for edge in answer["session"]["tiles"]["edges"]]
        return nodes if len(nodes) == tiles and all(node["assignment"] for node in nodes) else None

    found: list[dict[str, Any]] = until(owned, f"{tiles} tiles of {session_id} are owned")
    return found


def emptied(server: RunningServer) -> None:
    """Have a server's fleet as it was at first: no pod that is at work, no tile, and nobody has paused it."""
    server.data("mutation { resumeRebalancing { errors { code } } }")
    end = "mutation($id: ID!) { endSession(input: {id: $id}) { errors { message } } }"
    for edge in server.data("{ currentSessions(first: 100) { edges { node { id } } } }")["currentSessions"]["edges"]:
        server.data(end, id=edge["node"]["id"])
    for pod_id, token in server.leases.items():
        server.data(DEREGISTER_POD, input={"podId": pod_id, "leaseToken": token})
    server.leases.clear()
    fleet = "{ fleet { tileCount pods(status: [READY, CORDONED, DRAINING]) { totalCount } } }"
    until(
        lambda: server.data(fleet)["fleet"] == {"tileCount": 0, "pods": {"totalCount": 0}}, "the fleet is empty", 10.0
    )
