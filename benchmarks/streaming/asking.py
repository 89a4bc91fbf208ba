"""Owns how changes are asked for: each on a connection that is kept, and that waits for nothing else meanwhile."""

import asyncio
import json
from typing import Any, cast

import httptools
from peers.load import http_request


class Asker:
    """GraphQL requests of one server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Connection] = []

    async def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        """The data of an answer, which must have no errors."""
        # Servers close connections that nobody has used for a while.
        self._idle = [connection for connection in self._idle if not connection.transport.is_closing()]
        if self._idle:
            connection = self._idle.pop()
        else:
            _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self._port)
        answer = json.loads(await connection.answer(http_request(self._port, json.dumps(body).encode())))
        self._idle.append(connection)
        if "errors" in answer:
            raise RuntimeError(f"an operation failed: {answer['errors']}")
        data: dict[str, Any] = answer["data"]
        return data

    def close(self) -> None:
        """Close all connections."""
        for connection in self._idle:
            connection.transport.close()


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._body: list[bytes] = []
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    async def answer(self, request: bytes) -> bytes:
        """The body of the answer to a request."""
        self._answered, self._body = asyncio.get_running_loop().create_future(), []
        self.transport.write(request)
        return await self._answered

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Called by the parser: a part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser: the answer is whole."""
        self._answered.set_result(b"".join(self._body))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answered.done():
            self._answered.set_exception(exc or ConnectionError("the server closed the connection"))
