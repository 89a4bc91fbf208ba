"""The event bus on a real Valkey: who is told what, that one slow reader harms nobody, and that it survives cuts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from subgraph.adapters.redis import event_bus
from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.domain.errors import Unavailable
from subgraph.operations.ports import SlowConsumer
from tests.contract.conftest import listening
from tests.support.own_valkey import kill
from tests.support.polling import eventually
from tests.support.silent_proxy import SilentProxy

pytestmark = pytest.mark.anyio

END = b"end"


@pytest.fixture
def channel() -> str:
    return f"channel-{uuid4()}"


async def until_end(messages: AsyncIterator[bytes]) -> list[bytes]:
    received: list[bytes] = []
    async for message in messages:
        if message == END:
            return received
        received.append(message)
    raise AssertionError("a stream of messages does not end by itself")


async def listeners(redis: Redis) -> list[str]:
    return [client["id"] for client in await redis.client_list() if int(client["sub"]) > 0]


async def is_listened_to(redis: Redis, channel: str) -> bool:
    return channel.encode() in await redis.pubsub_channels(f"{channel}*")


async def is_listened_to_twice(redis: Redis, channel: str) -> bool:
    return dict(await redis.pubsub_numsub(channel)) == {channel.encode(): 2}


async def is_left(redis: Redis, channel: str) -> bool:
    return not await redis.pubsub_channels(f"{channel}*")


@contextlib.asynccontextmanager
async def subscribed(bus: RedisEventBus, channels: Sequence[str]) -> AsyncIterator[None]:
    """Subscriptions that were all begun at once."""
    entered: asyncio.Queue[str] = asyncio.Queue()
    leave = asyncio.Event()

    async def stay(channel: str) -> None:
        async with bus.subscribe(channel):
            entered.put_nowait(channel)
            await leave.wait()

    async with asyncio.TaskGroup() as tasks:
        for channel in channels:
            tasks.create_task(stay(channel))
        for _ in channels:
            await entered.get()
        yield
        leave.set()


async def test_every_subscriber_in_every_process_gets_every_message_in_order(
    bus: RedisEventBus, valkey_url: str, channel: str
) -> None:
    other_client = connect(valkey_url)
    async with (
        listening(other_client) as other_bus,
        bus.subscribe(channel) as one,
        bus.subscribe(channel) as two,
        other_bus.subscribe(channel) as three,
    ):
        sent = [str(n).encode() for n in range(500)]
        for message in [*sent, END]:
            await other_bus.publish(channel, message)
        assert await asyncio.gather(*map(until_end, (one, two, three))) == [sent] * 3
    await other_client.aclose()


async def test_other_channels_and_what_came_before_are_not_told(bus: RedisEventBus, channel: str) -> None:
    await bus.publish(channel, b"before")
    async with bus.subscribe(channel) as messages, bus.subscribe(channel + "-other"):
        await bus.publish(channel + "-other", b"elsewhere")
        await bus.publish(channel, b"here")
        await bus.publish(channel, END)
        assert await until_end(messages) == [b"here"]


async def test_one_connection_listens_for_any_number_of_subscribers(
    bus: RedisEventBus, redis: Redis, channel: str
) -> None:
    async with subscribed(bus, [f"{channel}-{n % 20}" for n in range(100)]):
        assert len(await listeners(redis)) == 1
    await eventually(lambda: is_left(redis, channel), "channels without a subscriber are left")


async def test_subscribers_that_come_with_the_listener_share_its_connection(redis: Redis, channel: str) -> None:
    for attempt in range(5):
        async with (
            listening(redis) as bus,
            subscribed(bus, [f"{channel}-{attempt}-{n}" for n in range(5)]),
        ):
            assert len(await listeners(redis)) == 1


async def test_a_slow_reader_is_cut_off_after_what_it_holds_and_the_others_go_on(
    bus: RedisEventBus, channel: str
) -> None:
    sent = [str(n).encode() for n in range(20)]
    async with bus.subscribe(channel, buffered_max=5) as slow, bus.subscribe(channel) as other:
        for message in [*sent, END]:
            await bus.publish(channel, message)
        assert await until_end(other) == sent
        assert [await anext(slow) for _ in range(5)] == sent[:5]
        with pytest.raises(SlowConsumer):
            await anext(slow)


async def test_who_joins_while_the_last_one_leaves_misses_nothing(bus: RedisEventBus, channel: str) -> None:
    async def stay_shortly(entered: asyncio.Event) -> None:
        async with bus.subscribe(channel):
            entered.set()

    for attempt in range(50):
        entered = asyncio.Event()
        leaving = asyncio.create_task(stay_shortly(entered))
        await entered.wait()
        for _ in range(attempt % 4):
            await asyncio.sleep(0)  # another moment of the leaving each time
        async with bus.subscribe(channel) as messages:
            await bus.publish(channel, b"here")
            await bus.publish(channel, END)
            assert await asyncio.wait_for(until_end(messages), 30) == [b"here"]
        await leaving


async def test_many_who_come_and_go_at_once_leave_nothing_behind(
    bus: RedisEventBus, redis: Redis, channel: str
) -> None:
    async def come_and_go(number: int) -> None:
        for turn in range(5):
            async with bus.subscribe(f"{channel}-{(number + turn) % 3}") as messages:
                await bus.publish(f"{channel}-{(number + turn) % 3}", END)
                await until_end(messages)

    async with asyncio.timeout(30):
        await asyncio.gather(*(come_and_go(number) for number in range(30)))
    await eventually(lambda: is_left(redis, channel), "channels without a subscriber are left")
    async with bus.subscribe(channel) as messages:
        await bus.publish(channel, END)
        assert await until_end(messages) == []


async def test_one_who_gives_up_while_joining_harms_nobody(bus: RedisEventBus, channel: str) -> None:
    async def stay() -> None:
        async with bus.subscribe(channel):
            await asyncio.Event().wait()

    for turns in range(5):
        joining = asyncio.create_task(stay())
        for _ in range(turns):
            await asyncio.sleep(0)
        joining.cancel()
        await asyncio.wait([joining])
    async with bus.subscribe(channel) as messages:
        await bus.publish(channel, END)
        assert await asyncio.wait_for(until_end(messages), 30) == []


async def test_subscribers_live_through_a_killed_connection(bus: RedisEventBus, redis: Redis, channel: str) -> None:
    async with bus.subscribe(channel) as messages:
        (listener,) = await listeners(redis)
        await redis.client_kill_filter(_id=listener)
        await eventually(lambda: is_listened_to(redis, channel), "the channel is subscribed again")
        assert await listeners(redis) != [listener]
        await bus.publish(channel, b"after the cut")
        await bus.publish(channel, END)
        assert await until_end(messages) == [b"after the cut"]


async def test_a_connection_that_fell_silent_is_replaced(
    valkey_url: str, redis: Redis, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_bus, "SUBSCRIBE_TIMEOUT_SECONDS", 0.2)
    async with SilentProxy(valkey_url.removeprefix("unix://")) as proxy:
        client = connect(proxy.url)
        async with listening(client) as bus, bus.subscribe(channel) as messages:
            await proxy.fall_silent()
            with pytest.raises(Unavailable):
                await bus.subscribe(channel + "-new").__aenter__()
            # The failed attempt has shown that the connection is dead, so the listener makes a new one.
            await eventually(lambda: is_listened_to_twice(redis, channel), "there is a new connection")
            await redis.publish(channel, END)
            assert await until_end(messages) == []
        await client.aclose()


async def test_without_a_store_nothing_is_published_or_subscribed_and_with_it_everything_is_again(
    valkey: EmbeddedValkey, channel: str
) -> None:
    client = connect(valkey.url)
    async with listening(client) as bus:
        async with bus.subscribe(channel):
            pass
        await kill(valkey)
        with pytest.raises(Unavailable):
            await bus.publish(channel, b"")
        for _ in range(2):
            with pytest.raises(Unavailable):
                await bus.subscribe(channel).__aenter__()
        await valkey.start()
        async with bus.subscribe(channel) as messages:
            await bus.publish(channel, END)
            assert await until_end(messages) == []
    await client.aclose()
