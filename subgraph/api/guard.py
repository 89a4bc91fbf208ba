"""Owns what stands before the endpoint over HTTP: who is let in, through which gateway, with how large a request."""

import math

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from subgraph.domain.errors import Unavailable
from subgraph.operations.admission import Admission, Door, NotAdmitted

BODY_BYTES_MAX = 5_000_000
ADMISSION = "session_manager.admission"
"""Where an ASGI scope says who was let in."""


def bearer_token(authorization: object) -> str | None:
    """The token of a header `Authorization: Bearer …`; None if that is not what it is."""
    if not isinstance(authorization, str):
        return None
    kind, _, token = authorization.partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


class Guard:
    """ASGI middleware in front of the endpoint: refuses callers that are not let in, and bodies beyond the limit."""

    def __init__(self, app: ASGIApp, door: Door, gateway_header: str) -> None:
        self._app = app
        self._door = door
        self._gateway_header = gateway_header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] != "http" or not _is_operation(scope):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        admission = await admitted(self._door, headers, self._gateway_header)
        if isinstance(admission, JSONResponse):
            await admission(scope, receive, send)
        else:
            scope[ADMISSION] = admission
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
                await refused(413, why, "INVALID_INPUT", limit=f"{BODY_BYTES_MAX} bytes")(scope, receive, send)
                return
        whole: list[Message] = [{"type": "http.request", "body": b"".join(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)


async def admitted(door: Door, headers: Headers, gateway_header: str) -> Admission | JSONResponse:
    """Who was let in, through the gateway where there is one, or the answer to whoever was not."""
    if not door.comes_through_gateway(headers.get(gateway_header)):
        return refused(403, "ask through the gateway", "NOT_ALLOWED")
    try:
        return await door.admit(bearer_token(headers.get("authorization")))
    except NotAdmitted as problem:
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
    # GraphiQL and its assets hold no data; the operations it sends do, and show the token.
    is_page = scope["method"] == "GET" and not scope["query_string"]
    return not (is_page and "text/html" in Headers(scope=scope).get("accept", ""))
