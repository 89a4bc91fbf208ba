"""Owns the load: a few keep-alive clients, each sending its next request when the last is answered, and little else."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import cast

import httptools


@dataclass(frozen=True, slots=True)
class Run:
    """What one stretch of load came to."""

    requests: int
    elapsed_seconds: float
    received_bytes: int
    client_cpu_seconds: float
    """What the clients themselves used, on their own core."""


class _Client(asyncio.Protocol):
    """One connection. It stops after the first answer past its deadline."""

    def __init__(self, requests: Sequence[bytes], deadline: float) -> None:
        self.answered = 0
        self.received_bytes = 0
        self.done = asyncio.get_running_loop().create_future()
        self._requests = cycle(requests)
        self._deadline = deadline
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, though they have their methods.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Called by the parser: the answer is whole."""
        if self._parser.get_status_code() != 200:
            self._finish(RuntimeError(f"answered {self._parser.get_status_code()}"))
            return
        self.answered += 1
        if time.perf_counter() < self._deadline:
            self._transport.write(next(self._requests))
        else:
            self._finish(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc or ConnectionError("the server closed the connection"))

    def _finish(self, error: Exception | None) -> None:
        if not self.done.done():
            if error:
                self.done.set_exception(error)
            else:
                self.done.set_result(None)
            self._transport.close()


def http_request(port: int, body: bytes) -> bytes:
    """A GraphQL request as it goes over the wire."""
    head = (
        f"POST /graphql HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"accept: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def run_load(port: int, bodies: Sequence[bytes], *, clients: int, seconds: float) -> Run:
    """Load the server with the bodies in turn, from each client at another place in the list."""
    requests = [http_request(port, body) for body in bodies]
    loop = asyncio.get_running_loop()
    cpu_before, start = time.process_time(), time.perf_counter()
    connected: list[_Client] = []
    for index in range(clients):
        offset = index * len(requests) // clients
        own = requests[offset:] + requests[:offset]
        _, client = await loop.create_connection(partial(_Client, own, start + seconds), "127.0.0.1", port)
        connected.append(client)
    await asyncio.wait_for(asyncio.gather(*(client.done for client in connected)), seconds + 60)
    elapsed = time.perf_counter() - start
    return Run(
        requests=sum(client.answered for client in connected),
        elapsed_seconds=elapsed,
        received_bytes=sum(client.received_bytes for client in connected),
        client_cpu_seconds=time.process_time() - cpu_before,
    )
