"""Owns the bound on open WebSockets of a process: each takes memory for as long as its client keeps it."""

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from subgraph.api.guard import refused

RETRY_SECONDS = 5


class OpenSockets:
    """ASGI middleware that refuses a socket beyond a bound with 503 and when to come back; other servers have room."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, and a socket if there is room."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
        elif self._open >= self._most:
            why = f"this process has {self._most:,} sockets open, which is its limit: try another one, or later"
            refusal = refused(503, why, "QUOTA_EXCEEDED", limit=f"{self._most} sockets")
            refusal.headers["Retry-After"] = str(RETRY_SECONDS)
            await WebSocket(scope, receive, send).send_denial_response(refusal)
        else:
            self._open += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._open -= 1
