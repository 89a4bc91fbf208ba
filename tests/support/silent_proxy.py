"""Owns a TCP proxy before a Unix socket that can fall silent: connections stay open, and nothing comes any more."""

import asyncio
import contextlib
from types import TracebackType

CHUNK_BYTES = 65_536


class SilentProxy:
    """Passes bytes both ways until it is told to fall silent; connections made after that work again."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where to connect to."""
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> "SilentProxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self.fall_silent()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def fall_silent(self) -> None:
        """Pass nothing any more on the connections that are open now."""
        pumps, self._pumps = self._pumps, set()
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_unix_connection(self._socket_path)
        self._writers += [writer, behind_writer]
        self._pumps.add(asyncio.create_task(_pump(reader, behind_writer)))
        self._pumps.add(asyncio.create_task(_pump(behind_reader, writer)))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    writer.close()
