"""Owns what every HTTP request must pass: authentication, the gateway's secret, and the limit of its body."""

import math

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from subgraph.api.media_types import give_as
from subgraph.domain.errors import Unavailable
from subgraph.operations.authentication import Authenticated, Authenticator, Unauthenticated

BODY_BYTES_MAX = 5_000_000
AUTHENTICATED = "session_manager.authenticated"
"""The key of an ASGI scope that holds the authenticated caller."""


def bearer_token(authorization: object) -> str | None:
    """The token of a header `Authorization: Bearer …`; None if that is not what it is."""
    if not isinstance(authorization, str):
        return None
    kind, _, token = authorization.partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


class Guard:
    """ASGI middleware of the endpoint: refuses unauthenticated callers, and bodies beyond the limit."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, gateway_header: str) -> None:
        self._app = app
        self._authenticator = authenticator
        self._gateway_header = gateway_header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] != "http" or not _is_operation(scope):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        authenticated = await authenticate(self._authenticator, headers, self._gateway_header)
        if isinstance(authenticated, JSONResponse):
            give_as(authenticated, headers.get("accept"))
            await authenticated(scope, receive, send)
        else:
            scope[AUTHENTICATED] = authenticated
            await self._within_limit(scope, receive, send, headers.get("accept"))

    async def _within_limit(self, scope: Scope, receive: Receive, send: Send, accept: str | None) -> None:
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
                answer = refused(413, why, "INVALID_INPUT", limit=f"{BODY_BYTES_MAX} bytes")
                give_as(answer, accept)
                await answer(scope, receive, send)
                return
        whole: list[Message] = [{"type": "http.request", "body": b"".join(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)


async def authenticate(
    authenticator: Authenticator, headers: Headers, gateway_header: str
) -> Authenticated | JSONResponse:
    """The caller of a request, or the response that refuses it."""
    if not authenticator.comes_through_gateway(headers.get(gateway_header)):
        return refused(403, "ask through the gateway", "NOT_ALLOWED")
    try:
        return await authenticator.authenticate(bearer_token(headers.get("authorization")))
    except Unauthenticated as problem:
        if problem.is_missing:
            answer = refused(401, "show a token: Authorization: Bearer …", "UNAUTHENTICATED")
            answer.headers["WWW-Authenticate"] = "Bearer"
        else:
            answer = refused(401, "the token is not accepted: false, or not in force", "UNAUTHENTICATED")
            answer.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
        return answer
    except Unavailable as problem:
        answer = refused(503, problem.message, "UNAVAILABLE")
        if problem.retry_after_seconds is not None:
            answer.headers["Retry-After"] = str(math.ceil(problem.retry_after_seconds))
        return answer


def refused(status: int, message: str, code: str, **facts: str) -> JSONResponse:
    """An answer in the form of GraphQL's errors."""
    return JSONResponse({"errors": [{"message": message, "extensions": {"code": code, **facts}}]}, status)


def _is_operation(scope: Scope) -> bool:
    if scope["path"] != "/graphql":
        return False
    # GraphiQL and its assets hold no data; the operations that it sends carry the token.
    is_page = scope["method"] == "GET" and not scope["query_string"]
    return not (is_page and "text/html" in Headers(scope=scope).get("accept", ""))
