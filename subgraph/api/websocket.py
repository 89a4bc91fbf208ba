"""Owns GraphQL over a WebSocket: authentication by `connection_init`, its expiry, and leniency with the protocol."""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec
from starlette.websockets import WebSocketDisconnect
from starlette.websockets import WebSocketDisconnected as SentAfterClose
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.types import ConnectionInitMessage, SubscribeMessage
from strawberry.subscriptions.protocols.graphql_transport_ws.types import Message as AnyMessage

from subgraph.api.context import Context
from subgraph.api.errors import to_graphql_error
from subgraph.api.guard import bearer_token
from subgraph.domain.errors import QuotaExceeded, Unavailable
from subgraph.operations.authentication import Unauthenticated

if TYPE_CHECKING:
    from subgraph.api.http import GraphQLApp

WEBSOCKET_MESSAGE_BYTES_MAX = 1_000_000
SOCKET_OPERATIONS_MAX = 1_000
"""Operations under way on one socket. Gateways send those of many callers over one."""
SOCKET_OPERATION_BYTES_MAX = 10_000_000
"""What these may have been asked with together: an operation keeps its id, its text and its variables to its end."""
EXPIRY_LOOK_SECONDS = 30.0


class TextFrames(ASGIWebSocketAdapter):
    """A socket that is sent text, as the protocol wants it."""

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Send a message.

        Raises:
            WebSocketDisconnected: nobody is there any more.
        """
        try:
            await self.ws.send_text(self.view.encode_json_string(message))
        except WebSocketDisconnect as gone:
            raise WebSocketDisconnected from gone


class TransportWs(BaseGraphQLTransportWSHandler[Context, None]):
    """graphql-transport-ws that survives what clients send: no message of one operation takes the socket down."""

    view: "GraphQLApp"
    _expires_at: float | None = None
    _expiry: "asyncio.Task[None] | None" = None
    _bytes_of: Mapping[str, int] = {}
    """How large the messages were that began what is under way."""

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Admit a socket: a browser or a gateway can show a token only here."""
        payload = message.get("payload") or {}
        shown = {key.lower(): value for key, value in payload.items()} if isinstance(payload, dict) else {}
        authenticator, header = self.view.authenticator, self.view.gateway_header.lower()
        secret = shown.get(header, self.context.gateway_secret_shown)
        if not authenticator.comes_through_gateway(secret if isinstance(secret, str) else None):
            await self.websocket.close(code=4403, reason="Forbidden")
            return
        authorization = shown.get("authorization", self.context.authorization_shown)
        try:
            authenticated = await authenticator.authenticate(bearer_token(authorization))
        except Unauthenticated:
            # 4401, which clients take as final; at 4403 they would try again and again.
            await self.websocket.close(code=4401, reason="Unauthorized")
        except Unavailable:
            await self.websocket.close(code=1013, reason="Try again later")
        else:
            if not self.connection_init_received:
                self.context.caller = authenticated.caller
                self._expires_at = authenticated.expires_at
                if self._expires_at is not None:
                    self._expiry = asyncio.create_task(self._end_at(self._expires_at))
            await super().handle_connection_init(message)

    async def shutdown(self) -> None:
        """End what runs for this socket."""
        if self._expiry is not None:
            self._expiry.cancel()
        await super().shutdown()

    async def _end_at(self, expires_at: float) -> None:
        # In short steps: what counts is the wall clock, which a long sleep does not follow when it is set.
        while (left := expires_at - time.time()) > 0:
            await asyncio.sleep(min(left, EXPIRY_LOOK_SECONDS))
        await self._end_expired()

    async def _end_expired(self) -> None:
        # 4403: with a new token the client may come back, and it shows one when it does.
        await self.websocket.close(code=4403, reason="Token expired")

    async def handle_message(self, message: Any) -> None:
        """Take a message, if it is one."""
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            await self.handle_invalid_message("a message is a JSON object with a type")
            return
        if message["type"] == "complete" and not isinstance(message.get("id"), str):
            await self.handle_invalid_message("complete needs the id of an operation")
            return
        if message["type"] == "subscribe" and not _is_subscribe(message):
            await self.handle_invalid_message(
                "subscribe needs a non-empty id, and a payload with a query, an object of variables and a name if any"
            )
            return
        await super().handle_message(cast("AnyMessage", message))

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Begin an operation, unless there are too many: then that one is refused, and the socket lives on."""
        if self._expires_at is not None and self._expires_at <= time.time():
            # The clock was set, or the socket is not closed yet because its client does not read.
            await self._end_expired()
            return
        self._bytes_of = {one: size for one, size in self._bytes_of.items() if one in self.operations}
        size = len(msgspec.json.encode(message))
        refused = self._quota_exceeded(size)
        if refused is None or message["id"] in self.operations:
            await super().handle_subscribe(message)
            self._bytes_of = {**self._bytes_of, message["id"]: size}
            return
        await self.send_message(
            {"id": message["id"], "type": "error", "payload": [to_graphql_error(refused).formatted]}
        )

    def _quota_exceeded(self, size: int) -> QuotaExceeded | None:
        if (count := len(self.operations) + 1) > SOCKET_OPERATIONS_MAX:
            return QuotaExceeded("operations on a socket", SOCKET_OPERATIONS_MAX, count)
        if (total := sum(self._bytes_of.values()) + size) > SOCKET_OPERATION_BYTES_MAX:
            return QuotaExceeded("bytes of operations on a socket", SOCKET_OPERATION_BYTES_MAX, total)
        return None

    async def handle_task_exception(self, error: Exception) -> None:
        """Log what went wrong here; that a client has gone while it was sent something is nobody's fault."""
        if not isinstance(error, SentAfterClose | WebSocketDisconnected):
            await super().handle_task_exception(error)

    @staticmethod
    def _get_pre_execution_close_reason(_: Any) -> str | None:
        return None  # a syntax error is its operation's, and told as such


def _is_subscribe(message: dict[str, Any]) -> bool:
    payload = message.get("payload")
    has_id = isinstance(message.get("id"), str) and bool(message["id"])
    return (
        has_id
        and isinstance(payload, dict)
        and isinstance(payload.get("query"), str)
        and isinstance(payload.get("variables"), dict | None)
        and isinstance(payload.get("operationName"), str | None)
    )
