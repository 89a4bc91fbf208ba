"""Owns GraphQL over HTTP and WebSocket: who may come in, how large a request may be, what the transports forgive."""

import hmac
from collections.abc import Callable
from json import JSONDecodeError
from typing import Any, cast

import msgspec
from cross_web import HTTPException
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.types import ConnectionInitMessage
from strawberry.subscriptions.protocols.graphql_transport_ws.types import Message as AnyMessage

from subgraph.api.context import Context, Services
from subgraph.api.graphiql import graphiql_csp, graphiql_page
from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.ids import TenantId

BODY_BYTES_MAX = 5_000_000
WEBSOCKET_MESSAGE_BYTES_MAX = 1_000_000
LOCAL_CALLER = Caller(TenantId("default"), "local", ALL_SCOPES)
"""On whose behalf everything is done while callers are not told apart: one local tenant."""


class AccessToken:
    """The shared secret that callers show as `Authorization: Bearer …`, where one is set."""

    def __init__(self, token: str | None) -> None:
        self._expected = None if token is None else f"Bearer {token}".encode()

    def admits(self, authorization: object) -> bool:
        """Whether a caller with this header may come in."""
        if self._expected is None:
            return True
        # What is not ASCII cannot be the token, and need not be encodable at all.
        return (
            isinstance(authorization, str)
            and authorization.isascii()
            and hmac.compare_digest(authorization.encode(), self._expected)
        )


class _TransportWs(BaseGraphQLTransportWSHandler[Context, None]):
    """graphql-transport-ws that survives what clients send: no message of one operation takes the socket down."""

    view: "GraphQLApp"

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Admit a socket: a browser or a gateway can show the token only here."""
        payload = message.get("payload") or {}
        shown = {key.lower(): value for key, value in payload.items()} if isinstance(payload, dict) else {}
        if self.view.access.admits(shown.get("authorization")):
            await super().handle_connection_init(message)
        else:
            # 4401, which clients take as final; at 4403 they would try again and again.
            await self.websocket.close(code=4401, reason="Unauthorized")

    async def handle_message(self, message: Any) -> None:
        """Take a message, if it is one."""
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            await self.handle_invalid_message("a message is a JSON object with a type")
            return
        if message["type"] == "complete" and not isinstance(message.get("id"), str):
            await self.handle_invalid_message("complete needs the id of an operation")
            return
        if message["type"] == "subscribe" and not _is_subscribe(message):
            await self.handle_invalid_message("subscribe needs a non-empty id, and a payload with a query")
            return
        await super().handle_message(cast("AnyMessage", message))

    @staticmethod
    def _get_pre_execution_close_reason(_: Any) -> str | None:
        return None  # a syntax error is its operation's, and told as such


def _is_subscribe(message: dict[str, Any]) -> bool:
    payload = message.get("payload")
    has_id = isinstance(message.get("id"), str) and bool(message["id"])
    return has_id and isinstance(payload, dict) and isinstance(payload.get("query"), str)


class GraphQLApp(GraphQL[Context, None]):
    """The `/graphql` endpoint: queries and mutations, subscriptions, and GraphiQL for browsers."""

    graphql_transport_ws_handler_class = _TransportWs

    def __init__(self, schema: Any, services: Callable[[], Services], access: AccessToken) -> None:
        super().__init__(
            schema,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            allow_queries_via_get=True,
        )
        self._services = services
        self.access = access

    def decode_json(self, data: str | bytes) -> object:
        """What a client sent: strictly JSON, so no NaN, no half a character, nothing nested beyond reason.

        Raises:
            JSONDecodeError: it is not.
        """
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            raise JSONDecodeError(str(error), "", 0) from error

    def parse_json(self, data: str | bytes) -> Any:
        """A body, or a parameter of the URL.

        Raises:
            HTTPException: it is no JSON; or a body that is neither an object nor a list.
        """
        parsed = super().parse_json(data)
        if isinstance(data, bytes) and not isinstance(parsed, (dict, list)):
            raise HTTPException(400, "The body of a GraphQL request is a JSON object")
        return parsed

    async def get_context(self, request: Request | WebSocket, response: Any) -> Context:
        """The context of a request or a socket."""
        return Context(self._services(), LOCAL_CALLER)

    async def render_graphql_ide(self, request: Request) -> Response:
        """GraphiQL, from this package alone."""
        page = graphiql_page(graphql_path=request.url.path)
        return HTMLResponse(page, headers={"Content-Security-Policy": graphiql_csp})


class Guard:
    """ASGI middleware in front of the endpoint: refuses requests without the token, and bodies beyond the limit."""

    def __init__(self, app: ASGIApp, access: AccessToken) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] != "http" or not scope["path"].startswith("/graphql") or _is_page(scope):
            await self._app(scope, receive, send)
        elif not self._access.admits(Headers(scope=scope).get("authorization")):
            refusal = _refusal(401, "show the access token: Authorization: Bearer …", "UNAUTHENTICATED")
            refusal.headers["WWW-Authenticate"] = "Bearer"
            await refusal(scope, receive, send)
        else:
            await self._within_limit(scope, receive, send)

    async def _within_limit(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body.append(message.get("body", b""))
            size += len(body[-1])
            more = message.get("more_body", False)
            if size > BODY_BYTES_MAX:
                why = f"a request body has at most {BODY_BYTES_MAX:,} bytes"
                await _refusal(413, why, "INVALID_INPUT", limit=f"{BODY_BYTES_MAX} bytes")(scope, receive, send)
                return
        whole: list[Message] = [{"type": "http.request", "body": b"".join(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)


def _is_page(scope: Scope) -> bool:
    # GraphiQL and its assets hold no data; the operations it sends do, and show the token.
    if scope["path"] != "/graphql":
        return True
    asked = Headers(scope=scope)
    return scope["method"] == "GET" and not scope["query_string"] and "text/html" in asked.get("accept", "")


def _refusal(status: int, message: str, code: str, **facts: str) -> JSONResponse:
    return JSONResponse({"errors": [{"message": message, "extensions": {"code": code, **facts}}]}, status)
