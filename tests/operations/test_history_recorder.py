"""The way of terms into SQL, on a real Valkey and a real database: nothing is lost, whoever dies, whatever is away."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.keys import fleet_key
from subgraph.adapters.sql.database import Database, open_database, sqlite_url
from subgraph.adapters.sql.term_history import SqlTermHistory
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.terms import TermChange, living_terms
from subgraph.domain.ids import PodId
from subgraph.domain.ownership import AssignmentReason, AssignmentState
from subgraph.operations.by_hand.operator import Operator
from subgraph.operations.fleet.fleet_writes import TileWrite
from subgraph.operations.history import history_recorder
from subgraph.operations.history.history_recorder import HistoryRecorder
from subgraph.operations.history.term_history import TermFilter, TermHistory
from tests.operations.conftest import MakesPod, Starts, add_tiles
from tests.support.fleet_life import Life
from tests.support.fleet_process import FleetProcess
from tests.support.fleets import T1, A, B, held, tile
from tests.support.own_valkey import own_valkey
from tests.support.ownership_history import OwnershipHistory
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio

ACTIVE, RELEASED, LOST = AssignmentState.ACTIVE, AssignmentState.RELEASED, AssignmentState.LOST
ABORTED, DRAINING = AssignmentState.ABORTED, AssignmentState.DRAINING
BUSY_WAIT_SECONDS = 0.1


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_recorder, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(history_recorder, "RETRY_SECONDS", 0.05)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.sqlite3"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    opened = await open_database(sqlite_url(path), busy_wait_seconds=BUSY_WAIT_SECONDS)
    yield opened
    await opened.close()


@pytest.fixture
def recorded(database: Database) -> SqlTermHistory:
    return SqlTermHistory(database, "fleet")


@pytest.fixture
def start(recorded: SqlTermHistory, start: Starts) -> Starts:
    """As elsewhere; but processes end before the database that they record in is closed."""
    return start


class Held:
    """A history whose next writes wait until they are let go, as those of a process that is about to die."""

    def __init__(self, history: TermHistory) -> None:
        self._history = history
        self.may_write = asyncio.Event()
        self.is_waiting = False
        self.may_write.set()

    def __getattr__(self, name: str) -> object:
        method: Callable[..., Awaitable[object]] = getattr(self._history, name)

        async def call(*args: object) -> object:
            if name in ("record", "end_vanished") and not self.may_write.is_set():
                self.is_waiting = True
                await self.may_write.wait()
            return await method(*args)

        return call


async def terms(history: TermHistory) -> list[TermChange]:
    """All terms recorded, the oldest first."""
    page = await history.page(TermFilter(), 1_000, None)
    return [one.change for one in reversed(page.items)]


async def until_recorded(history: TermHistory, condition: Callable[[list[TermChange]], object], what: str) -> None:
    async def holds() -> object:
        return condition(await terms(history))

    await eventually(holds, what)


def ended(changes: list[TermChange], *states: AssignmentState) -> list[TermChange]:
    return [one for one in changes if one.ended_at_ms is not None and (not states or one.state in states)]


async def until_worked_on(process: FleetProcess, count: int, by: PodId = A) -> None:
    def are(fleet: Fleet) -> bool:
        records = [fleet.record(one) for one, _ in fleet.tiles.items()]
        return sum(1 for one in records if one and one.owner and one.owner.pod_id == by and one.is_settled) == count

    await process.until(are, f"{by} works on {count} tiles")


def are_over(changes: list[TermChange], *, of: PodId, while_of: PodId, live: int) -> bool:
    """Whether all terms of one pod have ended, and so many of another live."""
    former, present = ([one for one in changes if one.term.pod_id == pod_id] for pod_id in (of, while_of))
    return bool(former) and former == ended(former) and len(present) - len(ended(present)) == live


# ── A life of terms ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_term_is_recorded_with_its_reason_its_times_and_its_end(
    start: Starts, make_pod: MakesPod, recorded: SqlTermHistory
) -> None:
    process = await start(history=recorded)
    begun_ms = process.view.now_ms()
    await add_tiles(process, 4)
    a = await make_pod(process, A)
    await until_worked_on(process, 4)
    b = await make_pod(process, B)
    await Operator(process.live, process.view).drain(A)
    await process.until(lambda fleet: len(fleet.terms_of_pod(B)) == 4 and not fleet.terms_of_pod(A), "all is with B")
    await a.die()
    await until_recorded(recorded, lambda changes: len(ended(changes)) == 4, "the ends")
    first, second = (await terms(recorded))[:4], (await terms(recorded))[4:]
    assert [(one.term.pod_id, one.term.reason, one.state) for one in first] == [
        (A, AssignmentReason.INITIAL, RELEASED)
    ] * 4
    assert [(one.term.pod_id, one.term.reason, one.state) for one in second] == [
        (B, AssignmentReason.POD_DRAINED, ACTIVE)
    ] * 4
    for one in first:
        assert one.term.acknowledged_at_ms is not None
        assert one.ended_at_ms is not None
        assert begun_ms <= one.term.assigned_at_ms <= one.term.acknowledged_at_ms <= one.ended_at_ms
    await b.die()
    await until_recorded(recorded, lambda changes: len(ended(changes, LOST)) == 4, "the losses")


async def test_what_is_recorded_is_forgotten_by_the_store(
    start: Starts, make_pod: MakesPod, recorded: SqlTermHistory
) -> None:
    process = await start(history=recorded)
    await add_tiles(process, 20)
    await make_pod(process, A)
    await until_worked_on(process, 20)

    async def is_empty() -> bool:
        return (await process.live.beat()).unrecorded_changes == 0

    await eventually(is_empty, "the log is empty")
    assert len(await terms(recorded)) == 20


async def test_only_who_leads_records(start: Starts, recorded: SqlTermHistory) -> None:
    leader = await start(name="leader")
    follower = await start(name="follower", history=recorded, leads=False)
    await leader.live.commit(None, [TileWrite(T1, 0, tile(owner=held(A, 7)))])
    await follower.until(lambda fleet: fleet.record(T1), "the follower knows the tile")
    await asyncio.sleep(0.2)
    assert await terms(recorded) == []
    assert (await leader.live.beat()).unrecorded_changes == 1


# ── Processes die ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_a_killed_leader_had_not_written_its_follower_writes_as_it_was(
    start: Starts, make_pod: MakesPod, recorded: SqlTermHistory
) -> None:
    dying = Held(recorded)
    first = await start(name="first", history=dying)
    await add_tiles(first, 3)
    await make_pod(first, A)
    await until_worked_on(first, 3)
    await until_recorded(recorded, lambda changes: len(changes) == 3, "the terms")

    dying.may_write.clear()
    b = await make_pod(first, B)
    await Operator(first.live, first.view).drain(A)
    await first.until(lambda fleet: len(fleet.terms_of_pod(B)) == 3 and not fleet.terms_of_pod(A), "all is with B")
    over_ms = first.view.now_ms()
    await eventually(lambda: dying.is_waiting, "a write is on its way")
    await first.kill()
    assert ended(await terms(recorded)) == []

    second = await start(name="second", history=recorded)
    b.process = second
    await until_recorded(recorded, lambda changes: len(ended(changes, RELEASED)) == 3, "the ends")
    assert all(one.ended_at_ms is not None and one.ended_at_ms <= over_ms for one in ended(await terms(recorded)))


async def test_a_leader_that_comes_back_too_late_spoils_nothing(
    start: Starts, make_pod: MakesPod, recorded: SqlTermHistory
) -> None:
    """It wakes in the middle of a write, long after another has recorded how those terms ended."""
    paused = Held(recorded)
    first = await start(name="first", history=paused)
    await add_tiles(first, 3)
    paused.may_write.clear()
    a = await make_pod(first, A)
    await until_worked_on(first, 3)
    await eventually(lambda: paused.is_waiting, "a write is on its way")
    # Its recorder sleeps; everything else of it has died.
    for task in first.tasks:
        if task is not first.tasks[2]:
            task.cancel()
    first.candidacy.step_down("paused")
    second = await start(name="second", history=recorded)
    a.process = second
    await a.die()
    await until_recorded(recorded, lambda changes: len(ended(changes, LOST)) == 3, "the ends")
    before = await terms(recorded)
    paused.may_write.set()
    await asyncio.sleep(0.2)
    assert await terms(recorded) == before


async def test_no_term_is_lost_when_every_process_dies(
    start: Starts, make_pod: MakesPod, recorded: SqlTermHistory
) -> None:
    """Terms begin and end while nothing at all is written to SQL."""
    dying = Held(recorded)
    dying.may_write.clear()
    first = await start(name="first", history=dying)
    await add_tiles(first, 2)
    a = await make_pod(first, A)
    await until_worked_on(first, 2)
    await a.die()
    await first.until(lambda fleet: not fleet.terms_of_pod(A), "A has lost its tiles")
    await first.kill()

    await start(name="second", history=recorded)
    await until_recorded(recorded, lambda changes: len(ended(changes, LOST)) == 2, "the ends")
    assert all(one.term.acknowledged_at_ms for one in await terms(recorded))


# ── Stores are away ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_while_sql_is_locked_the_fleet_goes_on_and_nothing_is_lost(
    start: Starts, make_pod: MakesPod, recorded: SqlTermHistory, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process = await start(history=recorded)
    await add_tiles(process, 5)
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    a = await make_pod(process, A)
    await until_worked_on(process, 5)
    await a.die()
    await make_pod(process, B)
    await until_worked_on(process, 5, by=B)
    assert await terms(recorded) == []
    await eventually(lambda: process.view.unrecorded_changes >= 15, "what waits is told")
    assert [one for one in caplog.messages if one.startswith("history waits")]
    lock.execute("ROLLBACK")
    lock.close()
    await until_recorded(
        recorded,
        lambda changes: are_over(changes, of=A, while_of=B, live=5),
        "all of it",
    )
    assert process.view.dropped_changes == 0
    await eventually(lambda: [one for one in caplog.messages if one.startswith("history goes on")], "it goes on")


async def test_beyond_the_bound_what_is_dropped_is_counted_and_what_lives_is_recorded_all_the_same(
    start: Starts, make_pod: MakesPod, recorded: SqlTermHistory, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Held(recorded)
    process = await start(history=slow, unrecorded_changes_max=6)
    ids = await add_tiles(process, 4)
    a = await make_pod(process, A)
    await until_worked_on(process, 4)
    await until_recorded(recorded, lambda changes: len(changes) == 4, "the first terms")
    slow.may_write.clear()
    await a.die()
    await make_pod(process, B)
    await until_worked_on(process, 4, by=B)
    await eventually(lambda: process.view.dropped_changes > 0, "something is dropped")
    slow.may_write.set()
    await until_recorded(
        recorded,
        lambda changes: are_over(changes, of=A, while_of=B, live=4),
        "A's terms are over, B's live",
    )
    assert {one.tile_id for one in await terms(recorded)} == set(ids)
    await eventually(lambda: [one for one in caplog.messages if "changes were too many" in one], "it is said")


async def test_terms_of_a_store_that_was_emptied_are_lost_when_it_is_noticed(
    tmp_path: Path, start: Starts, make_pod: MakesPod, recorded: SqlTermHistory
) -> None:
    async with own_valkey(tmp_path) as valkey:
        process = await start(valkey.url, history=recorded)
        await add_tiles(process, 3)
        a = await make_pod(process, A)
        await until_worked_on(process, 3)
        await until_recorded(recorded, lambda changes: len(changes) == 3, "the terms")
        before_ms = process.view.now_ms()
        await flush(valkey)
        await until_recorded(recorded, lambda changes: len(ended(changes, LOST)) == 3, "the losses")
        assert all(one.ended_at_ms is not None and one.ended_at_ms >= before_ms for one in await terms(recorded))
        await a.die()
        await add_tiles(process, 3)
        await make_pod(process, B)
        await until_recorded(recorded, lambda changes: len(changes) == 6, "new terms")
        assert len(ended(await terms(recorded))) == 3
        await process.stop()


async def flush(valkey: EmbeddedValkey) -> None:
    async with Redis.from_url(valkey.url) as client:
        await client.flushall()


async def test_terms_from_before_there_was_a_history_are_found(
    start: Starts, make_pod: MakesPod, recorded: SqlTermHistory, valkey_url: str, fleet_id: str
) -> None:
    first = await start(name="first")
    await add_tiles(first, 3)
    a = await make_pod(first, A)
    await until_worked_on(first, 3)
    client = connect(valkey_url)
    await client.delete(fleet_key(fleet_id, "terms"))
    await client.aclose()
    await first.kill()
    second = await start(name="second", history=recorded)
    a.process = second
    await until_recorded(recorded, lambda changes: len(changes) == 3, "the terms")
    assert [(one.state, one.term.pod_id) for one in await terms(recorded)] == [(ACTIVE, A)] * 3


async def test_a_move_that_began_unseen_is_recorded_as_it_stands(
    start: Starts, recorded: SqlTermHistory, fleet_id: str
) -> None:
    """The log was lost with what it held, and the terms go on in states that were never recorded."""
    process = await start(history=recorded)
    version = (await process.live.commit(None, [TileWrite(T1, 0, tile(owner=held(A, 7)))])).version
    await until_recorded(recorded, lambda changes: len(changes) == 1, "the first term")
    record = tile(owner=held(B, 9), draining=held(A, 7, draining_since_ms=process.view.now_ms()))
    await process.kill()
    other = await start(name="other", leads=False)
    await other.live.commit(None, [TileWrite(T1, version, record)])
    await other.redis.delete(fleet_key(fleet_id, "terms"))
    await start(name="second", history=recorded)
    await until_recorded(
        recorded,
        lambda changes: [(one.term.epoch, one.state) for one in changes] == [(7, DRAINING), (9, ACTIVE)],
        "both terms as they are",
    )


async def test_a_database_that_never_comes_ends_no_task(
    start: Starts, make_pod: MakesPod, recorded: SqlTermHistory, database: Database
) -> None:
    await database.close()
    process = await start(history=recorded)
    await add_tiles(process, 3)
    await make_pod(process, A)
    await until_worked_on(process, 3)
    assert not any(task.done() for task in process.tasks)


# ── Any life ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_the_record_is_what_was(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory, recorded: SqlTermHistory, seed: int
) -> None:
    life = Life(seed, start, make_pod, history=recorded)
    await life.begin()
    for _ in range(20):
        await life.happen()
    await life.come_to_rest()
    fleet = life.processes[-1].view.current()

    async def complete() -> tuple[int, dict[int, TermChange]] | None:
        version = fleet.version
        if (await life.processes[-1].live.beat()).unrecorded_changes:
            return None
        found = {one.term.epoch: one for one in await terms(recorded)}
        living = {epoch for epoch, one in found.items() if one.ended_at_ms is None}
        records = {one: fleet.record(one) for one, _ in fleet.tiles.items()}
        is_complete = living == {
            change.term.epoch for one, record in records.items() if record for change in living_terms(one, record)
        }
        # The fleet goes on: what it is compared with must be of the same moment.
        return (version, found) if is_complete and fleet.version == version else None

    version, found = await eventually(complete, "all that lives, and nothing else, is recorded as living")
    newest = int(fleet.tiles.changed_at[fleet.tiles.changed_at <= version].max())
    await eventually(lambda: history.moments[-1].version >= newest, "the test has heard of all of it")
    in_force = {
        moment.record.owner.epoch: (moment.tile_id, moment.record.owner)
        for moment in history.moments
        if moment.version <= version and moment.record and moment.record.owner
    }
    assert in_force
    for epoch, (tile_id, owner) in in_force.items():
        one = found[epoch]
        assert (one.tile_id, one.term.pod_id, one.term.reason) == (tile_id, owner.pod_id, owner.reason)
        assert one.term.acknowledged_at_ms == owner.acknowledged_at_ms
        assert one.state is not ABORTED
    # What was never in force was given up, or is still to come.
    never = {one.state for epoch, one in found.items() if epoch not in in_force}
    assert never <= {ABORTED, AssignmentState.PREPARING}
    assert isinstance(life.processes[-1].recorder, HistoryRecorder)
