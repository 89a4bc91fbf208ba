"""Owns a subscriber that costs little: one operation over a WebSocket, and nothing of the protocol but what it needs.

A thousand full clients would take more processor time than the servers that are measured. So frames are read as they
lie in the bytes: no server sends a fragment where it has no reason to, and no client is asked for compression.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_HANDSHAKE = (
    "GET /graphql HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: c2Vzc2lvbi1tYW5hZ2VyIQ==\r\n"
    "sec-websocket-protocol: graphql-transport-ws\r\n\r\n"
)


class Subscriber(asyncio.Protocol):
    """Calls `told` with each text message of a subscription; raises nothing, but keeps what ended it in `failure`."""

    def __init__(self, port: int, payload: dict[str, Any], told: Callable[[bytes], None]) -> None:
        self.acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failure: str | None = None
        self._port = port
        self._subscribe = json.dumps({"id": "1", "type": "subscribe", "payload": payload}).encode()
        self._told = told
        self._read = b""
        self._is_open = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(_HANDSHAKE.format(port=self._port).encode())

    def data_received(self, data: bytes) -> None:
        """Read all frames that are whole."""
        self._read += data
        if not self._is_open:
            head, end, rest = self._read.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._fail(head.decode())
                return
            self._is_open, self._read = True, rest
            self.transport.write(_frame(TEXT, b'{"type":"connection_init"}'))
        while (found := _unframed(self._read)) is not None:
            opcode, message, size = found
            self._read = self._read[size:]
            self._take(opcode, message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep why."""
        self._fail(f"the connection ended: {exc}")

    def _take(self, opcode: int, message: bytes) -> None:
        if opcode == PING:
            self.transport.write(_frame(PONG, message))
        elif opcode != TEXT:
            self._fail(f"closed: {message[2:].decode()}")
        elif not self.acknowledged.done():
            self.transport.write(_frame(TEXT, self._subscribe))
            self.acknowledged.set_result(None)
        else:
            self._told(message)

    def _fail(self, why: str) -> None:
        self.failure = self.failure or why
        if not self.acknowledged.done():
            self.acknowledged.set_exception(ConnectionError(why))
        self.transport.close()


def _frame(opcode: int, message: bytes) -> bytes:
    # A mask of zeros is a mask, and leaves the message as it is.
    if len(message) < 126:
        return bytes((0x80 | opcode, 0x80 | len(message), 0, 0, 0, 0)) + message
    return bytes((0x80 | opcode, 0x80 | 126)) + len(message).to_bytes(2, "big") + bytes(4) + message


def _unframed(read: bytes) -> tuple[int, bytes, int] | None:
    """The first frame's opcode and message, and how many bytes it takes; None while it is not whole."""
    if len(read) < 2:
        return None
    length, start = read[1] & 0x7F, 2
    if length >= 126:
        start = 4 if length == 126 else 10
        if len(read) < start:
            return None
        length = int.from_bytes(read[2:start], "big")
    end = start + length
    return None if len(read) < end else (read[0] & 0x0F, read[start:end], end)
