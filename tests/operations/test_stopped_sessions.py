"""What the fleet is told of sessions that stop and start again: whose tiles are released, and whose come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import cast

import pytest

from subgraph.domain import sessions
from subgraph.domain.coverage.cells import cell_array
from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import SessionId, TenantId, TileId, parse_tile_id
from subgraph.domain.new_session import NewSession
from subgraph.domain.ownership import TileRecord
from subgraph.domain.sessions import Session, SessionState
from subgraph.operations.coverage import retirement as retirement_module
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.coverage.session_coverage import SessionCoverage
from subgraph.operations.fleet.fleet_pulse import Beat
from subgraph.operations.fleet.fleet_writes import TileWrite
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.sessions.session_ports import SessionStore
from tests.operations.conftest import MakesPod, Starts
from tests.support.fleet_process import FleetProcess
from tests.support.fleets import TENANT, A, tile_ids
from tests.support.interrupted_live import Hook, InterruptedLive
from tests.support.partitions import tile_making_of
from tests.support.polling import eventually
from tests.support.simulated_pod import EVERYTHING

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OTHER_TENANT = TenantId("another tenant")


class StoredSessions:
    """A session store that knows what a test puts into it, and counts what it is asked.

    After its n-th answer was found, `meanwhile[n]` happens.
    """

    def __init__(self, *stored: Session) -> None:
        self._stored = {session.id: session for session in stored}
        self.asked: list[tuple[TenantId, list[SessionId]]] = []
        self.meanwhile: dict[int, Hook] = {}

    def put(self, session: Session) -> None:
        self._stored[session.id] = session

    async def sessions(self, tenant_id: TenantId, session_ids: list[SessionId]) -> dict[SessionId, Session]:
        self.asked.append((tenant_id, session_ids))
        found = {one: self._stored[one] for one in session_ids if one in self._stored}
        if hook := self.meanwhile.get(len(self.asked)):
            await hook()
        return {one: session for one, session in found.items() if session.tenant_id == tenant_id}


class Stops:
    """One process's part in the stop of sessions, with the calls it makes of the live store."""

    def __init__(self, process: FleetProcess, *stored: Session) -> None:
        self.store = StoredSessions(*stored)
        self.live = InterruptedLive(process.live)
        self.retirement = Retirement(cast(LiveFleet, self.live), process.view)

        async def note(_: Session) -> None: ...

        self.coverage = SessionCoverage(
            cast(SessionStore, self.store),
            process.register.coverage,
            process.register.coverage,
            tile_making_of(process.register.coverage, cast(LiveFleet, self.live), process.view),
            process.view,
            self.retirement.retire_session,
            note,
        )

    async def release(self, *stopped: Session) -> None:
        await self.coverage.release([(one.tenant_id, one.id) for one in stopped])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        running = asyncio.create_task(self.coverage.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])


def made(tenant_id: TenantId = TENANT) -> Session:
    return sessions.create(NewSession(), tenant_id, "ann", NOW).created[0]


def ended(tenant_id: TenantId = TENANT) -> Session:
    return sessions.end(made(tenant_id), actor="ann", now=NOW).updated[0]


async def give_tiles(process: FleetProcess, session: Session, count: int = 3) -> None:
    writes = [TileWrite(one, 0, TileRecord(session.tenant_id)) for one in tile_ids(count, session.id)]
    committed = await process.live.commit(None, writes)
    await process.view.caught_up(committed.version, timeout_seconds=30)


def tiles_of(fleet: Fleet, session: Session) -> list[bool]:
    """Of each of a session's tiles, whether it goes."""
    return [row in fleet.tiles.retiring for row in fleet.tiles.rows_of_session(session.id).tolist()]


async def test_of_many_stopped_sessions_those_without_tiles_are_passed_over(start: Starts) -> None:
    process = await start()
    await eventually(lambda: process.view.is_restored, "nothing is being restored")
    bare = [ended(tenant_id) for tenant_id in (TENANT, OTHER_TENANT) * 50]
    tiled = ended(OTHER_TENANT)
    await give_tiles(process, tiled)
    stops = Stops(process, *bare, tiled)
    await stops.release(*bare[:50], tiled, *bare[50:], tiled)
    await process.until(lambda fleet: all(tiles_of(fleet, tiled)), "its tiles go")
    assert stops.store.asked == [(OTHER_TENANT, [tiled.id])]
    assert stops.live.calls["require"] <= 1


async def test_a_session_that_is_active_again_keeps_its_tiles_and_one_that_is_not_there_loses_them(
    start: Starts,
) -> None:
    process = await start()
    revived, purged = made(), made()
    for session in (revived, purged):
        await give_tiles(process, session)
    await Stops(process, revived).release(revived, purged)
    await process.until(lambda fleet: all(tiles_of(fleet, purged)), "the tiles of the one that is gone go")
    assert tiles_of(process.view.current(), revived) == [False] * 3


async def test_what_a_stopped_session_without_tiles_required_is_forgotten(start: Starts) -> None:
    process, session = await start(), ended()
    version = await process.live.require(session.id, SessionRequirement(1, {"zone": "eu"}))
    await process.view.caught_up(version, timeout_seconds=30)
    await Stops(process, session).release(session)
    await process.until(lambda fleet: not fleet.knows_session(session.id), "it is forgotten")


