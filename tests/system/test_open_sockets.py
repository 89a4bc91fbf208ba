"""WebSockets of a process are bounded: who comes when there are too many is told, and let in once another has gone."""

import contextlib
import json
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.support.server import RunningServer, running_server, until

PROTOCOL = Subprotocol("graphql-transport-ws")


def opened(server: RunningServer) -> ClientConnection:
    return connect(server.websocket_url, subprotocols=[PROTOCOL])


def opened_if_there_is_room(server: RunningServer) -> ClientConnection | None:
    with contextlib.suppress(InvalidStatus):
        return opened(server)
    return None


def test_a_socket_too_many_is_refused_until_another_is_closed(tmp_path: Path) -> None:
    with (
        running_server(tmp_path / "data", SESSION_MANAGER_SOCKETS_MAX="2") as server,
        opened(server) as first,
        opened(server),
    ):
        with pytest.raises(InvalidStatus) as refused:
            opened(server)
        answer = refused.value.response
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        (error,) = json.loads(answer.body)["errors"]
        assert error["extensions"] == {"code": "QUOTA_EXCEEDED", "limit": "2 sockets"}
        assert server.data("{ __typename }")
        first.close()
        with until(lambda: opened_if_there_is_room(server), "there is room again") as third:
            third.send(json.dumps({"type": "connection_init"}))
            assert json.loads(third.recv(30))["type"] == "connection_ack"
