"""Owns `session-manager serve`: embedded stores, the listening socket, the server's processes, orderly shutdown."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

import uvicorn

from subgraph.adapters.data_directory import DataDirectory, DataDirectoryHeld, DataDirectoryUnusable
from subgraph.adapters.jwt.verifier import KeyFileUnusable
from subgraph.adapters.redis.connection import RedisUnreachable, check_reachable, connect
from subgraph.adapters.sql.database import DatabaseUnusable, open_database, sqlite_url
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey, EmbeddedValkeyFailed
from subgraph.adapters.valkey.valkey_keeper import ValkeyKeeper
from subgraph.api.websocket import WEBSOCKET_MESSAGE_BYTES_MAX
from subgraph.app import create_app
from subgraph.long_lived import pass_over_what_is_there
from subgraph.settings import Settings
from subgraph.settings.texts import variable
from subgraph.stop_signals import hear_stop_signals, ignore_stop_signals, stopped_by_signals
from subgraph.wiring.authentication import check_keys
from subgraph.workers import Workers

STOP_SECONDS = 1
"""How long open requests may take to finish after Ctrl-C; sockets are closed at once."""
LISTEN_BACKLOG = 2048
REDIS_URL_FORM = "write it as redis://host:6379/0 (a port is at most 65535), rediss://… or unix:///path?db=0"


class CannotServe(Exception):
    """Why the server does not start: one line."""


def serve(settings: Settings, announce: Callable[[str], None] = print) -> None:
    """Serve until Ctrl-C, SIGTERM, or the terminal is closed; then this process hears none of them any more.

    Args:
        settings: what is set; embedded stores stand in for URLs that are not.
        announce: takes the lines that tell where to go.

    Raises:
        CannotServe: a port in use, a key that cannot be read, a directory held, a store that cannot be used.
    """
    try:
        check_keys(settings)
    except KeyFileUnusable as error:
        raise CannotServe(f"{variable('jwt_public_key_file')}: {error}") from error
    given = settings
    with stopped_by_signals(), contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as cleanups:
        listener = cleanups.enter_context(contextlib.closing(_listen(settings)))
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        settings = cleanups.enter_context(_with_stores(replace(settings, port=port), url))
        asyncio.run(_check_stores(settings, given))
        if settings.is_local_only:
            announce(f"Serving this machine only, without authentication, as tenant 'default' ({settings.host}).")
        elif not settings.tells_callers:
            announce(f"Serving whoever reaches {settings.host}, without authentication, as tenant 'default': as set.")
        _run(settings, listener, lambda: announce(f"GraphiQL: {url}/graphql"))


def _listen(settings: Settings) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotServe(f"cannot listen on {settings.host} port {settings.port}: {reason}") from error
    listener.set_inheritable(True)
    return listener


@contextlib.contextmanager
def _with_stores(settings: Settings, url: str) -> Iterator[Settings]:
    """The settings with URLs of stores: given ones, or embedded ones in the data directory, held until the end."""
    if settings.redis_url is not None and settings.database_url is not None:
        yield settings
        return
    directory = DataDirectory(settings.data_dir)
    try:
        directory.acquire()
    except (DataDirectoryHeld, DataDirectoryUnusable) as error:
        raise CannotServe(str(error)) from error
    with contextlib.ExitStack() as cleanups:
        cleanups.callback(directory.release)
        directory.describe(url)
        if settings.database_url is None:
            settings = replace(settings, database_url=sqlite_url(directory.database_path))
        if settings.redis_url is None:
            keeper = ValkeyKeeper(EmbeddedValkey(directory.valkey_directory))
            # Registered first: a start that is interrupted half-way must not leave a server behind.
            cleanups.callback(keeper.stop)
            try:
                settings = replace(settings, redis_url=keeper.start())
            except EmbeddedValkeyFailed as error:
                raise CannotServe(str(error)) from error
        yield settings


async def _check_stores(settings: Settings, given: Settings) -> None:
    """Make sure that stores can be used; those that were given are told of by their settings."""
    assert settings.redis_url is not None
    assert settings.database_url is not None
    redis_setting, database_setting = (
        "" if getattr(given, name) is None else f"{variable(name)}: " for name in ("redis_url", "database_url")
    )
    try:
        redis = connect(settings.redis_url)
    except ValueError as error:
        # Neither the text nor what its reader says of it is repeated: what does not parse cannot be masked.
        raise CannotServe(f"{redis_setting}cannot be read: {REDIS_URL_FORM}") from error
    try:
        await check_reachable(redis, settings.redis_url)
        await (await open_database(settings.database_url, migrate=settings.migrate_on_start)).close()
    except RedisUnreachable as error:
        raise CannotServe(f"{redis_setting}{error}") from error
    except DatabaseUnusable as error:
        raise CannotServe(f"{database_setting}{error}") from error
    finally:
        await redis.aclose()


def _run(settings: Settings, listener: socket.socket, announce: Callable[[], None]) -> None:
    config = uvicorn.Config(
        "subgraph.app:create_worker_app" if settings.workers > 1 else create_app(settings),
        factory=settings.workers > 1,
        workers=settings.workers,
        log_level=settings.log_level,
        access_log=False,
        ws_max_size=WEBSOCKET_MESSAGE_BYTES_MAX,
        timeout_graceful_shutdown=STOP_SECONDS,
        lifespan="on",
    )
    if settings.workers == 1:
        pass_over_what_is_there()
        _Server(config, announce).run(sockets=[listener])
        return
    os.environ.update(settings.to_environment())
    Workers(config, listener, announce).run()


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is up, and leaves ending the process to us: the stores end after it."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell."""
        await super().startup(sockets)
        if self.started:
            self._announce()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End the server, and nothing else, when asked to; asked again, it goes on ending in order."""

        def end(*_: object) -> None:
            self.should_exit = True

        hear_stop_signals(end)
        try:
            yield
        finally:
            ignore_stop_signals()
