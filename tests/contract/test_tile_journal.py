"""What the journal tells of tiles, on every database: each change of owner once, however often the log is read."""

from datetime import UTC, datetime

import h3.api.basic_int as h3
import pytest

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.fleet_register import SqlFleetRegister
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.tile_journal import SqlTileJournal
from subgraph.domain import sessions
from subgraph.domain.ids import PodId, SessionId, TenantId, TileId, tile_id
from subgraph.domain.journal import SessionEventType
from subgraph.domain.new_session import NewSession
from subgraph.domain.ownership import AssignmentReason, Term, TileRecord
from subgraph.operations.history.term_history import LoggedChange
from subgraph.operations.history.tile_journal import TILES_PER_EVENT_MAX

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TENANT = TenantId("tenant")
CELLS = sorted(h3.grid_disk(h3.latlng_to_cell(47.0, 8.0, 6), 9))
A, B = PodId("a"), PodId("b")


@pytest.fixture
async def database(database: Database) -> Database:
    """One whose fleet has been led."""
    await SqlFleetRegister(database).raise_incarnation("fleet")
    return database


async def new_session(database: Database) -> SessionId:
    change = sessions.create(NewSession(), TENANT, "ann", NOW)
    await SqlSessionStore(database).commit(change)
    return change.created[0].id


def given(
    tile: TileId, pod: PodId, epoch: int, reason: AssignmentReason = AssignmentReason.INITIAL, entry: int = 1
) -> LoggedChange:
    """A tile that nobody owned is given to a pod."""
    term = Term(pod_id=pod, epoch=epoch, reason=reason, assigned_at_ms=1_000)
    return LoggedChange(epoch, 1_000, tile, TileRecord(TENANT), TileRecord(TENANT, owner=term), entry)


async def told(database: Database) -> list[tuple[SessionEventType, list[str]]]:
    """Type and tiles of each event after the first."""
    found = []
    for entry in await SqlJournal(database).entries_after(0, 10_000):
        if entry.event.payload is not None:
            tiles = entry.event.payload["tiles"]
            assert isinstance(tiles, list)
            found.append((entry.event.type, [one["tileId"] for one in tiles]))
    return found


async def test_changes_of_owners_are_told_per_session_and_kind_and_only_once(database: Database) -> None:
    session_id = await new_session(database)
    one, two, three = (tile_id(session_id, cell) for cell in CELLS[:3])
    changes = [given(one, A, 5), given(two, B, 5), given(three, B, 6, AssignmentReason.TILE_SPLIT, entry=3)]
    journal = SqlTileJournal(database, "fleet")
    for _ in range(2):
        await journal.tell(changes)
    assert await told(database) == [
        (SessionEventType.TILES_REASSIGNED, [one, two]),
        (SessionEventType.TILE_SPLIT, [three]),
    ]


async def test_a_version_that_comes_in_two_parts_of_the_log_is_told_whole(database: Database) -> None:
    session_id = await new_session(database)
    one, two = (tile_id(session_id, cell) for cell in CELLS[:2])
    journal = SqlTileJournal(database, "fleet")
    first, second = given(one, A, 5, entry=1), given(two, A, 5, entry=2)
    await journal.tell([first])
    await journal.tell([first, second])
    # A Redis that was emptied counts its entries anew, in a higher version.
    await journal.tell([given(one, B, 2**33, entry=1)])
    assert [tiles for _, tiles in await told(database)] == [[one], [two], [one]]


async def test_what_changes_no_owner_or_is_of_no_session_is_not_told(database: Database) -> None:
    session_id = await new_session(database)
    tile, stray = tile_id(session_id, CELLS[0]), tile_id(SessionId("gone"), CELLS[0])
    same = TileRecord(TENANT, capacity=1.0)
    journal = SqlTileJournal(database, "fleet")
    await journal.tell([LoggedChange(5, 1_000, tile, TileRecord(TENANT), same, 1), given(stray, A, 6, entry=2)])
    assert await told(database) == []


async def test_an_event_tells_of_a_bounded_number_of_tiles(database: Database) -> None:
    session_id = await new_session(database)
    assert len(CELLS) > 2 * TILES_PER_EVENT_MAX
    await SqlTileJournal(database, "fleet").tell([given(tile_id(session_id, cell), A, 5) for cell in CELLS])
    sizes = [len(tiles) for _, tiles in await told(database)]
    assert sum(sizes) == len(CELLS)
    assert max(sizes) == TILES_PER_EVENT_MAX
