"""This process's picture: when it may be trusted, when it begins anew, and that its watchers miss nothing."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

import pytest

from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.changes import CycleReport, FleetChange
from subgraph.domain.fleet.picture import Effects
from subgraph.domain.fleet.terms import TermChange
from subgraph.domain.loads import LoadMetric
from subgraph.domain.ownership import AssignmentState
from subgraph.operations.fleet import fleet_view
from subgraph.operations.fleet.fleet_pulse import LoadReading
from subgraph.operations.fleet.fleet_view import FleetView, LoadsTaken, Resynchronised
from subgraph.operations.ports import SlowConsumer
from tests.support.fleets import T1, T2, A, B, held, pod, report, reported, snapshot, term, tile, tile_ids
from tests.support.polling import eventually
from tests.support.scripted_live import ScriptedLive, current_view, following

pytestmark = pytest.mark.anyio

LEASE_MS = 1_000
CYCLE = CycleReport(number=7, leader="leader", at_ms=5_000, duration_ms=1.0)


@pytest.fixture
def live() -> ScriptedLive:
    return ScriptedLive(snapshot({T1: tile()}, {A: pod()}))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_view, "RETRY_SECONDS", 0.02)


@pytest.fixture
async def view(live: ScriptedLive) -> AsyncIterator[FleetView]:
    """A view that is current."""
    async with current_view(live, LEASE_MS) as view:
        yield view


async def current(view: FleetView) -> FleetView:
    await eventually(lambda: view.is_current, "the view is current")
    return view


def given(live: ScriptedLive) -> int:
    return live.snapshots_given


async def another_pulse(live: ScriptedLive) -> None:
    heard = live.beats_given
    await eventually(lambda: live.beats_given > heard, "another pulse")


async def begun_anew(live: ScriptedLive, failure: Exception) -> None:
    """Following has failed, and a snapshot was given after it."""
    before = given(live)
    live.tell(failure)
    await eventually(lambda: given(live) > before, "a new snapshot")


async def test_nothing_is_answered_before_the_first_snapshot(live: ScriptedLive) -> None:
    live.snapshot_waits.clear()
    async with following(live, LEASE_MS) as view:
        await eventually(lambda: live.beats_given, "the pulse is heard")
        assert not view.is_current
        with pytest.raises(Unavailable):
            view.current()
        live.snapshot_waits.set()
        await current(view)
        assert view.current().record(T1) == tile()


async def test_the_time_is_not_known_before_the_first_pulse(live: ScriptedLive) -> None:
    with pytest.raises(Unavailable):
        FleetView(live.as_port(), LEASE_MS, LoadMetric.RECORDS, time.monotonic).now_ms()


async def test_time_and_leader_are_those_of_the_pulse(live: ScriptedLive, view: FleetView) -> None:
    assert live.now_ms <= view.now_ms() < live.now_ms + 60_000
    assert view.leader == "leader"


async def test_a_store_that_is_silent_for_one_lease_makes_the_picture_unfit(
    live: ScriptedLive, view: FleetView
) -> None:
    live.is_down = True
    await eventually(lambda: not view.is_current, "the view is not current any more")
    assert view.lag_ms > LEASE_MS
    with pytest.raises(Unavailable):
        view.current()
    live.is_down = False
    await current(view)


async def test_changes_that_never_stop_do_not_make_the_picture_unfit(live: ScriptedLive, view: FleetView) -> None:
    """The newest change is always on its way then: what counts is that those before the last pulse have come."""
    version = 10
    for _ in range(30):
        arriving = FleetChange(version, version + 1, {T1: tile(last_epoch=version)})
        version = live.published_version = version + 1
        await asyncio.sleep(LEASE_MS / 1_000 / 20)
        live.arrive(arriving)
        assert view.is_current
    assert given(live) == 1


async def test_a_snapshot_may_take_longer_than_a_pulse(live: ScriptedLive) -> None:
    live.snapshot_seconds = 0.7
    async with following(live, LEASE_MS) as view:
        await current(view)
        assert live.beats_given > 1
        assert given(live) == 1


@pytest.mark.parametrize("turns", range(8))
async def test_it_stops_when_told_to_also_in_the_moment_of_a_failure(live: ScriptedLive, turns: int) -> None:
    view = FleetView(live.as_port(), LEASE_MS, LoadMetric.RECORDS, time.monotonic)
    running = asyncio.create_task(view.run())
    await current(view)
    live.tell(Unavailable("cut"))
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=30)
    assert done


async def test_a_change_that_does_not_follow_begins_the_picture_anew(live: ScriptedLive, view: FleetView) -> None:
    live.first = snapshot({T2: tile()}, {A: pod()}, version=13)
    live.tell(FleetChange(12, 13, {T2: tile()}))
    await eventually(lambda: view.is_current and view.current().version == 13, "the picture is of version 13")
    assert view.current().record(T1) is None


async def test_a_change_that_never_came_is_noticed_by_the_pulse(live: ScriptedLive, view: FleetView) -> None:
    live.first = snapshot({T2: tile()}, version=11)
    live.published_version = 11
    await eventually(lambda: view.is_current and view.current().version == 11, "the picture is of version 11")


async def test_a_process_that_reads_slowly_but_gets_further_reads_on(live: ScriptedLive, view: FleetView) -> None:
    """A snapshot would cost it more than the changes that have arrived already."""
    live.published_version = 100
    for version in range(10, 14):
        live.arrive(FleetChange(version, version + 1, {T1: tile(last_epoch=version)}))
        await another_pulse(live)
    assert given(live) == 1


async def test_a_store_that_has_gone_back_begins_the_picture_anew(live: ScriptedLive, view: FleetView) -> None:
    live.first = snapshot({T2: tile()}, version=3)
    live.published_version = 3
    await eventually(lambda: view.is_current and view.current().version == 3, "the picture is of version 3")


async def test_a_new_era_begins_the_picture_anew_even_at_the_same_version(live: ScriptedLive, view: FleetView) -> None:
    """The store may have lost writes and given their versions to others."""
    live.first = replace(snapshot({T2: tile()}, version=10), era=2)
    live.era = 2
    await eventually(lambda: view.is_current and view.current().record(T2), "the picture is of the new era")
    assert view.current().record(T1) is None
    assert given(live) == 2


async def test_what_a_store_holds_that_no_leader_has_taken_over_is_not_shown(
    live: ScriptedLive, view: FleetView
) -> None:
    """An emptied store is not an empty fleet: pods that are told so would put down all they have."""
    live.first, live.published_version, live.is_adopted = snapshot(version=0), 0, False
    await eventually(lambda: not view.is_current, "the picture is not vouched for")
    heard = live.beats_given
    await eventually(lambda: live.beats_given > heard + 3, "more pulses")
    assert not view.is_current
    assert given(live) == 1
    live.first, live.published_version = replace(snapshot({T2: tile()}, version=20), era=2), 20
    live.era, live.is_adopted = 2, True
    await eventually(lambda: view.is_current, "the picture is of the new era")
    assert view.current().record(T2) is not None
    assert view.seen_version == 20


async def test_every_failure_of_following_begins_anew(live: ScriptedLive, view: FleetView) -> None:
    for failure in (Unavailable("cut"), SlowConsumer("slow")):
        await begun_anew(live, failure)
        await current(view)


async def test_a_failure_that_nobody_expects_ends_the_view_so_that_its_process_is_unhealthy(
    live: ScriptedLive,
) -> None:
    view = FleetView(live.as_port(), LEASE_MS, LoadMetric.RECORDS, time.monotonic)
    running = asyncio.create_task(view.run())
    await current(view)
    live.tell(ZeroDivisionError())
    await asyncio.wait([running], timeout=30)
    assert running.done()
    assert isinstance(running.exception(), ZeroDivisionError)


async def test_loads_are_taken_over_and_followed_again_after_a_failure(live: ScriptedLive, view: FleetView) -> None:
    live.tell(FleetChange(10, 11, {T1: tile(owner=held(A, 1))}))
    await view.caught_up(11, timeout_seconds=30)
    live.loads.put_nowait(LoadReading(reported(5_000, report(A, {T1: 3.0}))))
    await eventually(lambda: view.current().pod_loads().sum() == 3.0, "the load")
    live.loads.put_nowait(Unavailable("cut"))
    live.loads.put_nowait(
        LoadReading(reported(6_000, report(A, {T1: 3.0}, epoch=1), report(B, {T1: 9.0})), malformed=2)
    )
    row = view.current().tiles.row(T1)
    await eventually(lambda: view.current().tiles.reported_at_ms[row] == 6_000, "the next load")
    assert view.loads == LoadsTaken(taken=2, passed_over=1, malformed_reports=2)
    assert given(live) == 1


async def test_who_wrote_waits_until_it_reads_what_it_wrote(live: ScriptedLive, view: FleetView) -> None:
    waiting = asyncio.create_task(view.caught_up(11, timeout_seconds=30))
    live.tell(FleetChange(10, 11, {T1: None}))
    fleet = await waiting
    assert (fleet.version, fleet.record(T1)) == (11, None)
    with pytest.raises(Unavailable):
        await view.caught_up(12, timeout_seconds=0.05)


async def test_observing_contains_every_change_up_to_the_pulse(live: ScriptedLive, view: FleetView) -> None:
    live.published_version = 11
    observing = asyncio.create_task(view.observe(timeout_seconds=30))
    await asyncio.sleep(0)
    live.arrive(FleetChange(10, 11, {T1: None}))
    beat, fleet = await observing
    assert beat.published_version <= fleet.version == 11


async def test_the_last_cycle_before_the_start_is_known(live: ScriptedLive) -> None:
    live.last_cycle = CYCLE
    async with following(live, LEASE_MS) as view:
        await current(view)
        await eventually(lambda: view.current().last_cycle == CYCLE, "the last cycle")


async def test_cycles_are_passed_on(live: ScriptedLive, view: FleetView) -> None:
    with view.cycles.reader() as cycles:
        live.tell(CYCLE)
        assert await anext(cycles) == CYCLE
    assert view.current().last_cycle == CYCLE


async def test_what_a_resynchronisation_changed_is_told_like_any_change(live: ScriptedLive, view: FleetView) -> None:
    with view.effects.reader() as effects:
        live.first = snapshot({T2: tile()}, version=20)
        live.tell(Unavailable("cut"))
        live.published_version = 20
        told = await asyncio.wait_for(anext(effects), 30)
        assert (told.version, told.touched, told.removed) == (20, {T2}, {T1})


async def test_a_pods_watcher_is_told_to_read_first_and_then_every_change_of_the_pod(
    live: ScriptedLive, view: FleetView
) -> None:
    async with contextlib.aclosing(_watch(view)) as told:
        assert isinstance(await anext(told), Resynchronised)
        live.tell(FleetChange(10, 11, {T1: tile(owner=term(A, 7))}))
        live.tell(FleetChange(11, 12, {T2: tile()}))
        live.tell(FleetChange(12, 13, {T1: tile(owner=held(A, 7))}))
        seen = [await asyncio.wait_for(anext(told), 30) for _ in range(2)]
        assert [one.version for one in seen if isinstance(one, Effects)] == [11, 13]
        assert isinstance(seen[1], Effects)
        assert seen[1].terms_of_pod[A] == [TermChange(T1, held(A, 7), AssignmentState.ACTIVE)]


async def test_a_pods_watcher_reads_anew_after_every_resynchronisation(live: ScriptedLive, view: FleetView) -> None:
    async with contextlib.aclosing(_watch(view)) as told:
        await anext(told)
        live.first = snapshot({T1: tile(owner=term(A, 7))}, {A: pod()}, version=20)
        live.tell(Unavailable("cut"))
        live.published_version = 20
        assert isinstance(await asyncio.wait_for(anext(told), 30), Resynchronised)
        assert [one.term.epoch for one in view.current().terms_of_pod(A)] == [7]
        live.tell(FleetChange(20, 21, {T1: tile(owner=held(A, 7))}))
        seen = await asyncio.wait_for(anext(told), 30)
        assert isinstance(seen, Effects)
        assert seen.version == 21


async def test_several_watchers_of_a_pod_do_not_disturb_each_other(live: ScriptedLive, view: FleetView) -> None:
    async with contextlib.aclosing(_watch(view)) as one:
        async with contextlib.aclosing(_watch(view)) as other:
            await anext(one)
            await anext(other)
        live.tell(FleetChange(10, 11, {T1: tile(owner=term(A, 7))}))
        seen = await asyncio.wait_for(anext(one), 30)
        assert isinstance(seen, Effects)


async def test_a_watcher_that_reads_too_slowly_is_cut_off(live: ScriptedLive, view: FleetView) -> None:
    async with contextlib.aclosing(_watch(view)) as told:
        await anext(told)
        for version in range(10, 2_000):
            live.tell(FleetChange(version, version + 1, {T1: tile(owner=term(A, version))}))
        await view.caught_up(2_000, timeout_seconds=30)
        with pytest.raises(SlowConsumer):
            async for _ in told:
                pass


async def _watch(view: FleetView) -> AsyncGenerator[Effects | Resynchronised]:
    async for told in view.watch_pod(A):
        yield told


async def test_while_the_picture_is_held_still_changes_and_loads_wait_and_none_is_lost(
    live: ScriptedLive, view: FleetView
) -> None:
    live.tell(FleetChange(10, 11, {T1: tile(owner=held(A, 1))}))
    await eventually(lambda: view.current().version == 11, "A owns the tile")
    async with view.frozen() as fleet:
        live.tell(FleetChange(11, 12, {T2: tile()}))
        live.loads.put_nowait(LoadReading(reported(5_000, report(A, {T1: 5.0}))))
        # Beats go on meanwhile, and that nothing arrives is no sign of a gap.
        beats = live.beats_given
        await eventually(lambda: live.beats_given >= beats + 3, "beats come")
        assert (fleet.version, fleet.reported_load(T1)) == (11, 0.0)
    await eventually(lambda: (fleet.version, fleet.reported_load(T1)) == (12, 5.0), "the change and the load arrive")
    assert given(live) == 1


async def test_a_large_snapshot_is_taken_in_bit_by_bit_and_the_former_picture_answers_meanwhile(
    live: ScriptedLive, view: FleetView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_view, "TILES_PER_TURN", 3)
    ids = tile_ids(30)
    live.first = snapshot({one: tile() for one in ids}, {A: pod()}, version=20)
    live.published_version = 20
    turns = 0
    live.tell(FleetChange(15, 16, {T2: tile()}))  # it follows nothing that was told: a snapshot is due
    while len(view.current().tiles) == 1:
        await asyncio.sleep(0)
        turns += given(live) == 2
    assert len(view.current().tiles) == len(ids)
    assert turns >= len(ids) / 3
