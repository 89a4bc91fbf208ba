"""One stream for many readers: who gets what, and that one who reads too slowly harms nobody but itself."""

import asyncio

import pytest

from subgraph.operations.broadcast import Broadcast
from subgraph.operations.ports import SlowConsumer

pytestmark = pytest.mark.anyio


async def test_every_present_reader_gets_every_item_in_order() -> None:
    broadcast: Broadcast[int] = Broadcast()
    broadcast.send(0)
    with broadcast.reader() as one:
        broadcast.send(1)
        with broadcast.reader() as other:
            broadcast.send(2)
            broadcast.send(3)
            assert [await anext(one) for _ in range(3)] == [1, 2, 3]
            assert [await anext(other) for _ in range(2)] == [2, 3]


async def test_a_reader_waits_for_what_is_to_come() -> None:
    broadcast: Broadcast[int] = Broadcast()
    with broadcast.reader() as items:
        waiting = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        assert not waiting.done()
        broadcast.send(1)
        assert await waiting == 1


async def test_a_reader_that_is_full_gets_what_it_holds_and_then_the_failure_for_good() -> None:
    broadcast: Broadcast[int] = Broadcast()
    with broadcast.reader(buffered_max=2) as items:
        for item in range(5):
            broadcast.send(item)
        assert [await anext(items) for _ in range(2)] == [0, 1]
        with pytest.raises(SlowConsumer):
            await anext(items)
        with pytest.raises(StopAsyncIteration):
            await anext(items)


async def test_room_that_comes_after_the_loss_does_not_hide_it() -> None:
    broadcast: Broadcast[int] = Broadcast()
    with broadcast.reader(buffered_max=1) as items:
        broadcast.send(0)
        broadcast.send(1)
        assert await anext(items) == 0
        broadcast.send(2)
        with pytest.raises(SlowConsumer):
            await anext(items)


async def test_a_full_queue_alone_is_no_loss() -> None:
    broadcast: Broadcast[int] = Broadcast()
    with broadcast.reader(buffered_max=2) as items:
        for item in range(10):
            broadcast.send(item)
            broadcast.send(item)
            assert [await anext(items), await anext(items)] == [item, item]


async def test_a_slow_reader_harms_nobody_else() -> None:
    broadcast: Broadcast[int] = Broadcast()
    with broadcast.reader(buffered_max=1), broadcast.reader() as other:
        for item in range(5):
            broadcast.send(item)
        assert [await anext(other) for _ in range(5)] == list(range(5))


async def test_who_has_left_is_no_reader_whatever_made_it_leave() -> None:
    broadcast: Broadcast[int] = Broadcast()
    assert not broadcast.has_readers

    def leave_by_failure() -> None:
        with broadcast.reader():
            assert broadcast.has_readers
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        leave_by_failure()
    assert not broadcast.has_readers
    broadcast.send(1)


async def test_a_cancelled_reader_loses_nothing_for_the_next_turn() -> None:
    broadcast: Broadcast[int] = Broadcast()
    with broadcast.reader() as items:
        waiting = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
    with broadcast.reader() as items:
        broadcast.send(1)
        assert await anext(items) == 1
