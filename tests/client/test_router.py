"""A router never guesses: it believes what it was told for one lease, and then says that it does not know."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import h3.api.basic_int as h3
import pytest

from subgraph.client import router as module
from subgraph.client.manager import CallRefused, Unreachable
from subgraph.client.router import Router
from subgraph.client.routes import NoRoute, Route, Why
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio

A, B = (h3.latlng_to_cell(lat, -100.0, 4) for lat in (40.0, 41.0))
LEASE_SECONDS = 5.0
TILE_A, TILE_B = f"session:{A:x}", f"session:{B:x}"
AT_A, AT_B, ELSEWHERE = h3.cell_to_latlng(A), h3.cell_to_latlng(B), (0.0, 0.0)


def route(tile_id: str, pod_id: str | None, epoch: int | None, is_at_work: bool = True) -> dict[str, Any]:
    return {"tileId": tile_id, "podId": pod_id, "epoch": epoch, "isAtWork": is_at_work}


def batch(
    *routes: dict[str, Any],
    removed: tuple[str, ...] = (),
    begins: bool = False,
    last: bool = True,
    version: int = 10,
    lag_ms: float = 0.0,
) -> Any:
    return {
        "version": version,
        "begins": begins,
        "isComplete": last,
        "lagMs": lag_ms,
        "leaseMs": LEASE_SECONDS * 1_000,
        "routes": list(routes),
        "removedIds": list(removed),
    }


FIRST = batch(route(TILE_A, "one", 7), route(TILE_B, None, None, False), begins=True)


class Feed:
    """A session manager that tells what a test wants; an exception ends the subscription."""

    def __init__(self) -> None:
        self.subscriptions = 0
        self._told: asyncio.Queue[Any] = asyncio.Queue()

    def tell(self, *told: Any) -> None:
        for one in told:
            self._told.put_nowait(one)

    async def follow(self) -> AsyncGenerator[dict[str, Any], None]:
        self.subscriptions += 1
        while True:
            told = await self._told.get()
            if isinstance(told, Exception):
                raise told
            yield told


class Clock:
    """A boot clock that goes on by hand only."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextlib.asynccontextmanager
async def running(feed: Feed, clock: Clock) -> AsyncIterator[Router]:
    router = Router("session", feed.follow, clock=clock)
    task = asyncio.create_task(router.run())
    try:
        yield router
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def router(feed: Feed, clock: Clock) -> AsyncIterator[Router]:
    """A router that has been told all routes."""
    async with running(feed, clock) as router:
        feed.tell(FIRST)
        await router.wait_for(lambda one: one.is_in_touch, 30)
        yield router


async def test_before_everything_is_told_nothing_is_known(feed: Feed, clock: Clock) -> None:
    async with running(feed, clock) as router:
        assert router.route_at(*AT_A) == NoRoute(Why.OUT_OF_TOUCH)
        feed.tell(batch(route(TILE_A, "one", 7), begins=True, last=False))
        await eventually(lambda: feed.subscriptions, "it follows")
        for _ in range(20):
            await asyncio.sleep(0)
        assert router.route_of(TILE_A) == NoRoute(Why.OUT_OF_TOUCH, TILE_A)
        feed.tell(batch(route(TILE_B, "two", 8)))
        await router.wait_for(lambda one: one.is_in_touch, 30)
        assert router.route_at(*AT_A) == Route(TILE_A, "one", 7)
        assert router.route_at(*AT_B) == Route(TILE_B, "two", 8)


async def test_a_place_a_cell_and_a_tile_have_a_route_or_the_reason_why_not(router: Router) -> None:
    finest = h3.latlng_to_cell(*AT_A, 15)
    own = Route(TILE_A, "one", 7)
    assert router.route_at(*AT_A) == router.route_of_cell(finest) == router.route_of_cell(f"{finest:x}") == own
    assert router.route_at(*AT_B) == router.route_of(TILE_B) == NoRoute(Why.UNOWNED, TILE_B)
    assert router.route_at(*ELSEWHERE) == router.route_of_cell(h3.latlng_to_cell(*ELSEWHERE, 9)) == NoRoute(Why.OUTSIDE)
    assert (router.tile_at(*AT_B), router.tile_at(*ELSEWHERE)) == (TILE_B, NoRoute(Why.OUTSIDE))


async def test_changes_are_followed(router: Router, feed: Feed) -> None:
    feed.tell(batch(route(TILE_B, "two", 9, is_at_work=False), removed=(TILE_A,)))
    await router.wait_for(lambda one: isinstance(one.route_at(*AT_B), Route), 30)
    assert router.route_at(*AT_B) == Route(TILE_B, "two", 9, is_at_work=False)
    assert router.route_at(*AT_A) == NoRoute(Why.OUTSIDE)


async def test_what_was_told_is_believed_for_so_long_and_a_sign_of_life_renews_it(
    router: Router, feed: Feed, clock: Clock
) -> None:
    clock.seconds += LEASE_SECONDS
    assert router.route_at(*AT_A) == Route(TILE_A, "one", 7)
    feed.tell(batch())
    clock.seconds += 0.001
    assert router.route_at(*AT_A) == NoRoute(Why.OUT_OF_TOUCH)
    assert router.tile_at(*AT_A) == NoRoute(Why.OUT_OF_TOUCH)
    clock.seconds -= 0.001
    await router.wait_for(lambda one: one.behind_seconds == 0, 30)
    clock.seconds += LEASE_SECONDS
    assert router.is_in_touch


