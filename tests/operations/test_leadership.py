"""Who leads: one process at a time, at an incarnation that rises with every takeover and every run of the store."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodStatus
from subgraph.operations.fleet.fleet_pulse import Beat
from subgraph.operations.fleet.fleet_writes import Leadership, NotLeading, TileWrite
from tests.operations.conftest import MakesPod, Starts, add_tiles
from tests.support.fleet_process import FleetProcess, Pace, Register
from tests.support.fleets import TENANT, A, B, tile_ids
from tests.support.interrupted_live import InterruptedLive
from tests.support.own_valkey import kill, own_valkey
from tests.support.ownership_history import OwnershipHistory
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio

ATTEMPTS_MAX = 10
"""In two seconds: one every half second, and more of them at the beginning."""
LINES_MAX = 3
"""Of one part of a process, on one outage: it waits, it goes on; and who leads says that it does no longer."""


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    async with own_valkey(tmp_path) as server:
        yield server


def working(fleet: Fleet) -> dict[TileId, tuple[PodId, int]]:
    """The tiles whose owner has said that it works, with owner and epoch."""
    records = ((tile_id, fleet.record(tile_id)) for tile_id, _ in fleet.tiles.items())
    return {
        tile_id: (record.owner.pod_id, record.owner.epoch)
        for tile_id, record in records
        if record and record.owner and record.owner.acknowledged_at_ms
    }


async def incarnation(process: FleetProcess) -> int:
    return (await process.live.beat()).incarnation


async def test_one_of_two_leads(start: Starts, register: Register, fleet_id: str) -> None:
    one = await start(name="one")
    other = await start(name="other")
    await eventually(lambda: len(one.cycles) > 5, "the first has led for a while")
    assert (one.candidacy.leads, other.candidacy.leads) == (True, False)
    assert other.cycles == []
    assert one.view.leader == other.view.leader == "one"
    assert register.incarnations == {fleet_id: 1}


async def test_the_first_era_of_a_fleet_is_no_warning_and_one_that_begins_on_an_emptied_store_is(
    valkey: EmbeddedValkey, start: Starts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    process = await start(valkey.url)
    async with Redis.from_url(valkey.url) as client:
        await client.flushall()
    await eventually(lambda: process.candidacy.incarnation == 2, "it leads the emptied store")
    levels = [one.levelno for one in caplog.records if "begins an era" in one.getMessage()]
    assert levels == [logging.INFO, logging.WARNING]


async def test_a_killed_leader_is_followed_by_another_at_a_higher_incarnation_and_no_tile_changes_hands(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    one = await start(name="one")
    other = await start(name="other")
    ids = await add_tiles(one, 4)
    await make_pod(other, A)
    await make_pod(other, B)
    before = working(await other.until(lambda fleet: len(working(fleet)) == 4, "all tiles are owned"))
    version = other.view.current().version
    await one.kill()
    await eventually(lambda: other.candidacy.leads, "the other one leads")
    assert await incarnation(other) == 2
    await eventually(lambda: len(other.cycles) > 3, "it has led for a while")
    fleet = other.view.current()
    assert fleet.version >> 32 == 2
    assert fleet.version > version
    assert working(fleet) == before
    assert {pod.record.status for pod in fleet.pods} == {PodStatus.READY}
    assert set(ids) == set(before)


async def test_an_orderly_end_hands_leadership_over_before_the_lease_ends(start: Starts) -> None:
    pace = Pace(leader_lease_ms=600_000)
    one = await start(name="one", pace=pace)
    other = await start(name="other", pace=pace)
    await one.stop()
    await eventually(lambda: other.candidacy.leads, "the other one leads")


async def test_a_deposed_leader_writes_nothing_any_more(start: Starts) -> None:
    one = await start(name="one")
    other = await start(name="other")
    term = await one.candidacy.lead()
    assert term is not None
    await one.kill()
    await eventually(lambda: other.candidacy.leads, "the other one leads")
    with pytest.raises(NotLeading):
        await other.live.commit(term.leadership, [])
    with pytest.raises(NotLeading):
        await other.live.reserve_versions(term.leadership, 1)
    with pytest.raises(NotLeading):
        await other.live.commit(Leadership(2, term.leadership.token), [])


async def test_a_new_leader_loses_no_pod_for_one_lease_and_then_those_that_are_silent(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    one = await start(name="one")
    (tile,) = await add_tiles(one, 1)
    pod = await make_pod(one, A)
    await one.until(lambda fleet: working(fleet), "the tile is owned")
    await pod.die()
    await one.kill()
    other = await start(name="other")
    await eventually(lambda: other.candidacy.leads, "the other one leads")
    term = await other.candidacy.lead()
    assert term is not None
    beat = await other.live.beat()
    assert term.grace_ends_at_ms >= beat.now_ms
    await other.until(lambda fleet: {pod.record.status for pod in fleet.pods} == {PodStatus.LOST}, "the pod is lost")
    status_at_ms = next(iter(other.view.current().pods)).record.status_at_ms
    assert status_at_ms >= term.grace_ends_at_ms
    heir = await make_pod(other, B)
    fleet = await other.until(lambda fleet: working(fleet), "the tile is owned again")
    assert working(fleet)[tile][0] == heir.id


class _Away(Register):
    """A database that does not answer."""

    async def raise_incarnation(self, fleet_id: str, above: int = 0) -> int:
        self.incarnations[fleet_id] = self.incarnations.get(fleet_id, 0) + 1
        raise Unavailable("the database does not answer")


async def test_without_the_register_there_is_no_takeover(valkey_url: str, start: Starts, fleet_id: str) -> None:
    one = await start(name="one")
    register = _Away()
    other = FleetProcess(valkey_url, fleet_id, register, "other")
    try:
        await other.start()
        await one.kill()
        await eventually(lambda: register.incarnations.get(fleet_id, 0) >= 2, "it has tried twice")
        assert not other.candidacy.leads
        assert await incarnation(other) == 1
    finally:
        await other.stop()


async def test_an_emptied_store_gets_a_new_incarnation_and_everybody_begins_anew(
    valkey: EmbeddedValkey, start: Starts, make_pod: MakesPod, register: Register, fleet_id: str
) -> None:
    one = await start(valkey.url, name="one")
    other = await start(valkey.url, name="other")
    ids = await add_tiles(one, 3)
    pod = await make_pod(other, A)
    before = working(await other.until(lambda fleet: len(working(fleet)) == 3, "all tiles are owned"))
    version = one.view.current().version
    async with Redis.from_url(valkey.url) as client:
        await client.flushall()
    for process in (one, other):
        await process.until(
            lambda fleet: fleet.version > version and not len(fleet.tiles) and not len(fleet.pods),
            "the process knows that nothing is left",
        )
    assert register.incarnations[fleet_id] == await incarnation(one) == 2
    await eventually(lambda: pod.is_refused, "the pod is told to register again")
    await add_tiles(other, 3)
    await pod.live()
    fleet = await other.until(lambda fleet: len(working(fleet)) == 3, "all tiles are owned again")
    assert all(epoch > before[one][1] for one, (_, epoch) in working(fleet).items())
    assert set(working(fleet)) == set(ids)


async def test_a_restarted_store_gets_a_new_incarnation_and_no_tile_changes_hands(
    valkey: EmbeddedValkey, start: Starts, make_pod: MakesPod, register: Register, fleet_id: str
) -> None:
    pace = Pace(pod_lease_ms=2_000)
    one = await start(valkey.url, pace=pace)
    await add_tiles(one, 3)
    await make_pod(one, A)
    before = working(await one.until(lambda fleet: len(working(fleet)) == 3, "all tiles are owned"))
    await kill(valkey)
    await valkey.start()
    await eventually(lambda: register.incarnations[fleet_id] == 2, "a new incarnation")
    fleet = await one.until(lambda fleet: fleet.version >> 32 == 2, "the process follows")
    assert working(fleet) == before
    assert {pod.record.status for pod in fleet.pods} == {PodStatus.READY}


async def test_a_process_that_cannot_hear_the_store_for_one_lease_vouches_for_nothing(
    valkey: EmbeddedValkey, start: Starts
) -> None:
    process = await start(valkey.url)
    (tile,) = await add_tiles(process, 1)
    await kill(valkey)
    await eventually(lambda: not process.view.is_current, "the process has lost touch")
    with pytest.raises(Unavailable):
        process.view.current()
    assert not any(task.done() for task in process.tasks)
    await valkey.start()
    fleet = await process.until(lambda fleet: fleet.record(tile), "the process is back")
    assert fleet.version > 0


async def test_a_change_missed_while_the_listener_was_cut_off_is_caught_up_with(
    valkey: EmbeddedValkey, start: Starts
) -> None:
    process = await start(valkey.url, leads=True)
    async with Redis.from_url(valkey.url) as client:
        listeners = [one["id"] for one in await client.client_list() if int(one["sub"])]
        for listener in listeners:
            await client.client_kill_filter(_id=listener)
    (tile,) = await add_tiles(process, 1)
    await process.until(lambda fleet: fleet.record(tile), "the process knows the tile")


async def test_changes_that_a_leader_sees_after_its_pulse_are_no_sign_of_a_loss(
    start: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await start()
    beat = process.live.beat
    ids = iter(tile_ids(50))

    async def overtaken() -> Beat:
        told = await beat()
        new = next(ids, None)
        if new is not None:
            committed = await process.live.commit(None, [TileWrite(new, 0, TileRecord(TENANT))])
            await process.view.caught_up(committed.version, 5)
        return told

    monkeypatch.setattr(process.live, "beat", overtaken)
    cycles = len(process.cycles)
    await eventually(lambda: len(process.cycles) > cycles + 5, "it has led for a while")
    monkeypatch.undo()
    assert process.candidacy.leads
    assert await incarnation(process) == 1


async def test_while_the_store_is_away_it_is_tried_now_and_then_and_told_of_once(
    valkey: EmbeddedValkey, start: Starts, caplog: pytest.LogCaptureFixture
) -> None:
    process = await start(valkey.url, wrap=InterruptedLive, pace=Pace(leader_lease_ms=2_000))
    live = cast(InterruptedLive, process.candidacy.live)
    await kill(valkey)
    await eventually(lambda: "the control loop waits" in caplog.text, "it waits")
    live.calls.clear()
    await asyncio.sleep(2.0)
    assert 0 < live.calls.total() <= ATTEMPTS_MAX
    await valkey.start()
    await eventually(lambda: process.candidacy.incarnation == 2, "it leads again")
    await eventually(lambda: "the control loop goes on" in caplog.text, "it goes on")
    told = Counter(one.name for one in caplog.records if one.levelno == logging.WARNING)
    assert max(told.values()) <= LINES_MAX, told
