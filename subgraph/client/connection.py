"""Owns how a pod reaches the session manager over GraphQL: its mutations by HTTP, its subscription by WebSocket."""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import httpx
from gql import Client, GraphQLRequest, gql
from gql.client import AsyncClientSession
from gql.transport.exceptions import TransportError
from gql.transport.httpx import HTTPXAsyncTransport

from subgraph.client.authorization import AccessToken, Authorization
from subgraph.client.manager import (
    CallRefused,
    ChangeTold,
    LeaseRefused,
    OwnedTerm,
    Superseded,
    TermTold,
    TileLoad,
    Unreachable,
)
from subgraph.client.subscription import subscribe

ANSWER_SECONDS_MAX = 2.0

_ERRORS = "errors { message code ... on PodLeaseLost { superseded } }"
_TERM = "tileId epoch state replaces acknowledgedAt"
_REGISTER = gql(
    f"mutation Register($input: RegisterPodInput!) {{ registerPod(input: $input) {{ leaseToken version "
    f"assignments {{ {_TERM} }} {_ERRORS} }} }}"
)
_HEARTBEAT = gql(
    f"mutation Heartbeat($input: HeartbeatPodInput!) {{ heartbeatPod(input: $input) {{ version {_ERRORS} }} }}"
)
_REPORT = gql(
    f"mutation Report($input: ReportTileLoadsInput!) {{ reportTileLoads(input: $input) {{ accepted {_ERRORS} }} }}"
)
_ACKNOWLEDGE = gql(
    "mutation Acknowledge($input: AcknowledgeAssignmentsInput!) { acknowledgeAssignments(input: $input) "
    f"{{ assignments {{ id }} {_ERRORS} }} }}"
)
_DRAIN = gql(f"mutation Drain($input: PodRefInput!) {{ drainPod(input: $input) {{ {_ERRORS} }} }}")
_DEREGISTER = gql(f"mutation Deregister($input: HeartbeatPodInput!) {{ deregisterPod(input: $input) {{ {_ERRORS} }} }}")
_FOLLOW = gql(
    "subscription Follow($podId: ID!, $token: ID!, $after: Long) { "
    "podAssignments(podId: $podId, leaseToken: $token, afterVersion: $after) "
    f"{{ version previousVersion kind assignments {{ {_TERM} }} }} }}"
)


class Connection:
    """The calls of one pod, as `SessionManager` promises them. Use it as an async context manager."""

    def __init__(self, url: str, access_token: AccessToken = None) -> None:
        self._authorization = Authorization(access_token)
        self._http = Client(transport=HTTPXAsyncTransport(url, auth=self._authorization, timeout=ANSWER_SECONDS_MAX))
        self._url = url
        self._session: AsyncClientSession | None = None

    async def __aenter__(self) -> "Connection":
        self._session = await self._http.connect_async()  # type: ignore[no-untyped-call]  # gql leaves it untyped
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]  # as above

    async def register(self, registration: dict[str, Any]) -> tuple[str, ChangeTold]:
        """Register; returns the lease token and what the pod is to do."""
        answer = await self._call(_REGISTER, "registerPod", registration)
        terms = _terms(answer["assignments"])
        return answer["leaseToken"], ChangeTold(answer["version"], None, is_snapshot=True, terms=terms)

    async def heartbeat(self, pod_id: str, token: str, applied_version: int) -> int:
        """Renew the lease; returns the newest version that concerns the pod."""
        lease = {"podId": pod_id, "leaseToken": token, "appliedVersion": applied_version}
        return int((await self._call(_HEARTBEAT, "heartbeatPod", lease))["version"])

    async def report(self, pod_id: str, token: str, loads: Sequence[TileLoad]) -> None:
        """Report loads; stale entries are passed over, since a change that explains them is on its way."""
        entries = [
            {
                "tileId": load.tile_id,
                "epoch": load.epoch,
                "recordsPerSecond": load.records_per_second,
                "bytesPerSecond": load.bytes_per_second,
                "volumeBytes": load.volume_bytes,
                "backlog": load.backlog,
            }
            for load in loads
        ]
        await self._call(_REPORT, "reportTileLoads", {"podId": pod_id, "leaseToken": token, "loads": entries})

    async def acknowledge(self, pod_id: str, token: str, terms: Sequence[OwnedTerm], phase: str) -> None:
        """Acknowledge that terms have reached a phase; those that are over by now are passed over."""
        acknowledgements = [{"assignmentId": f"{tile_id}@{epoch}", "phase": phase} for tile_id, epoch in terms]
        lease = {"podId": pod_id, "leaseToken": token, "acknowledgements": acknowledgements}
        await self._call(_ACKNOWLEDGE, "acknowledgeAssignments", lease)

    async def drain(self, pod_id: str) -> None:
        """Ask for the pod's tiles to be moved away."""
        await self._call(_DRAIN, "drainPod", {"podId": pod_id})

    async def deregister(self, pod_id: str, token: str) -> None:
        """Leave."""
        await self._call(_DEREGISTER, "deregisterPod", {"podId": pod_id, "leaseToken": token})

    async def follow(self, pod_id: str, token: str, after_version: int | None) -> AsyncGenerator[ChangeTold, None]:
        """The pod's desired state from now on, on a socket of its own."""
        request = GraphQLRequest(_FOLLOW, variable_values={"podId": pod_id, "token": token, "after": after_version})
        async with contextlib.aclosing(subscribe(self._url, self._authorization, request)) as steps:
            async for told in steps:
                change = told["podAssignments"]
                is_snapshot = change["kind"] == "SNAPSHOT"
                terms = _terms(change["assignments"])
                yield ChangeTold(change["version"], change["previousVersion"], is_snapshot, terms)

    async def _call(self, document: GraphQLRequest, field: str, variables: dict[str, Any]) -> dict[str, Any]:
        assert self._session is not None
        try:
            answered = await self._session.execute(GraphQLRequest(document, variable_values={"input": variables}))
        except (TransportError, httpx.HTTPError, OSError, TimeoutError) as error:
            raise Unreachable(str(error) or type(error).__name__) from error
        answer: dict[str, Any] = answered[field]
        for failure in answer["errors"]:
            match failure["code"]:
                case "LEASE_LOST" if failure.get("superseded"):
                    raise Superseded(failure["message"])
                case "LEASE_LOST" | "NOT_FOUND":
                    raise LeaseRefused(failure["message"])
                case "UNAVAILABLE":
                    raise Unreachable(failure["message"])
                case "EPOCH_STALE":
                    continue
                case _:
                    raise CallRefused(failure["message"])
        return answer


def _terms(told: Sequence[dict[str, Any]]) -> tuple[TermTold, ...]:
    return tuple(
        TermTold(one["tileId"], one["epoch"], one["state"], tuple(one["replaces"]), one["acknowledgedAt"] is not None)
        for one in told
    )
