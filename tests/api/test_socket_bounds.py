"""What one socket may hold and for how long its token counts, with a schema, a socket and a clock of the test's own."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any, cast

import pytest
import strawberry
from starlette.websockets import WebSocketDisconnected

from subgraph.api.context import Context, Services
from subgraph.api.websocket import SOCKET_OPERATION_BYTES_MAX, TransportWs
from subgraph.domain.access import Caller
from subgraph.domain.ids import TenantId
from subgraph.operations.authentication import NOBODY, Authenticator
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio

MEGABYTE = 1_000_000


@strawberry.type
class Query:
    count: int = 0


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def silence(self) -> AsyncIterator[int]:
        """Nothing, for ever."""
        await asyncio.Event().wait()
        yield 0

    @strawberry.subscription
    async def one(self) -> AsyncIterator[int]:
        """One thing."""
        yield 1


class Issuer:
    """Accepts every token, until a moment."""

    def __init__(self, expires_at: float) -> None:
        self._expires_at = expires_at

    async def verify(self, token: str) -> Mapping[str, object]:
        return {"sub": "ann", "tenant": "acme", "exp": self._expires_at}


class View:
    """What a socket asks of the endpoint."""

    gateway_header = "x-gateway"

    def __init__(self, authenticator: Authenticator) -> None:
        self.authenticator = authenticator

    async def on_ws_connect(self, context: Context) -> object:
        return strawberry.UNSET


class Socket:
    """A client's end: what it was sent, and with what it was closed."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.closed: list[int] = []

    async def send_json(self, message: Any) -> None:
        if self.closed:
            raise WebSocketDisconnected("gone")
        self.sent.append(message)

    async def close(self, code: int, reason: str) -> None:
        self.closed.append(code)


class Client:
    """Somebody who sends messages on an acknowledged socket."""

    def __init__(self, expires_at: float) -> None:
        self.socket = Socket()
        view: Any = View(Authenticator(verifier=Issuer(expires_at)))
        context = Context(cast(Services, None), NOBODY)
        schema = strawberry.Schema(Query, subscription=Subscription)
        self.handler = TransportWs(
            view,
            cast(Any, self.socket),
            context,
            None,
            schema,
            timedelta(minutes=1),
            max_subscriptions_per_connection=None,
        )

    async def connect(self) -> None:
        await self.handler.handle_message({"type": "connection_init", "payload": {"authorization": "Bearer t"}})
        assert self.socket.sent == [{"type": "connection_ack"}]
        assert self.handler.context.caller == Caller(TenantId("acme"), "ann", frozenset())

    async def subscribe(self, operation_id: str, field: str = "silence", size: int = 0) -> None:
        payload = {"query": f"subscription {{ {field} }}", "variables": {"unused": "x" * size}}
        await self.handler.handle_message({"type": "subscribe", "id": operation_id, "payload": payload})


async def test_operations_under_way_on_a_socket_hold_so_many_bytes_and_what_has_ended_makes_room() -> None:
    client = Client(time.time() + 3_600)
    await client.connect()
    room = SOCKET_OPERATION_BYTES_MAX // MEGABYTE - 1
    for number in range(room):
        await client.subscribe(str(number), size=MEGABYTE)
    await client.subscribe("too large", size=MEGABYTE)
    (told,) = client.socket.sent[1:]
    facts = told["payload"][0]["extensions"]
    assert (told["id"], told["type"]) == ("too large", "error")
    assert (facts["code"], facts["quota"]) == ("QUOTA_EXCEEDED", "bytes of operations on a socket")
    assert facts["limit"] == SOCKET_OPERATION_BYTES_MAX < facts["current"]
    await client.subscribe("small")
    await client.handler.handle_message({"type": "complete", "id": "0"})
    await client.subscribe("too large", size=MEGABYTE)
    assert client.socket.sent[2:] == []
    assert {*client.handler.operations} == {*map(str, range(1, room)), "small", "too large"}
    await client.handler.shutdown()


async def test_nothing_begins_once_the_token_has_expired_though_the_socket_was_not_closed_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.time()
    client = Client(now + 60)
    await client.connect()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    await client.subscribe("1")
    assert client.handler.operations == {}
    assert client.socket.closed == [4403]
    await client.handler.shutdown()


async def test_a_client_that_has_gone_while_it_was_sent_something_is_no_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Client(time.time() + 3_600)
    await client.connect()
    await client.subscribe("1", "one")
    await client.socket.close(1_000, "")
    await eventually(lambda: not client.handler.operations, "the operation has ended")
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []
    await client.handler.shutdown()
