"""Owns the way from one pod to the servers: a TCP proxy to whichever server lives, which can be cut."""

import asyncio
import contextlib
from collections.abc import Callable

CHUNK_BYTES = 65_536


class Gate:
    """Passes connections on to a server that is chosen anew for each; while cut, nothing passes either way.

    What was on its way when the gate was cut arrives late, as in a real network.
    """

    def __init__(self, ports: Callable[[], list[int]]) -> None:
        self._ports = ports
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        self._turn = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> "Gate":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> None:
        """Let nothing pass."""
        self._open.clear()

    def mend(self) -> None:
        """Let everything pass again."""
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ports = self._ports()
        self._turn += 1
        try:
            onward_reader, onward = await asyncio.open_connection("127.0.0.1", ports[self._turn % len(ports)])
        except (OSError, ZeroDivisionError):
            writer.close()
            return
        for source, target in ((reader, onward), (onward_reader, writer)):
            pump = asyncio.create_task(self._pump(source, target))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK_BYTES):
                await self._open.wait()
                target.write(chunk)
                await target.drain()
        target.close()
