"""What maps follow: batches after each cycle, complete also when the process lost touch or began its picture anew."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.changes import CycleReport, FleetChange
from subgraph.domain.loads import LoadMetric
from subgraph.operations.fleet import fleet_view
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.tile_changes import TileChangeFeed, TileChanges
from tests.support.fleets import T1, T2, A, held, pod, snapshot, tile
from tests.support.polling import eventually
from tests.support.scripted_live import ScriptedLive

pytestmark = pytest.mark.anyio

LEASE_MS = 500


@pytest.fixture
def live() -> ScriptedLive:
    return ScriptedLive(snapshot({T1: tile()}, {A: pod()}))


@pytest.fixture
async def view(live: ScriptedLive, monkeypatch: pytest.MonkeyPatch) -> FleetView:
    monkeypatch.setattr(fleet_view, "RETRY_SECONDS", 0.02)
    return FleetView(live.as_port(), LEASE_MS, LoadMetric.RECORDS, time.monotonic)


@pytest.fixture
async def feed(live: ScriptedLive, view: FleetView) -> AsyncIterator[TileChangeFeed]:
    feed = TileChangeFeed(view, 1_000)
    tasks = [asyncio.create_task(work) for work in (feed.collect(), feed.run(), view.run())]
    await eventually(lambda: view.is_current, "the view is current")
    yield feed
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def cycle(number: int) -> CycleReport:
    return CycleReport(number, "leader", 5_000, 1.0)


async def batch(batches: AsyncIterator[TileChanges]) -> TileChanges:
    return await asyncio.wait_for(anext(batches), 30)


async def test_a_cycle_tells_what_changed_since_the_one_before(live: ScriptedLive, feed: TileChangeFeed) -> None:
    with feed.batches.reader() as batches:
        live.tell(FleetChange(10, 11, {T2: tile()}))
        live.tell(cycle(1))
        first = await batch(batches)
        assert (first.cycle, T2 in first.changed, first.removed) == (1, True, frozenset())
        live.tell(FleetChange(11, 12, {T2: None}))
        live.tell(cycle(2))
        assert await batch(batches) == TileChanges(2, frozenset(), frozenset({T2}))


async def test_a_cycle_without_a_change_tells_nothing(
    live: ScriptedLive, view: FleetView, feed: TileChangeFeed
) -> None:
    with feed.batches.reader() as batches, view.cycles.reader() as cycles:
        live.tell(cycle(1))
        await batch(batches)  # the first one tells of all tiles
        live.tell(cycle(2))
        assert [(await anext(cycles)).number for _ in range(2)] == [1, 2]
        live.tell(FleetChange(10, 11, {T1: None}))
        live.tell(cycle(3))
        assert (await batch(batches)).cycle == 3


async def test_what_went_while_the_picture_was_begun_anew_is_told(live: ScriptedLive, feed: TileChangeFeed) -> None:
    with feed.batches.reader() as batches:
        live.tell(cycle(1))
        await batch(batches)
        live.first = snapshot({T2: tile(owner=held(A, 7))}, {A: pod()}, version=20)
        given = live.snapshots_given
        live.tell(Unavailable("cut"))
        live.published_version = 20
        await eventually(lambda: live.snapshots_given > given, "the picture is begun anew")
        live.tell(cycle(2))
        assert await batch(batches) == TileChanges(2, frozenset({T2}), frozenset({T1}))


async def test_a_cycle_while_the_process_is_out_of_touch_is_made_up_for(
    live: ScriptedLive, view: FleetView, feed: TileChangeFeed
) -> None:
    with feed.batches.reader() as batches, view.cycles.reader() as cycles:
        live.tell(cycle(1))
        await batch(batches)
        live.tell(FleetChange(10, 11, {T2: tile()}))
        live.beat_waits.clear()
        await eventually(lambda: not view.is_current, "the process is out of touch")
        live.tell(cycle(2))
        assert [(await anext(cycles)).number for _ in range(2)] == [1, 2]
        live.beat_waits.set()
        await eventually(lambda: view.is_current, "the process is in touch again")
        live.tell(cycle(3))
        told = await batch(batches)
        assert (told.cycle, T2 in told.changed) == (3, True)
