"""Changes of health in the journal: told by whoever leads, to sessions that are there; a new leader only notes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from subgraph.adapters.sql.database import Database, open_database, sqlite_url
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.tile_journal import SqlTileJournal
from subgraph.domain import sessions
from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import SessionId
from subgraph.domain.journal import SessionEventType
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.history.tile_journal import TileJournal
from subgraph.operations.journal.health_journal import HealthJournal
from tests.support.fleets import TENANT, A, fleet_of, held, pod, tile, tile_ids

pytestmark = pytest.mark.anyio

STALE_MS = 100_000


@dataclass
class Seen:
    """What a process sees of the fleet, and when."""

    fleet: Fleet
    at_ms: int = 1_000
    leads: bool = True

    def current(self) -> Fleet:
        return self.fleet

    def now_ms(self) -> int:
        return self.at_ms


class Broken:
    """A journal of tiles that does not answer."""

    async def tell_apart(self, told: object) -> None:
        raise Unavailable("the database does not answer")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await open_database(sqlite_url(tmp_path / "sessions.sqlite3"))
    yield opened
    await opened.close()


@pytest.fixture
async def session(database: Database) -> Session:
    change = sessions.create(NewSession(), TENANT, "ann", datetime(2026, 3, 1, tzinfo=UTC))
    await SqlSessionStore(database).commit(change)
    return change.created[0]


def owned(*of: SessionId) -> Fleet:
    """A fleet with two tiles of each session, which a pod has owned from the first moment."""
    return fleet_of({one: tile(owner=held(A, 1)) for session in of for one in tile_ids(2, session)}, {A: pod()})


def journal_of(seen: Seen, tiles: object) -> HealthJournal:
    return HealthJournal(cast(FleetView, seen), lambda: seen.leads, cast(TileJournal, tiles), 1_000, 1.0)


async def told(database: Database) -> list[object]:
    entries = await SqlJournal(database).entries_after(0, 100)
    return [one.event.payload for one in entries if one.event.type is SessionEventType.TILE_HEALTH_CHANGED]


async def test_what_changed_is_told_to_its_session_and_nothing_to_one_that_is_gone(
    database: Database, session: Session
) -> None:
    seen = Seen(owned(session.id, SessionId("gone")))
    journal = journal_of(seen, SqlTileJournal(database, "fleet"))
    assert await journal.look() == 0
    seen.at_ms = STALE_MS
    await journal.look()
    tiles = [{"tileId": one, "from": "HEALTHY", "to": "STALE"} for one in tile_ids(2, session.id)]
    assert await told(database) == [{"count": 2, "tiles": tiles, "tilesByHealth": {"STALE": 2}}]


async def test_whoever_begins_to_lead_or_begins_its_picture_anew_only_notes(
    database: Database, session: Session
) -> None:
    seen = Seen(owned(session.id))
    journal = journal_of(seen, SqlTileJournal(database, "fleet"))
    await journal.look()
    seen.leads, seen.at_ms = False, STALE_MS
    assert await journal.look() == 0
    seen.leads = True
    assert [await journal.look(), await journal.look()] == [0, 0]
    seen.fleet = owned(session.id)
    assert [await journal.look(), await journal.look()] == [0, 0]
    assert await told(database) == []


async def test_what_could_not_be_written_is_told_when_the_database_is_back(
    database: Database, session: Session
) -> None:
    seen = Seen(owned(session.id))
    journal = journal_of(seen, Broken())
    await journal.look()
    seen.at_ms = STALE_MS
    with pytest.raises(Unavailable):
        await journal.look()
    journal.journal = SqlTileJournal(database, "fleet")
    assert await journal.look() == 1
    assert len(await told(database)) == 1
