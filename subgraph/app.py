"""Owns the ASGI application: its routes, the middleware before them, and the process that serves them."""

import contextlib
import multiprocessing
import sys
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from subgraph.adapters.die_with_parent import tie_to_parent
from subgraph.api.graphiql import graphiql_routes
from subgraph.api.guard import Guard, authenticate, refused
from subgraph.api.http import GraphQLApp
from subgraph.api.local_only import LocalOnly
from subgraph.api.open_sockets import OpenSockets
from subgraph.api.schema import make_schema
from subgraph.domain.access import Scope as CallerScope
from subgraph.logs import begin_logging
from subgraph.long_lived import pass_over_what_is_there
from subgraph.settings import Settings
from subgraph.wiring.authentication import AuthenticationParts
from subgraph.wiring.process import Process, running


def create_worker_app() -> Starlette:
    """The ASGI application of a worker process, configured by the environment. The worker dies with its parent."""
    parent = multiprocessing.parent_process()
    if parent is not None and sys.platform == "linux" and (why_not := tie_to_parent(parent.pid or 0)):
        sys.exit(why_not)
    settings = Settings.from_environment()
    begin_logging(settings.log_level)
    app = create_app(settings)
    pass_over_what_is_there()
    return app


def create_app(settings: Settings) -> Starlette:
    """The ASGI application.

    Raises:
        KeyFileUnusable: tokens could not be verified.
    """
    authentication = AuthenticationParts(settings)
    authenticator = authentication.authenticator
    holder: dict[str, Process] = {}

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with authentication.closing(), running(settings) as process:
            holder["process"] = process
            yield

    async def healthz(_: Request) -> Response:
        failures = holder["process"].supervisor.failures
        return JSONResponse({"status": "dead" if failures else "alive", "problems": failures}, 503 if failures else 200)

    async def readyz(_: Request) -> Response:
        problems = await holder["process"].problems()
        ready = "not ready" if problems else "ready"
        return JSONResponse({"status": ready, "problems": problems}, 503 if problems else 200)

    async def metrics(request: Request) -> Response:
        authenticated = await authenticate(authenticator, request.headers, settings.gateway_secret_header)
        if isinstance(authenticated, Response):
            return authenticated
        if not authenticated.caller.has(CallerScope.ADMIN):
            scope = CallerScope.ADMIN
            return refused(403, f"this needs the scope {scope}", "NOT_ALLOWED", requiredScope=scope)
        await holder["process"].session_counts.refresh()
        return Response(holder["process"].metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    graphql = GraphQLApp(
        make_schema(scope_directives=settings.scope_directives, objects_max=settings.operation_objects_max),
        lambda: holder["process"].services,
        authenticator,
        settings.gateway_secret_header,
    )

    async def root(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return Response(status_code=404)
        # Relative, so that it also holds behind a proxy that serves this below a path. GraphiQL holds no data.
        return RedirectResponse("graphql", 307)

    routes = [
        Route("/", root),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        *([Route("/metrics", metrics)] if settings.metrics else []),
        *graphiql_routes(),
        Route("/graphql", graphql),
        WebSocketRoute("/graphql", graphql),
    ]

    def count(status: int) -> None:
        holder["process"].metrics.observe_request(status)

    middleware = [
        Middleware(_CountRequests, count=count),
        Middleware(Guard, authenticator=authenticator, gateway_header=settings.gateway_secret_header),
    ]
    if settings.is_local_only:
        middleware.insert(1, Middleware(LocalOnly))
    middleware.append(Middleware(OpenSockets, most=settings.sockets_max))
    return Starlette(routes=routes, lifespan=lifespan, middleware=middleware)


class _CountRequests:
    """ASGI middleware that counts answers by status."""

    def __init__(self, app: ASGIApp, count: Callable[[int], None]) -> None:
        self._app = app
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(message["status"])
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)
