"""Owns who may reach a server without authentication: only this machine's own pages and programs.

Binding to loopback keeps other machines out, but not web pages in this machine's browser: one whose name was made to
point to 127.0.0.1 (DNS rebinding) sends its own name as Host, and one that opens a WebSocket from elsewhere its Origin.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL_NAME = "localhost"


class LocalOnly:
    """ASGI middleware that refuses what does not name this machine."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let pass what is local."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not is_this_machine(host):
            why = f"this server serves {LOCAL_NAME} only, not {host[:64]!r}"
        elif origin is not None and not _is_same_site(origin, host):
            why = f"this server serves its own pages only, not those of {origin[:64]!r}"
        else:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": why[:100]})
        else:
            refusal = {"message": why, "extensions": {"code": "NOT_ALLOWED"}}
            await JSONResponse({"errors": [refusal]}, 403)(scope, receive, send)


def is_this_machine(host: str) -> bool:
    """Whether a Host header, with or without a port, names this machine: localhost or a loopback address."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == LOCAL_NAME or ip_address(name).is_loopback
    except ValueError:
        return False


def _is_same_site(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False
