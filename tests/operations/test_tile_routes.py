"""What feeders are told: every tile with its owner, every change at once, and a sign of life only while it is true."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.changes import FleetChange
from subgraph.domain.ids import SessionId
from subgraph.operations.fleet import tile_routes
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.tile_routes import RouteBatch, TileRoute, TileRoutes
from subgraph.operations.ports import SlowConsumer
from tests.support.fleets import SESSION, T1, T2, T3, A, B, held, pod, snapshot, term, tile, tile_ids
from tests.support.polling import eventually
from tests.support.scripted_live import ScriptedLive, current_view

pytestmark = pytest.mark.anyio

OTHER = tile_ids(1, SessionId("other"))[0]
Batches = AsyncGenerator[RouteBatch, None]


@pytest.fixture
def live() -> ScriptedLive:
    first = {T1: tile(owner=held(A, 7)), T2: tile(), T3: tile(retiring=True, draining=held(A, 3)), OTHER: tile()}
    return ScriptedLive(snapshot(first, {A: pod()}))


@pytest.fixture
async def view(live: ScriptedLive) -> AsyncIterator[FleetView]:
    async with current_view(live) as view:
        yield view


def follow(view: FleetView) -> "contextlib.aclosing[Batches]":
    return contextlib.aclosing(TileRoutes(view, time.monotonic).follow(SESSION))


async def news(batches: Batches) -> RouteBatch:
    """The next batch that tells anything."""
    while not ((batch := await asyncio.wait_for(anext(batches), 30)).routes or batch.removed):
        assert batch.is_complete
    return batch


async def to_the_end(batches: Batches) -> None:
    async with asyncio.timeout(30):
        async for _ in batches:
            pass


async def test_all_tiles_in_force_come_first_and_then_each_change_of_the_session(
    live: ScriptedLive, view: FleetView
) -> None:
    async with follow(view) as batches:
        first = await anext(batches)
        assert (first.version, first.begins, first.is_complete, first.removed) == (10, True, True, ())
        assert set(first.routes) == {TileRoute(T1, A, 7, is_at_work=True), TileRoute(T2, None, 0, is_at_work=False)}
        live.tell(FleetChange(10, 11, {OTHER: tile(owner=term(A, 11))}))
        live.tell(FleetChange(11, 12, {T2: tile(owner=term(B, 12))}, {B: pod()}))
        assert await news(batches) == RouteBatch(12, routes=[TileRoute(T2, B, 12, is_at_work=False)])
        live.tell(FleetChange(12, 13, {T2: tile(owner=held(B, 12)), T1: None}))
        assert await news(batches) == RouteBatch(13, routes=[TileRoute(T2, B, 12, is_at_work=True)], removed=(T1,))


async def test_a_session_without_tiles_begins_too(view: FleetView) -> None:
    batches = TileRoutes(view, time.monotonic).follow(SessionId("empty"))
    assert await anext(batches) == RouteBatch(10, begins=True)
    await batches.aclose()


async def test_many_routes_come_in_parts_and_only_the_last_is_complete(
    live: ScriptedLive, view: FleetView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_routes, "ROUTES_PER_BATCH_MAX", 2)
    many = tile_ids(8)[3:]
    live.tell(FleetChange(10, 11, {one: tile() for one in many}))
    await view.caught_up(11, timeout_seconds=30)
    async with follow(view) as batches:
        parts = [await anext(batches) for _ in range(4)]
        assert [(part.begins, part.is_complete, len(part.routes)) for part in parts] == [
            (True, False, 2),
            (False, False, 2),
            (False, False, 2),
            (False, True, 1),
        ]
        live.tell(FleetChange(11, 12, {T1: None, **{one: tile(owner=term(A, 12)) for one in many}}))
        parts = [await news(batches)]
        while not parts[-1].is_complete:
            parts.append(await news(batches))
        assert sorted(route.tile_id for part in parts for route in part.routes) == sorted(many)
        assert [list(part.removed) for part in parts] == [[], [], [T1]]


async def test_what_was_missed_is_told_after_a_resynchronisation(live: ScriptedLive, view: FleetView) -> None:
    async with follow(view) as batches:
        await anext(batches)
        live.first = snapshot({T2: tile(owner=held(A, 15))}, {A: pod()}, version=20)
        live.published_version = 20
        live.tell(Unavailable("cut"))
        assert await news(batches) == RouteBatch(20, routes=[TileRoute(T2, A, 15, is_at_work=True)], removed=(T1,))


async def test_what_waits_is_told_together_as_it_is_now(live: ScriptedLive, view: FleetView) -> None:
    async with follow(view) as batches:
        await anext(batches)
        for version in range(10, 20):
            live.tell(FleetChange(version, version + 1, {T2: tile(owner=term(A, version + 1))}))
        live.tell(FleetChange(20, 21, {T1: None}))
        await view.caught_up(21, timeout_seconds=30)
        assert await news(batches) == RouteBatch(21, routes=[TileRoute(T2, A, 20, is_at_work=False)], removed=(T1,))


async def test_parts_are_not_complete_if_more_changed_while_they_were_sent(
    live: ScriptedLive, view: FleetView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_routes, "ROUTES_PER_BATCH_MAX", 1)
    async with follow(view) as batches:
        first = await anext(batches)
        live.tell(FleetChange(10, 11, {T1: tile(owner=held(B, 11))}, {B: pod()}))
        await view.caught_up(11, timeout_seconds=30)
        second = await anext(batches)
        assert [part.is_complete for part in (first, second)] == [False, False]
        assert await anext(batches) == RouteBatch(11, routes=[TileRoute(T1, B, 11, is_at_work=True)])


async def test_a_store_that_went_back_is_told_as_it_is_now(live: ScriptedLive, view: FleetView) -> None:
    async with follow(view) as batches:
        await anext(batches)
        live.tell(FleetChange(10, 11, {T1: tile(owner=held(B, 11))}, {B: pod()}))
        assert (await news(batches)).version == 11
        live.published_version = 10
        live.tell(Unavailable("cut"))
        back = await news(batches)
        assert (back.version, TileRoute(T1, A, 7, is_at_work=True) in back.routes) == (10, True)


async def test_a_sign_of_life_comes_while_nothing_changes_and_while_only_other_sessions_do(
    live: ScriptedLive, view: FleetView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_routes, "SIGN_OF_LIFE_SECONDS_MAX", 0.05)
    async with follow(view) as batches:
        await anext(batches)
        assert await asyncio.wait_for(anext(batches), 30) == RouteBatch(10)

        async def others_change() -> None:
            for version in range(10, 10_000):
                live.tell(FleetChange(version, version + 1, {OTHER: tile(owner=term(A, version + 1))}))
                await asyncio.sleep(0.001)

        changing = asyncio.create_task(others_change())
        sign = await asyncio.wait_for(anext(batches), 30)
        assert (sign.routes, sign.removed, sign.is_complete) == ((), (), True)
        changing.cancel()
        await asyncio.wait([changing])


async def test_no_sign_of_life_comes_from_a_process_that_has_lost_touch(
    live: ScriptedLive, view: FleetView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_routes, "SIGN_OF_LIFE_SECONDS_MAX", 0.05)
    async with follow(view) as batches:
        await anext(batches)
        live.is_down = True
        await eventually(lambda: not view.is_current, "it has lost touch")
        with pytest.raises(Unavailable):
            await to_the_end(batches)
    async with follow(view) as batches:
        with pytest.raises(Unavailable):
            await anext(batches)


async def test_a_reader_that_is_too_slow_is_cut_off(live: ScriptedLive, view: FleetView) -> None:
    async with follow(view) as batches:
        await anext(batches)
        for version in range(10, 2_000):
            live.tell(FleetChange(version, version + 1, {T1: tile(owner=term(A, version + 1))}))
        await view.caught_up(2_000, timeout_seconds=30)
        with pytest.raises(SlowConsumer):
            await to_the_end(batches)
