"""Owns the benchmark's data: made in our server as any client would make them, then copied to the peers' Valkey."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import h3
import httpx
import redis.asyncio

SESSIONS = 1_000
TILES = 1_000
POD_ID = "benchmark-pod"
HEARTBEAT_SECONDS = 1.0
WRITERS = 8

SESSION_FIELDS = "id displayName state dataSource createdAt"
ENTITIES = f"query($of: [_Any!]!) {{ _entities(representations: $of) {{ ... on Session {{ {SESSION_FIELDS} }} }} }}"
TILE_LIST = """query($id: ID!) { session(ref: {id: $id}) { tiles(first: 1000) { edges { node {
  id h3Index health load { recordsPerSecond } assignment { podId epoch state } } } } } }"""

CREATE_SESSION = """mutation($input: CreateSessionInput!) { createSession(input: $input) {
  session { id } errors { message } } }"""
REGISTER_TILES = """mutation($input: RegisterTilesInput!) { registerTiles(input: $input) {
  registered errors { message } } }"""
REGISTER_POD = """mutation($input: RegisterPodInput!) { registerPod(input: $input) {
  leaseToken errors { message } } }"""
HEARTBEAT = """mutation($input: HeartbeatPodInput!) { heartbeatPod(input: $input) { errors { message } } }"""
ACKNOWLEDGE = """mutation($input: AcknowledgeAssignmentsInput!) { acknowledgeAssignments(input: $input) {
  errors { message } } }"""
REPORT = """mutation($input: ReportTileLoadsInput!) { reportTileLoads(input: $input) {
  accepted errors { message } } }"""


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body, before it is encoded."""

    query: str
    variables: Mapping[str, Any]

    def encode(self) -> bytes:
        """The JSON that is sent."""
        return json.dumps({"query": self.query, "variables": self.variables}).encode()


def entities(session_ids: Sequence[str]) -> Body:
    """What a gateway asks of a subgraph: these sessions, by reference."""
    return Body(ENTITIES, {"of": [{"__typename": "Session", "id": session_id} for session_id in session_ids]})


def tile_list(session_id: str) -> Body:
    """All tiles of a session."""
    return Body(TILE_LIST, {"id": session_id})


class Client:
    """A plain client of one server; every error is an exception."""

    def __init__(self, port: int) -> None:
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60.0)

    async def ask(self, body: Body) -> dict[str, Any]:
        """The data of the answer."""
        answer = (await self._http.post("/graphql", json={"query": body.query, "variables": body.variables})).json()
        if answer.get("errors"):
            raise RuntimeError(f"errors in the answer: {answer['errors'][:3]}")
        return dict(answer["data"])

    async def change(self, mutation: str, **given: Any) -> dict[str, Any]:
        """The payload of a mutation."""
        (payload,) = (await self.ask(Body(mutation, {"input": given}))).values()
        if payload["errors"]:
            raise RuntimeError(f"refused: {payload['errors'][:3]}")
        return dict(payload)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()


async def make_sessions(ours: Client) -> list[str]:
    """A thousand sessions; their ids."""
    numbers = iter(range(SESSIONS))
    ids: list[str] = []

    async def write() -> None:
        for number in numbers:
            payload = await ours.change(
                CREATE_SESSION, displayName=f"benchmark {number}", dataSource=f"source-{number % 10}"
            )
            ids.append(payload["session"]["id"])

    await asyncio.gather(*(write() for _ in range(WRITERS)))
    return ids


@asynccontextmanager
async def owned_tiles(ours: Client, session_id: str) -> AsyncIterator[None]:
    """A thousand tiles of the session, owned by one pod that reported their loads once and renews its lease within.

    It does not go on reporting, so every tile has the same answer all through the benchmark: its health is STALE.
    """
    cells = sorted(h3.grid_disk(h3.latlng_to_cell(37.77, -122.42, 7), 18))[:TILES]
    await ours.change(REGISTER_TILES, sessionId=session_id, coverage={"cells": cells})
    registered = await ours.change(REGISTER_POD, id=POD_ID, service="benchmark", capacity=1e6)
    pod = {"podId": POD_ID, "leaseToken": registered["leaseToken"]}

    async def renew() -> None:
        while True:
            await ours.change(HEARTBEAT, **pod)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    heartbeat = asyncio.create_task(renew())
    try:
        tiles = await _tiles_when(ours, session_id, lambda tile: tile["assignment"] is not None)
        terms = [(f"{tile['id']}@{tile['assignment']['epoch']}", tile) for tile in tiles]
        acknowledged = [{"assignmentId": term, "phase": "ACTIVE"} for term, _ in terms]
        await ours.change(ACKNOWLEDGE, **pod, acknowledgements=acknowledged)
        loads = [
            {"tileId": tile["id"], "epoch": tile["assignment"]["epoch"], "recordsPerSecond": 10.5 + index % 100}
            for index, (_, tile) in enumerate(terms)
        ]
        await ours.change(REPORT, **pod, loads=loads)
        await _tiles_when(ours, session_id, lambda tile: tile["health"] == "STALE" and tile["load"]["recordsPerSecond"])
        yield
        if heartbeat.done():
            heartbeat.result()
    finally:
        heartbeat.cancel()
        with suppress(asyncio.CancelledError):
            await heartbeat


async def _tiles_when(ours: Client, session_id: str, settled: Any) -> list[dict[str, Any]]:
    """The tiles, once all of them are as wanted."""
    async with asyncio.timeout(60):
        while True:
            tiles = tiles_of(await ours.ask(tile_list(session_id)))
            if len(tiles) == TILES and all(settled(tile) for tile in tiles):
                return tiles
            await asyncio.sleep(0.2)


def tiles_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The tiles in an answer to `tile_list`."""
    return [edge["node"] for edge in answer["session"]["tiles"]["edges"]]


async def copy_to_peers(ours: Client, socket: str, session_ids: list[str]) -> None:
    """Write what our server answers to the peers' Valkey: a JSON blob an entity, and a list of a session's tiles."""
    sessions = (await ours.ask(entities(session_ids)))["_entities"]
    tiles = tiles_of(await ours.ask(tile_list(session_ids[0])))
    async with redis.asyncio.Redis(unix_socket_path=socket) as valkey:
        await valkey.mset({f"session:{session['id']}": json.dumps(session) for session in sessions})
        await valkey.mset({f"tile:{tile['id']}": json.dumps(tile) for tile in tiles})
        await valkey.rpush(f"session:{session_ids[0]}:tiles", *(tile["id"] for tile in tiles))
