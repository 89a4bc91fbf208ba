"""Owns GraphQL over HTTP: parsing requests, their context, and GraphiQL for browsers."""

import json
from collections.abc import Callable
from datetime import timedelta
from json import JSONDecodeError
from typing import Any

import msgspec
from cross_web import AsyncHTTPRequestAdapter, HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionResult
from strawberry.types.unset import UNSET

from subgraph.api.context import Context, Services
from subgraph.api.graphiql import graphiql_csp, graphiql_page
from subgraph.api.guard import AUTHENTICATED, refused
from subgraph.api.media_types import GRAPHQL_TYPE, JSON_TYPE, answer_type, give_as
from subgraph.api.request_errors import BAD_REQUEST, OPERATION_UNRESOLVED, is_request_error
from subgraph.api.websocket import TextFrames, TransportWs
from subgraph.operations.authentication import NOBODY, Authenticator

CONNECTION_INIT_WAIT = timedelta(seconds=10)
"""How long a socket may stay without a `connection_init`: until then it holds one of the places there are."""


class GraphQLApp(GraphQL[Context, None]):
    """The `/graphql` endpoint: queries and mutations, subscriptions, and GraphiQL for browsers."""

    graphql_transport_ws_handler_class = TransportWs
    websocket_adapter_class = TextFrames

    def __init__(
        self, schema: Any, services: Callable[[], Services], authenticator: Authenticator, gateway_header: str
    ) -> None:
        super().__init__(
            schema,
            # Streams over plain HTTP (multipart, SSE) are not among them: whoever asks so is told to take a WebSocket,
            # which alone ends with its token.
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            allow_queries_via_get=True,
            connection_init_wait_timeout=CONNECTION_INIT_WAIT,
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
            return _refusal(request, problem)

    def decode_json(self, data: str | bytes) -> object:
        """What a client sent: strictly JSON, so no NaN, no half a character, nothing nested beyond reason.

        Raises:
            JSONDecodeError: it is not.
        """
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            raise JSONDecodeError(str(error), "", 0) from error

    def encode_json(self, data: object) -> bytes:
        """What a client is answered: of the largest answers a sixth of the time that the standard library takes."""
        try:
            return msgspec.json.encode(data)
        except (TypeError, UnicodeEncodeError):
            # Texts of a class of their own, and half a character that a refusal repeats from a document.
            return json.dumps(data, separators=(",", ":")).encode()

    def parse_json(self, data: str | bytes) -> Any:
        """A body, or a parameter of the URL.

        Raises:
            HTTPException: it is no JSON; or a body that is neither an object nor a list.
        """
        parsed = super().parse_json(data)
        if isinstance(data, bytes) and not isinstance(parsed, (dict, list)):
            raise HTTPException(400, "The body of a GraphQL request is a JSON object")
        return parsed

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData | list[GraphQLRequestData]:
        """What is asked, once it is known that the client accepts an answer.

        Raises:
            HTTPException: it accepts none, or what it sent is no request.
        """
        if answer_type(request.headers.get("accept")) is None:
            raise HTTPException(406, f"Answers are given in {GRAPHQL_TYPE} or {JSON_TYPE}")
        return await super().parse_http_body(request)

    async def process_result(self, request: Request, result: ExecutionResult) -> GraphQLHTTPResponse:
        """An answer. In GraphQL's own type one without data says that nothing was executed."""
        answer = await super().process_result(request, result)
        if answer_type(request.headers.get("accept")) == GRAPHQL_TYPE and is_request_error(result.data, result.errors):
            del answer["data"]
        return answer

    async def get_sub_response(self, request: Request | WebSocket) -> Response:
        """What the response starts from: the type to answer in."""
        response = await super().get_sub_response(request)
        give_as(response, request.headers.get("accept"))
        return response

    def create_response(
        self, response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse], sub_response: Response
    ) -> Response:
        """The response: its status tells of nothing executed in GraphQL's own type alone."""
        status = 200 if isinstance(response_data, list) or "data" in response_data else 400
        return Response(self.encode_json(response_data), status, {"content-type": JSON_TYPE, **sub_response.headers})

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


def _refusal(request: Request, problem: HTTPException) -> Response:
    status, code, headers = problem.status_code, BAD_REQUEST, {}
    if isinstance(problem.__cause__, CannotGetOperationTypeError):
        code = OPERATION_UNRESOLVED
    elif isinstance(problem.__cause__, InvalidOperationTypeError):
        status, headers = 405, {"Allow": "POST"}
    elif status == 405:
        headers = {"Allow": "GET, POST"}
    answer = refused(status, problem.reason, code)
    answer.headers.update(headers)
    give_as(answer, request.headers.get("accept"))
    return answer
