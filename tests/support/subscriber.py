"""Owns following a subscription in a test: a socket of its own, messages collected in the background."""

import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

WAIT_SECONDS_MAX = 10.0


class Subscriber:
    """What one subscription has been told, in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._told: queue.Queue[dict[str, Any]] = queue.Queue()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def next(self, seconds_max: float = WAIT_SECONDS_MAX) -> dict[str, Any]:
        """The next payload: `{"data": …}`, or `{"errors": […]}`."""
        return self._told.get(timeout=seconds_max)

    def next_data(self, field: str, seconds_max: float = WAIT_SECONDS_MAX) -> dict[str, Any]:
        """The next payload's field."""
        payload = self.next(seconds_max)
        assert "errors" not in payload, payload
        found: dict[str, Any] = payload["data"][field]
        return found

    @property
    def has_more(self) -> bool:
        return not self._told.empty()

    def _listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for raw in self._socket:
                message = json.loads(raw)
                if message["type"] == "next":
                    self._told.put(message["payload"])
                elif message["type"] == "error":
                    self._told.put({"errors": message["payload"]})


@contextlib.contextmanager
def subscribed(websocket_url: str, query: str, **variables: Any) -> Iterator[Subscriber]:
    """A subscription: the socket is acknowledged and the operation sent; only its first event shows that it is live."""
    with socket_to(websocket_url) as socket:
        payload = {"query": query, "variables": variables}
        socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        yield Subscriber(socket)


@contextlib.contextmanager
def socket_to(websocket_url: str, **init: str) -> Iterator[ClientConnection]:
    """An acknowledged graphql-transport-ws socket."""
    with connect(websocket_url, subprotocols=[Subprotocol("graphql-transport-ws")], max_size=None) as socket:
        socket.send(json.dumps({"type": "connection_init", "payload": init}))
        assert json.loads(socket.recv(WAIT_SECONDS_MAX))["type"] == "connection_ack"
        yield socket
