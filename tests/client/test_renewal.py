"""A lease is kept by one way when the other is away, and reports that are not taken come less often."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence

import pytest

from subgraph.client.lease import SAFETY_MARGIN_SHARE, LeaseClock
from subgraph.client.manager import LeaseRefused, TileLoad, Unreachable
from subgraph.client.renewal import REPORTS_SLOWED_MAX, Renewal
from tests.support.polling import eventually
from tests.support.scripted_manager import ScriptedManager, snapshot

pytestmark = pytest.mark.anyio

LEASE_SECONDS = 0.2
LOAD = TileLoad("a", 1, 1.0)


class Clock:
    """A boot clock that goes on by hand only."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Link:
    """A way past the session manager that can be away, or refuse reports."""

    def __init__(self) -> None:
        self.renewals = 0
        self.reported: list[TileLoad] = []
        self.applied: set[int] = set()
        self.takes = True
        self.fails_with: Exception | None = None

    async def renew(self, pod_id: str, token: str, applied_version: int) -> None:
        self._answer(applied_version)
        self.renewals += 1

    async def report(self, pod_id: str, token: str, applied_version: int, loads: Sequence[TileLoad]) -> bool:
        self._answer(applied_version)
        self.reported += loads if self.takes else ()
        return self.takes

    def _answer(self, applied_version: int) -> None:
        if self.fails_with is not None:
            raise self.fails_with
        self.applied.add(applied_version)


@pytest.fixture
async def manager() -> ScriptedManager:
    manager = ScriptedManager(snapshot(5))
    await manager.register({})
    return manager


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextlib.asynccontextmanager
async def running(*works: Coroutine[None, None, None]) -> AsyncIterator[list["asyncio.Task[None]"]]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def renewal(manager: ScriptedManager, link: Link | None, clock: Clock) -> Renewal:
    return Renewal(manager, link, LeaseClock(LEASE_SECONDS, clock), "pod", "token-1", lambda: 7)


async def test_with_a_link_the_session_manager_is_asked_once_a_lease(manager: ScriptedManager, clock: Clock) -> None:
    link, heard = Link(), list[int]()
    one = renewal(manager, link, clock)
    async with running(one.renewals(), one.heartbeats(heard.append)):
        await eventually(lambda: manager.heartbeats >= 5, "heartbeats")
    assert link.renewals >= 2 * manager.heartbeats
    assert set(heard) == {5}
    assert link.applied == {7}


async def test_while_the_session_manager_is_away_the_link_keeps_the_lease(
    manager: ScriptedManager, clock: Clock
) -> None:
    link = Link()
    manager.fails_with = Unreachable("it restarts")
    one = renewal(manager, link, clock)
    async with running(one.renewals(), one.heartbeats(lambda _: None)):
        for _ in range(5):

            def is_renewed(before: int = link.renewals) -> bool:
                return link.renewals > before and one.lease.is_held

            clock.seconds += LEASE_SECONDS * (1 - SAFETY_MARGIN_SHARE)
            assert not one.lease.is_held
            await eventually(is_renewed, "it is renewed")


async def test_while_redis_is_away_every_renewal_goes_through_the_session_manager(
    manager: ScriptedManager, clock: Clock
) -> None:
    link = Link()
    link.fails_with = Unreachable("it restarts")
    one = renewal(manager, link, clock)
    async with running(one.renewals(), one.heartbeats(lambda _: None)):
        for _ in range(5):

            def has_sent_another(before: int = manager.heartbeats) -> bool:
                return manager.heartbeats > before

            clock.seconds += 2 * LEASE_SECONDS / 4
            await eventually(has_sent_another, "a heartbeat")
        await eventually(lambda: one.lease.is_held, "the lease is held")


async def test_a_refusal_in_redis_ends_the_instance_as_one_of_the_session_manager_does(
    manager: ScriptedManager, clock: Clock
) -> None:
    link = Link()
    link.fails_with = LeaseRefused("lost")
    one = renewal(manager, link, clock)
    for work in (one.renewals(), one.reports(lambda: [LOAD], 0.01)):
        with pytest.raises(LeaseRefused):
            await asyncio.wait_for(work, 30)


async def test_reports_go_by_the_link_and_by_the_session_manager_while_it_is_away(
    manager: ScriptedManager, clock: Clock
) -> None:
    link = Link()
    one = renewal(manager, link, clock)
    async with running(one.reports(lambda: [LOAD], 0.01)):
        await eventually(lambda: link.reported, "a report in Redis")
        assert manager.reported == []
        assert one.lease.is_held
        link.fails_with = Unreachable("it restarts")
        await eventually(lambda: manager.reported, "a report over GraphQL")


@pytest.mark.parametrize("by_link", [True, False])
async def test_reports_that_are_not_taken_come_less_often_within_a_bound_and_then_as_often_again(
    manager: ScriptedManager, clock: Clock, monkeypatch: pytest.MonkeyPatch, by_link: bool
) -> None:
    slept: list[float] = []
    may_go_on = asyncio.Semaphore(0)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await may_go_on.acquire()

    link = Link() if by_link else None
    one = renewal(manager, link, clock)

    def takes(whether: bool) -> None:
        if link is not None:
            link.takes = whether
        manager.fails_with = None if whether else Unreachable("too many")

    async def turns(count: int) -> list[float]:
        reached = len(slept) + count
        for _ in range(count):
            may_go_on.release()
        while len(slept) < reached:
            await original_sleep(0)
        return slept[-count:]

    original_sleep = asyncio.sleep
    monkeypatch.setattr("subgraph.client.renewal.asyncio.sleep", sleep)
    async with running(one.reports(lambda: [LOAD], 1.0)):
        while not slept:
            await original_sleep(0)
        takes(False)
        assert await turns(6) == [2.0, 4.0, 8.0, REPORTS_SLOWED_MAX, REPORTS_SLOWED_MAX, REPORTS_SLOWED_MAX]
        takes(True)
        assert await turns(5) == [8.0, 4.0, 2.0, 1.0, 1.0]


async def test_many_loads_are_reported_in_parts(manager: ScriptedManager, clock: Clock) -> None:
    one = renewal(manager, None, clock)
    async with running(one.reports(lambda: [LOAD] * 25_000, 0.01)):
        await eventually(lambda: len(manager.reported) >= 25_000, "all are reported")
    assert manager.reports_of[:3] == [10_000, 10_000, 5_000]


async def test_nothing_measured_is_no_call(manager: ScriptedManager, clock: Clock) -> None:
    link = Link()
    one = renewal(manager, link, clock)
    asked = 0

    def nothing() -> Sequence[TileLoad]:
        nonlocal asked
        asked += 1
        return ()

    async with running(one.reports(nothing, 0.001)):
        await eventually(lambda: asked > 3, "turns")
    assert (link.applied, manager.reports_of) == (set(), [])
