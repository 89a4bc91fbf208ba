"""A pod hears every change of its assignments: gaps and losses are noticed, and end in a snapshot."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from subgraph.client import following as module
from subgraph.client.following import Following
from subgraph.client.manager import ChangeTold, LeaseRefused
from tests.support.polling import eventually
from tests.support.scripted_manager import ScriptedManager, change, snapshot

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)


@pytest.fixture
def manager() -> ScriptedManager:
    return ScriptedManager(snapshot(5))


@contextlib.asynccontextmanager
async def followed(manager: ScriptedManager) -> AsyncIterator[Following]:
    """Somebody who follows, after what the registration told."""
    following = Following(lambda after: manager.follow("pod", "token", after), manager.first)
    assert following.changes.get_nowait() == manager.first
    running = asyncio.create_task(following.run())
    await eventually(lambda: manager.followed_after, "it subscribes")
    try:
        yield following
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_changes_that_follow_each_other_are_handed_on_in_order(manager: ScriptedManager) -> None:
    async with followed(manager) as following:
        for told in (change(6, 5, a_1="ACTIVE"), change(9, 6, a_1="LOST")):
            manager.tell(told)
            assert await following.changes.get() == told
        assert manager.followed_after == [5]


async def test_a_gap_in_the_changes_ends_in_a_snapshot(manager: ScriptedManager) -> None:
    async with followed(manager) as following:
        manager.tell(change(9, 6, a_1="ACTIVE"))
        await eventually(lambda: manager.followed_after == [5, None], "it asks for a snapshot")
        manager.tell(snapshot(9, a_1="ACTIVE"))
        assert await following.changes.get() == snapshot(9, a_1="ACTIVE")


async def test_a_change_that_two_renewals_know_of_and_does_not_come_is_replaced_by_a_snapshot(
    manager: ScriptedManager,
) -> None:
    async with followed(manager) as following:
        following.hear_of(6)
        following.hear_of(6)
        await eventually(lambda: manager.followed_after == [5, None], "it asks for a snapshot")


async def test_a_change_that_comes_between_two_renewals_was_not_missed(manager: ScriptedManager) -> None:
    async with followed(manager) as following:
        following.hear_of(6)
        manager.tell(change(6, 5, a_1="ACTIVE"))
        await following.changes.get()
        following.hear_of(7)
        following.hear_of(5)
        following.hear_of(7)
        manager.tell(change(7, 6, a_1="LOST"))
        assert await following.changes.get() == change(7, 6, a_1="LOST")
        assert manager.followed_after == [5]


async def test_what_is_received_and_only_waits_to_be_applied_was_not_missed(manager: ScriptedManager) -> None:
    async with followed(manager) as following:
        manager.tell(change(6, 5, a_1="ACTIVE"))
        await eventually(lambda: not following.changes.empty(), "it is received")
        for _ in range(3):
            following.hear_of(6)
        manager.tell(change(7, 6, a_1="LOST"))
        await eventually(lambda: following.changes.qsize() == 2, "the subscription goes on")
        assert manager.followed_after == [5]


async def test_a_refusal_ends_it() -> None:
    async def refused(_: int | None) -> AsyncGenerator[ChangeTold, None]:
        yield change(6, 5)
        raise LeaseRefused("another instance runs")

    with pytest.raises(LeaseRefused):
        await Following(refused, snapshot(5)).run()