async def test_it_knows_how_far_behind_it_is_and_the_session_managers_own_lag_counts(
    router: Router, feed: Feed, clock: Clock
) -> None:
    assert router.behind_seconds == 0
    clock.seconds += 2
    assert router.behind_seconds == 2
    feed.tell(batch(lag_ms=1_500))
    await router.wait_for(lambda one: one.behind_seconds == 1.5, 30)
    clock.seconds += LEASE_SECONDS - 1.5
    assert router.is_in_touch
    clock.seconds += 0.001
    assert router.route_at(*AT_A) == NoRoute(Why.OUT_OF_TOUCH)


async def test_before_anything_is_told_it_is_behind_without_end(feed: Feed, clock: Clock) -> None:
    assert Router("session", feed.follow, clock=clock).behind_seconds == float("inf")


async def test_a_session_manager_that_is_behind_what_was_told_before_is_not_believed(
    router: Router, feed: Feed
) -> None:
    feed.tell(batch(route(TILE_A, "two", 12), version=12), Unreachable("to the next replica"))
    await router.wait_for(lambda one: one.route_at(*AT_A) == Route(TILE_A, "two", 12), 30)
    feed.tell(batch(route(TILE_A, "one", 7), begins=True, version=11))
    await eventually(lambda: feed.subscriptions == 3, "it follows anew")
    assert router.route_at(*AT_A) == Route(TILE_A, "two", 12)
    feed.tell(batch(route(TILE_A, "two", 12), begins=True, version=12))
    await router.wait_for(lambda one: one.route_of(TILE_B) == NoRoute(Why.OUTSIDE), 30)
    assert router.route_at(*AT_A) == Route(TILE_A, "two", 12)


async def test_an_interruption_that_is_shorter_disturbs_nothing(router: Router, feed: Feed, clock: Clock) -> None:
    feed.tell(Unreachable("it restarts"))
    await eventually(lambda: feed.subscriptions == 2, "it follows anew")
    assert router.route_at(*AT_A) == Route(TILE_A, "one", 7)
    feed.tell(batch(route(TILE_A, "two", 9), begins=True))
    await router.wait_for(lambda one: one.route_at(*AT_A) == Route(TILE_A, "two", 9), 30)
    # What the new beginning does not contain is gone.
    assert router.route_at(*AT_B) == NoRoute(Why.OUTSIDE)


async def test_after_a_pause_what_waited_in_the_socket_is_not_believed(
    router: Router, feed: Feed, clock: Clock
) -> None:
    clock.seconds += 60
    feed.tell(batch(route(TILE_B, "old", 8)))
    await eventually(lambda: feed.subscriptions == 2, "it follows anew")
    assert router.route_at(*AT_B) == NoRoute(Why.OUT_OF_TOUCH)
    feed.tell(FIRST)
    await router.wait_for(lambda one: one.is_in_touch, 30)
    assert router.route_at(*AT_B) == NoRoute(Why.UNOWNED, TILE_B)


async def test_changes_without_a_beginning_are_not_believed(feed: Feed, clock: Clock) -> None:
    async with running(feed, clock) as router:
        feed.tell(batch(route(TILE_A, "one", 7)))
        await eventually(lambda: feed.subscriptions == 2, "it follows anew")
        assert router.route_at(*AT_A) == NoRoute(Why.OUT_OF_TOUCH)


async def test_an_owner_that_refuses_is_asked_no_more_until_a_higher_epoch_is_told(router: Router, feed: Feed) -> None:
    found = router.route_at(*AT_A)
    assert isinstance(found, Route)
    router.refuse(found)
    assert router.route_at(*AT_A) == NoRoute(Why.MOVING, TILE_A)
    feed.tell(batch(route(TILE_A, "one", 7), route(TILE_B, "one", 3)))
    await router.wait_for(lambda one: isinstance(one.route_at(*AT_B), Route), 30)
    assert router.route_at(*AT_A) == NoRoute(Why.MOVING, TILE_A)
    feed.tell(batch(route(TILE_A, "two", 9)))
    await router.wait_for(lambda one: one.route_at(*AT_A) == Route(TILE_A, "two", 9), 30)


async def test_a_sink_that_knows_a_newer_epoch_refuses_all_below_it(router: Router, feed: Feed) -> None:
    found = router.route_of(TILE_A)
    assert isinstance(found, Route)
    router.refuse(found, newer_epoch=12)
    for told in (route(TILE_A, "two", 9), route(TILE_A, None, None)):
        feed.tell(batch(told, removed=(TILE_B,)), batch(route(TILE_B, "one", 3)))
        await router.wait_for(lambda one: isinstance(one.route_at(*AT_B), Route), 30)
        assert router.route_at(*AT_A) in (NoRoute(Why.MOVING, TILE_A), NoRoute(Why.UNOWNED, TILE_A))
    feed.tell(batch(route(TILE_A, "three", 12)))
    await router.wait_for(lambda one: one.route_at(*AT_A) == Route(TILE_A, "three", 12), 30)


async def test_a_session_that_is_not_there_ends_it(feed: Feed, clock: Clock) -> None:
    feed.tell(CallRefused("no such session"))
    with pytest.raises(CallRefused):
        await asyncio.wait_for(Router("session", feed.follow, clock=clock).run(), 30)


async def test_waiting_is_bounded(router: Router) -> None:
    with pytest.raises(TimeoutError):
        await router.wait_for(lambda _: False, 0.01)