async def test_while_the_fleet_is_being_restored_no_session_is_passed_over(
    start: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, bare = await start(), [ended() for _ in range(3)]
    observe = process.view.observe

    async def observe_restoring() -> tuple[Beat, Fleet]:
        beat, fleet = await observe()
        return replace(beat, is_restored=False), fleet

    monkeypatch.setattr(process.view, "observe", observe_restoring)
    stops = Stops(process, *bare)
    await stops.release(*bare)
    assert stops.live.calls["require"] == len(bare)


async def test_whoever_does_not_know_the_fleet_passes_no_session_over(
    start: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, session = await start(), ended()

    async def lags_behind() -> tuple[Beat, Fleet]:
        raise Unavailable("this process lags behind the fleet's changes")

    monkeypatch.setattr(process.view, "observe", lags_behind)
    with pytest.raises(Unavailable):
        await Stops(process, session).release(session)


def goes_on(session: Session) -> Session:
    """A session that had ended, as one that has been revived."""
    return replace(session, state=SessionState.ACTIVE)


async def is_restored(process: FleetProcess) -> bool:
    beat, _ = await process.view.observe(5.0)
    return beat.is_restored


async def covered(process: FleetProcess, session: Session) -> None:
    await process.until(lambda fleet: tiles_of(fleet, session) == [False] * 3, "its tiles are back")


async def test_a_session_that_is_revived_while_others_are_released_keeps_its_tiles(start: Starts) -> None:
    process, first, second = await start(), ended(), ended()
    for session in (first, second):
        await give_tiles(process, session)
    stops = Stops(process, first, second)

    async def revive_second() -> None:
        stops.store.put(goes_on(second))

    stops.live.before["commit"] = revive_second
    await stops.release(first, second)
    assert tiles_of(process.view.current(), second) == [False] * 3


async def test_a_session_that_is_revived_just_before_its_tiles_go_gets_them_back(start: Starts) -> None:
    process, session = await start(), ended()
    process.register.coverage.note(tile_ids(3, session.id))
    # Nobody finds it by looking for what is missing.
    process.register.coverage.stopped.add(session.id)
    await give_tiles(process, session)
    stops = Stops(process, session)

    async def revive() -> None:
        stops.store.put(goes_on(session))

    stops.live.before["commit"] = revive
    async with stops.running():
        await stops.release(session)
        assert all(tiles_of(process.view.current(), session))
        await covered(process, session)


async def test_tiles_that_go_while_they_are_looked_at_come_back_when_asked_for_once_more(start: Starts) -> None:
    process, session = await start(), made()
    process.register.coverage.note(tile_ids(3, session.id))
    process.register.coverage.stopped.add(session.id)
    await give_tiles(process, session)
    stops = Stops(process, session)

    async def go() -> None:
        await stops.retirement.retire_session(session.id)
        await stops.coverage.bring_back(session.tenant_id, session.id)

    await eventually(partial(is_restored, process), "the fleet is as it should be")
    # All were found there; then it is asked whether the session is still ACTIVE.
    stops.store.meanwhile[2] = go
    async with stops.running():
        await stops.coverage.bring_back(session.tenant_id, session.id)
        await process.until(lambda fleet: all(tiles_of(fleet, session)), "its tiles go")
        await covered(process, session)


async def test_a_process_that_starts_while_former_tiles_still_drain_brings_them_back(
    start: Starts, make_pod: MakesPod
) -> None:
    process, session = await start(), made()
    pod = await make_pod(process, A)
    process.register.coverage.note(tile_ids(3, session.id))
    await give_tiles(process, session)
    await process.until(lambda _: len(pod.worked) == 3, "they are worked on")
    pod.does = ()
    stops = Stops(process, session)
    await stops.retirement.retire_session(session.id)
    async with stops.running():
        await process.until(lambda _: stops.live.calls["commit"] > 1, "it tries")
        assert all(tiles_of(process.view.current(), session))
        pod.does = EVERYTHING
        await covered(process, session)


async def test_a_tile_that_is_unregistered_while_it_comes_back_goes_again(start: Starts) -> None:
    process, session = await start(), made()
    await eventually(partial(is_restored, process), "the fleet is as it should be")
    register, (first, *others) = process.register.coverage, tile_ids(3, session.id)
    register.note([first, *others])
    stops = Stops(process, session)

    async def unregister_first() -> None:
        _, cell = parse_tile_id(first)
        await register.remove(session.id, cell_array([cell]), await register.revision(session.id), "ann")

    stops.live.before["commit"] = unregister_first
    async with stops.running():
        await process.until(
            lambda fleet: tiles_of(fleet, session) == [False] * 2, "the others are back, and it is gone"
        )
    assert process.view.current().tiles.row(first) is None


async def test_tiles_that_keep_changing_are_not_said_to_be_released(
    start: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, session = await start(), ended()
    await give_tiles(process, session)
    monkeypatch.setattr(retirement_module, "RETIRE_ATTEMPTS_MAX", 2)
    live = InterruptedLive(process.live)

    async def nothing_of_them(_: object) -> dict[TileId, object]:
        # As if others had replaced all of them since they were looked at.
        return {}

    monkeypatch.setattr(live, "read_tiles", nothing_of_them, raising=False)
    with pytest.raises(Unavailable, match="kept changing"):
        await Retirement(cast(LiveFleet, live), process.view).retire_session(session.id)
