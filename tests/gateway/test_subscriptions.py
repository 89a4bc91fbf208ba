"""Subscriptions through Hive Gateway: our socket behind it, server-sent events before it, both subgraphs' fields."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from tests.gateway.client import Gateway

ATTEMPTS_MAX = 30
EVENT_SECONDS_MAX = 1

STARTED = """
subscription ($source: String!) {
  sessionStarted(dataSource: $source) {
    sessionKey dataSource session { id displayName state experiments { name } }
  }
}"""
STOPPED = """
subscription ($source: String!) {
  sessionStopped(dataSource: $source) { sessionKey session { id state experiments { name hypothesis } } }
}"""
CREATE = """
mutation ($source: String!) { createSession(input: {dataSource: $source}) { session { id } errors { code } } }"""
START_EXPERIMENT = """
mutation ($id: ID!) {
  startExperiment(input: {sessionId: $id, name: "watched", hypothesis: "it stops"}) { experiment { id } }
}"""
END = "mutation ($id: ID!) { endSession(input: {id: $id}) { errors { code } } }"

pytestmark = [pytest.mark.xdist_group("gateway"), pytest.mark.anyio]

Events = asyncio.Queue[dict[str, Any]]


@asynccontextmanager
async def subscribed(gateway: Gateway, document: str, source: str) -> AsyncIterator[Events]:
    events: Events = asyncio.Queue(maxsize=ATTEMPTS_MAX * 2)

    async def read() -> None:
        async for event in gateway.events(document, source=source):
            await events.put(event)

    reader = asyncio.create_task(read())
    try:
        yield events
    finally:
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader


async def first_event(events: Events, trigger: Callable[[], Awaitable[None]]) -> dict[str, Any]:
    """Trigger until an event is seen: the stream is live only, and nothing tells when it is established."""
    for _ in range(ATTEMPTS_MAX):
        await trigger()
        with suppress(TimeoutError):
            return await asyncio.wait_for(events.get(), EVENT_SECONDS_MAX)
    raise AssertionError(f"no event after {ATTEMPTS_MAX} attempts")


async def created(gateway: Gateway, source: str) -> str:
    payload = (await asyncio.to_thread(gateway.data, CREATE, source=source))["createSession"]
    assert payload["errors"] == []
    return str(payload["session"]["id"])


async def test_a_started_session_arrives_with_the_neighbours_field(hive: Gateway) -> None:
    source = f"race-{uuid4()}"
    ids: list[str] = []

    async def create() -> None:
        ids.append(await created(hive, source))

    async with subscribed(hive, STARTED, source) as events:
        event = await first_event(events, create)
    assert "errors" not in event, event
    notification = event["data"]["sessionStarted"]
    assert notification["sessionKey"] in ids
    assert notification["dataSource"] == source
    assert notification["session"]["id"] == notification["sessionKey"]
    assert notification["session"]["state"] == "ACTIVE"
    assert notification["session"]["experiments"] == []


async def test_a_stopped_session_arrives_with_the_experiments_that_ran_in_it(hive: Gateway) -> None:
    source = f"race-{uuid4()}"

    async def create_and_end() -> None:
        session_id = await created(hive, source)
        await asyncio.to_thread(hive.data, START_EXPERIMENT, id=session_id)
        assert (await asyncio.to_thread(hive.data, END, id=session_id))["endSession"]["errors"] == []

    async with subscribed(hive, STOPPED, source) as events:
        event = await first_event(events, create_and_end)
    assert "errors" not in event, event
    session = event["data"]["sessionStopped"]["session"]
    assert session["state"] == "ENDED"
    assert session["experiments"] == [{"name": "watched", "hypothesis": "it stops"}]


async def test_another_data_source_is_not_heard(hive: Gateway) -> None:
    heard, other = f"race-{uuid4()}", f"race-{uuid4()}"

    async def create_both() -> None:
        await created(hive, other)
        await created(hive, heard)

    async with subscribed(hive, STARTED, heard) as events:
        event = await first_event(events, create_both)
    assert event["data"]["sessionStarted"]["dataSource"] == heard


@pytest.mark.parametrize("authorization", [None, "Bearer not-the-secret"])
async def test_a_stranger_hears_nothing_while_an_admitted_subscriber_hears(
    hive: Gateway, authorization: str | None
) -> None:
    source = f"race-{uuid4()}"
    stranger = replace(hive, authorization=authorization)

    async def create() -> None:
        await created(hive, source)

    # The stranger asks first: whatever reaches the later subscriber would have reached it as well.
    async with subscribed(stranger, STARTED, source) as heard_outside, subscribed(hive, STARTED, source) as heard:
        for _ in range(3):
            assert (await first_event(heard, create))["data"]
    while not heard_outside.empty():
        assert not heard_outside.get_nowait().get("data")
