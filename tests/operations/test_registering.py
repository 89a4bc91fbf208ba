"""Registering coverage: SQL first, then the live store; whoever races, and whatever is cut short in between."""

import asyncio
import copy
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import h3.api.basic_int as h3
import pytest

from subgraph.adapters.sql.coverage_register import SqlCoverageRegister
from subgraph.adapters.sql.database import Database, open_database, sqlite_url
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain import sessions
from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.coverage import Coverage
from subgraph.domain.errors import InvalidInput, QuotaExceeded, Unavailable
from subgraph.domain.ids import SessionId
from subgraph.domain.new_session import NewSession
from subgraph.domain.registration import TileTemplate
from subgraph.domain.sessions import Session
from subgraph.operations.coverage import partition as partition_module
from subgraph.operations.coverage import tile_making
from subgraph.operations.coverage.partition import Partition
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.sessions.sessions import Sessions
from tests.operations.conftest import Starts
from tests.support.fleet_process import FleetProcess
from tests.support.fleets import CELLS, TENANT
from tests.support.interrupted_live import InterruptedLive
from tests.support.partitions import partition_of
from tests.support.records import record_in

pytestmark = pytest.mark.anyio

CALLER = Caller(TENANT, "ann", ALL_SCOPES)
PARENT = int(h3.cell_to_parent(CELLS[0]))
CHILDREN = sorted(h3.cell_to_children(PARENT))
TEMPLATE = TileTemplate(capacity=3.0)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await open_database(sqlite_url(tmp_path / "sessions.sqlite3"))
    yield opened
    await opened.close()


@pytest.fixture
async def session(database: Database) -> Session:
    change = sessions.create(NewSession(), TENANT, CALLER.owner_id, datetime.now(UTC))
    await sessions_of(database).commit(change)
    return change.created[0]


def sessions_of(database: Database) -> Sessions:
    return Sessions(SqlSessionStore(database), lambda: datetime.now(UTC), lambda: None)


def partition(database: Database, process: FleetProcess, fleet_id: str, live: LiveFleet | None = None) -> Partition:
    store, register = SqlSessionStore(database), SqlCoverageRegister(database, fleet_id)
    return partition_of(sessions_of(database), store, register, live or process.live, process.view)


def covered(process: FleetProcess, session_id: SessionId) -> list[int]:
    return sorted(process.view.current().tiles.coverage(session_id))


async def test_what_is_registered_becomes_tiles_that_begin_as_asked(
    start: Starts, database: Database, session: Session, fleet_id: str
) -> None:
    process = await start()
    done = await partition(database, process, fleet_id).register(CALLER, session.id, CELLS[:5], TEMPLATE)
    assert done.registered == 5
    fleet = process.view.current()
    assert {tile_id for tile_id, _ in fleet.tiles.items()} == set(done.tile_ids)
    assert [fleet.record(one) for one in done.tile_ids] == 5 * [TEMPLATE.record(TENANT)]
    assert (await SqlCoverageRegister(database, fleet_id).of_session(session.id)).cells.tolist() == CELLS[:5]


async def test_of_nested_cells_registered_at_once_no_place_gets_two_tiles(
    start: Starts, database: Database, session: Session, fleet_id: str
) -> None:
    processes = [await start(name=name) for name in ("one", "other")]
    partitions = [partition(database, process, fleet_id) for process in processes]

    async def register(number: int, cells: Sequence[int]) -> int:
        return (await partitions[number % 2].register(CALLER, session.id, cells, TEMPLATE)).registered

    wanted = [[child] for child in CHILDREN[:3]] + [[PARENT]] + [[child] for child in CHILDREN[3:]]
    outcomes = await asyncio.gather(*(register(n, cells) for n, cells in enumerate(wanted)), return_exceptions=True)
    assert all(isinstance(outcome, int | InvalidInput) for outcome in outcomes), outcomes
    for process in processes:
        _, fleet = await process.view.observe(5.0)
        cells = [int(fleet.tiles.cell[row]) for row in fleet.tiles.rows_of_session(session.id).tolist()]
        # A coverage refuses cells of which one lies inside another.
        assert sorted(Coverage(cells)) == sorted(cells)
        assert len(cells) == sum(outcome for outcome in outcomes if isinstance(outcome, int))
    assert PARENT in cells or set(cells) <= set(CHILDREN)


async def test_who_repeats_a_registration_that_was_cut_short_gets_the_tiles_that_are_missing(
    start: Starts, database: Database, session: Session, fleet_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_making, "TILES_PER_COMMIT_MAX", 2)
    process = await start()
    live = InterruptedLive(process.live)

    async def fail() -> None:
        raise Unavailable("the store went away")

    async def let_one_pass() -> None:
        live.before["commit"] = fail

    live.after["commit"] = let_one_pass
    interrupted = partition(database, process, fleet_id, cast(LiveFleet, live))
    with pytest.raises(Unavailable):
        await interrupted.register(CALLER, session.id, CELLS[:6], TEMPLATE)
    # Asked for again, one more with it, and otherwise than at first.
    done = await interrupted.register(CALLER, session.id, CELLS[:7], TileTemplate(capacity=9.0))
    assert done.registered == 5
    assert covered(process, session.id) == CELLS[:7]
    capacities = {one: record_in(process.view.current(), one).capacity for one in done.tile_ids}
    assert sorted(filter(None, capacities.values())) == [3.0] * 6 + [9.0]
    assert (await interrupted.register(CALLER, session.id, CELLS[:7], TEMPLATE)).registered == 0


async def test_tiles_of_which_a_process_does_not_know_yet_that_they_went_do_not_count_as_there(
    start: Starts, database: Database, session: Session, fleet_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await start()
    registering = partition(database, process, fleet_id)
    await registering.register(CALLER, session.id, CELLS[:3], TEMPLATE)
    before = copy.deepcopy(process.view.current())
    await Retirement(process.live, process.view).retire_session(session.id)
    await process.until(lambda fleet: not fleet.tiles.rows_of_session(session.id).size, "its tiles are gone")
    monkeypatch.setattr(process.view, "current", lambda: before)
    assert (await registering.register(CALLER, session.id, CELLS[:3], TEMPLATE)).registered == 3


async def test_a_session_has_only_so_many_tiles(
    start: Starts, database: Database, session: Session, fleet_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_module, "TILES_PER_SESSION_MAX", 5)
    process = await start()
    registering = partition(database, process, fleet_id)
    await registering.register(CALLER, session.id, CELLS[:5], TEMPLATE)
    with pytest.raises(QuotaExceeded) as refused:
        await registering.register(CALLER, session.id, CELLS[:6], TEMPLATE)
    assert (refused.value.limit, refused.value.current) == (5, 6)
    assert (await registering.register(CALLER, session.id, CELLS[:5], TEMPLATE)).registered == 0
