"""Owns a Strawberry subgraph as its documentation teaches: types as classes, a DataLoader per request, uvicorn.

The data are JSON blobs in Valkey. Arguments: port, unix socket of Valkey.
"""

import json
import sys
from datetime import datetime
from enum import Enum
from typing import Any, NewType

import redis.asyncio
import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.federation import Schema
from strawberry.schema.config import StrawberryConfig

valkey = redis.asyncio.Redis(unix_socket_path=sys.argv[2], decode_responses=True)

Long = NewType("Long", int)
SessionState = Enum("SessionState", "ACTIVE ENDED EXPIRED DELETED")
TileHealth = Enum("TileHealth", "UNASSIGNED STALE OVERLOADED DEGRADED HEALTHY")
PodAssignmentState = Enum("PodAssignmentState", "PREPARING ACTIVE DRAINING RELEASED LOST ABORTED")
for enum in (SessionState, TileHealth, PodAssignmentState):
    strawberry.enum(enum)


async def blobs(keys: list[str]) -> list[dict[str, Any]]:
    """The JSON documents under the keys, in one round trip."""
    return [json.loads(blob or "null") for blob in await valkey.mget(keys)] if keys else []


@strawberry.type
class TileLoad:
    """What a tile receives."""

    records_per_second: float


@strawberry.type
class PodAssignment:
    """Who owns a tile."""

    pod_id: strawberry.ID
    state: PodAssignmentState
    epoch: Long


@strawberry.federation.type(keys=["id"])
class Tile:
    """A cell of a session."""

    id: strawberry.ID
    h3_index: strawberry.ID
    health: TileHealth
    load: TileLoad
    assignment: PodAssignment | None


@strawberry.type
class TileEdge:
    """One tile of a list."""

    node: Tile


@strawberry.type
class TileConnection:
    """A list of tiles."""

    edges: list[TileEdge]


@strawberry.federation.type(keys=["id"])
class Session:
    """A session, resolved by id through the request's loader."""

    id: strawberry.ID
    display_name: str
    state: SessionState
    data_source: str | None
    created_at: datetime

    @classmethod
    async def resolve_reference(cls, info: strawberry.Info, id: strawberry.ID) -> "Session":  # noqa: A002
        """A reference of a gateway."""
        return await loader(info).load(id)

    @strawberry.field
    async def tiles(self, first: int = 100) -> TileConnection:
        """The tiles, in one read of the list and one of the blobs."""
        tile_ids = await valkey.lrange(f"session:{self.id}:tiles", 0, first - 1)
        documents = await blobs(["tile:" + str(tile_id) for tile_id in tile_ids])
        return TileConnection(edges=[TileEdge(node=tile_from(document)) for document in documents])


def tile_from(document: dict[str, Any]) -> Tile:
    """A tile as stored."""
    assignment = document["assignment"]
    return Tile(
        id=document["id"],
        h3_index=document["h3Index"],
        health=TileHealth[document["health"]],
        load=TileLoad(records_per_second=document["load"]["recordsPerSecond"]),
        assignment=assignment
        and PodAssignment(
            pod_id=assignment["podId"], state=PodAssignmentState[assignment["state"]], epoch=assignment["epoch"]
        ),
    )


async def load_sessions(ids: list[strawberry.ID]) -> list[Session]:
    """The sessions of one batch."""
    return [
        Session(
            id=document["id"],
            display_name=document["displayName"],
            state=SessionState[document["state"]],
            data_source=document["dataSource"],
            created_at=datetime.fromisoformat(document["createdAt"]),
        )
        for document in await blobs([f"session:{id_}" for id_ in ids])
    ]


def loader(info: strawberry.Info) -> DataLoader[strawberry.ID, Session]:
    """The request's loader."""
    sessions: DataLoader[strawberry.ID, Session] = info.context["sessions"]
    return sessions


@strawberry.input
class SessionRef:
    """Which session."""

    id: strawberry.ID


@strawberry.type
class Query:
    """The root."""

    @strawberry.field
    async def session(self, info: strawberry.Info, ref: SessionRef) -> Session | None:
        """One session."""
        return await loader(info).load(ref.id)


class Subgraph(GraphQL[dict[str, Any], None]):
    """The endpoint, with a loader for each request."""

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> dict[str, Any]:
        """A fresh loader: nothing is remembered from one request to the next."""
        return {"request": request, "response": response, "sessions": DataLoader(load_fn=load_sessions)}


config = StrawberryConfig(scalar_map={Long: strawberry.scalar(name="Long", serialize=int)})
app = Starlette(routes=[Route("/graphql", Subgraph(Schema(query=Query, types=[Session], config=config)))])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
