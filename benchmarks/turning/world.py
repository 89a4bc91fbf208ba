"""Owns what the largest operations are asked of: the application of one process, tiles, pods and sessions in it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import h3

TILES = 10_000
PODS = 20
SESSIONS = 600
ASSOCIATES = 100
LEASE_SECONDS = 60.0
HEARTBEAT_SECONDS = 10.0

CREATE = "mutation($i: CreateSessionInput!) { createSession(input: $i) { session { id } errors { message } } }"
ASSOCIATE = "mutation($i: AssociateSessionsInput!) { associateSessions(input: $i) { errors { message } } }"
REGISTER = "mutation($i: RegisterPodInput!) { registerPod(input: $i) { leaseToken errors { message } } }"
HEARTBEAT = "mutation($i: HeartbeatPodInput!) { heartbeatPod(input: $i) { errors { message } } }"
ACKNOWLEDGE = "mutation($i: AcknowledgeAssignmentsInput!) { acknowledgeAssignments(input: $i) { errors { message } } }"
REPORT = "mutation($i: ReportTileLoadsInput!) { reportTileLoads(input: $i) { accepted errors { message } } }"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation was answered."""

    status: int
    body: bytes

    def data(self) -> Any:
        """Its data; an error is an exception."""
        answer = json.loads(self.body)
        if answer.get("errors"):
            raise RuntimeError(f"errors in the answer: {str(answer['errors'][:3])[:2_000]}")
        return answer["data"]


class Server:
    """The application of one process, asked without a network."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def ask(self, query: str, **variables: Any) -> Answer:
        """The answer to an operation."""
        return await self.send(json.dumps({"query": query, "variables": variables}).encode())

    async def send(self, body: bytes) -> Answer:
        """The answer to a request's body."""
        waiting: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
        said: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return waiting.pop()

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/graphql",
            "raw_path": b"/graphql",
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": [(b"content-type", b"application/json"), (b"host", b"127.0.0.1:4001")],
            "server": ("127.0.0.1", 4001),
            "client": ("127.0.0.1", 40_000),
        }
        await self._app(scope, receive, send)
        return Answer(said[0]["status"], b"".join(one.get("body", b"") for one in said[1:]))

    async def change(self, mutation: str, **given: Any) -> Any:
        """The payload of a mutation."""
        (payload,) = (await self.ask(mutation, i=given)).data().values()
        if payload["errors"]:
            raise RuntimeError(f"refused: {payload['errors'][:3]}")
        return payload


@dataclass(frozen=True, slots=True)
class Made:
    """What there is to ask for."""

    session_id: str
    tile_ids: Sequence[str]
    terms: Sequence[str]
    session_ids: Sequence[str]
    lease: Mapping[str, str]


@asynccontextmanager
async def world(server: Server) -> AsyncIterator[Made]:
    """A session of many tiles, owned by pods that reported once; and sessions, some with many associates."""
    cells = sorted(h3.grid_disk(h3.latlng_to_cell(37.77, -122.42, 7), 58))[:TILES]
    async with asyncio.timeout(30):
        while b'"leader":"' not in (await server.ask("{ fleet { leader } }")).body:
            await asyncio.sleep(0.1)
    leases: list[dict[str, str]] = []
    for number in range(PODS):
        pod: dict[str, Any] = {
            "id": f"pod-{number:02}",
            "service": "benchmark",
            "capacity": 1e6,
            "lease": f"PT{LEASE_SECONDS:g}S",
        }
        pod["labels"] = [{"key": "zone", "value": "a"}]
        leases.append({"podId": pod["id"], "leaseToken": (await server.change(REGISTER, **pod))["leaseToken"]})

    async def renew() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for lease in leases:
                await server.change(HEARTBEAT, **lease)

    heartbeats = asyncio.create_task(renew())
    try:
        wanted = {"displayName": "tiles", "coverage": {"cells": cells}}
        session_id = (await server.change(CREATE, **wanted))["session"]["id"]
        terms: list[dict[str, Any]] = []
        async with asyncio.timeout(120):
            while len(terms) < TILES:
                await asyncio.sleep(1)
                terms = [term for lease in leases for term in await _terms(server, lease["podId"])]
        for lease in leases:
            of_pod = [term for term in terms if term["podId"] == lease["podId"]]
            done = [{"assignmentId": term["id"], "phase": "ACTIVE"} for term in of_pod]
            await server.change(ACKNOWLEDGE, **lease, acknowledgements=done)
            loads = [
                {"tileId": term["tileId"], "epoch": term["epoch"], "recordsPerSecond": 10.5 + index % 100}
                for index, term in enumerate(of_pod)
            ]
            await server.change(REPORT, **lease, loads=loads)
        session_ids = []
        for number in range(SESSIONS):
            details = [{"key": f"key {n}", "value": f"value {n}"} for n in range(5)]
            given = {"displayName": f"session {number}", "details": details, "metadata": {"n": number}}
            session_ids.append((await server.change(CREATE, **given))["session"]["id"])
        parents, children = session_ids[:ASSOCIATES], session_ids[ASSOCIATES : 2 * ASSOCIATES]
        for parent in parents:
            await server.change(ASSOCIATE, parentId=parent, associateIds=children)
        yield Made(
            session_id, [term["tileId"] for term in terms], [term["id"] for term in terms], session_ids, leases[0]
        )
    finally:
        heartbeats.cancel()
        with suppress(asyncio.CancelledError):
            await heartbeats


async def _terms(server: Server, pod_id: str) -> list[dict[str, Any]]:
    query = """query($id: ID!, $after: String) { pod(id: $id) { assignments(first: 1000, after: $after) {
      pageInfo { hasNextPage endCursor } edges { node { id tileId podId epoch } } } } }"""
    found: list[dict[str, Any]] = []
    page = {"hasNextPage": True, "endCursor": None}
    while page["hasNextPage"]:
        answer = (await server.ask(query, id=pod_id, after=page["endCursor"])).data()["pod"]["assignments"]
        found += [edge["node"] for edge in answer["edges"]]
        page = answer["pageInfo"]
    return found
