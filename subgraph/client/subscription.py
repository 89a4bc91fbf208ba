"""Owns one subscription to the session manager, on a socket of its own: bounded in time and size, failures by name."""

from collections.abc import AsyncGenerator
from typing import Any

from gql import Client, GraphQLRequest
from gql.transport.exceptions import TransportError, TransportQueryError
from gql.transport.websockets import WebsocketsTransport
from websockets.exceptions import WebSocketException

from subgraph.client.authorization import Authorization
from subgraph.client.manager import CallRefused, LeaseRefused, Superseded, Unreachable

CONNECT_SECONDS_MAX = 2.0
MESSAGE_BYTES_MAX = 64 * 1_048_576
"""A snapshot of 100,000 terms has some 15 MB; the library's own bound is one."""


async def subscribe(
    url: str, authorization: Authorization, request: GraphQLRequest
) -> AsyncGenerator[dict[str, Any], None]:
    """What a subscription tells, from now on.

    Args:
        url: the session manager's GraphQL endpoint, http or https.
        authorization: its headers go into the socket's first message.
        request: the operation.

    Raises:
        Unreachable: it could not begin, or has ended: subscribe again.
        LeaseRefused, Superseded: it belonged to an instance of a pod that is over.
        CallRefused: what it names is not there, or is malformed.
    """
    transport = WebsocketsTransport(
        "ws" + url.removeprefix("http"),
        init_payload=await authorization.headers(),
        subprotocols=["graphql-transport-ws"],
        connect_timeout=CONNECT_SECONDS_MAX,
        ack_timeout=CONNECT_SECONDS_MAX,
        close_timeout=CONNECT_SECONDS_MAX,
        connect_args={"max_size": MESSAGE_BYTES_MAX},
    )
    try:
        async with Client(transport=transport) as session:
            async for told in session.subscribe(request):
                yield told
    except TransportQueryError as error:
        raise _named(error) from error
    except (TransportError, WebSocketException, OSError, TimeoutError) as error:
        raise Unreachable(f"the subscription ended: {error}") from error


def _named(error: TransportQueryError) -> Exception:
    for told in error.errors or ():
        extensions = told.get("extensions") or {}
        match extensions.get("code"):
            case "LEASE_LOST" if extensions.get("superseded"):
                return Superseded(told["message"])
            case "LEASE_LOST":
                return LeaseRefused(told["message"])
            case "NOT_FOUND" if extensions.get("entity") == "Pod":
                return LeaseRefused(told["message"])
            case "NOT_FOUND" | "INVALID_INPUT":
                return CallRefused(told["message"])
    return Unreachable(f"the subscription ended: {error}")
