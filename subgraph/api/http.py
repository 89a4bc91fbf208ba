"""Owns GraphQL over HTTP: parsing requests, their context, and GraphiQL for browsers."""

from collections.abc import Callable
from json import JSONDecodeError
from typing import Any

import msgspec
from cross_web import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.unset import UNSET

from subgraph.api.context import Context, Services
from subgraph.api.graphiql import graphiql_csp, graphiql_page
from subgraph.api.guard import AUTHENTICATED, refused
from subgraph.api.websocket import TransportWs
from subgraph.operations.authentication import NOBODY, Authenticator


class GraphQLApp(GraphQL[Context, None]):
    """The `/graphql` endpoint: queries and mutations, subscriptions, and GraphiQL for browsers."""

    graphql_transport_ws_handler_class = TransportWs

    def __init__(
        self, schema: Any, services: Callable[[], Services], authenticator: Authenticator, gateway_header: str
    ) -> None:
        super().__init__(
            schema,
            # Streams over plain HTTP (multipart, SSE) are not among them: whoever asks so is told to take a WebSocket,
            # which alone ends with its token.
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            allow_queries_via_get=True,
            max_subscriptions_per_connection=None,  # TransportWs bounds them
        )
        self._services = services
        self.authenticator = authenticator
        self.gateway_header = gateway_header

    async def run(self, request: Any, context: Any = UNSET, root_value: Any = UNSET) -> Any:
        """Answer a request or a socket; what is no request of GraphQL's is told in the form of its errors."""
        try:
            return await super().run(request, context, root_value)
        except HTTPException as problem:
            return refused(problem.status_code, problem.reason, "INVALID_INPUT")

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
        if isinstance(request, Request):
            authenticated = request.scope.get(AUTHENTICATED)
            return Context(self._services(), authenticated.caller if authenticated else NOBODY)
        # Before its first message a socket is nobody's.
        context = Context(self._services(), NOBODY)
        context.authorization_shown = request.headers.get("authorization")
        context.gateway_secret_shown = request.headers.get(self.gateway_header)
        return context

    async def render_graphql_ide(self, request: Request) -> Response:
        """GraphiQL, from this package alone."""
        page = graphiql_page(graphql_path=request.url.path)
        return HTMLResponse(page, headers={"Content-Security-Policy": graphiql_csp})
