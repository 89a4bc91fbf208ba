"""The session store on every database: whole changes or none, named conflicts, one tenant, pages that hold still."""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any, cast

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from subgraph.adapters.sql.database import Database, open_database
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_directory import SqlSessionDirectory
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.tables import SESSION_EVENT
from subgraph.domain import sessions
from subgraph.domain.errors import InvalidInput, NameTaken, NotFound, RevisionConflict
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import SessionEvent
from subgraph.domain.new_session import NewSession
from subgraph.domain.session_list import SessionList
from subgraph.domain.sessions import Session, SessionChange, SessionState
from subgraph.operations.ports import Page
from subgraph.operations.sessions.session_ports import MainExists
from tests.support.warm_programs import WarmProgram

pytestmark = pytest.mark.anyio

TENANT, OTHER_TENANT = TenantId("tenant"), TenantId("other tenant")
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
LIMIT = 1_000


class Store(SqlSessionStore):
    """A session store whose journal is at hand."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.journal = SqlJournal(database)
        self.directory = SqlSessionDirectory(database)

    async def told(self) -> list[SessionEvent]:
        return [entry.event for entry in await self.journal.unrelayed(LIMIT)]

    async def current_sessions(
        self, tenant_id: TenantId, data_source: str | None, first: int, after: str | None
    ) -> Page[Session]:
        wanted = SessionList(tenant_id, frozenset({SessionState.ACTIVE}), NOW, data_source=data_source)
        page = await self.directory.page(wanted, first, after)
        return replace(page, total_count=await self.directory.count(wanted, LIMIT))


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


def created(
    name: str, tenant_id: TenantId = TENANT, now: datetime = NOW, data_source: str | None = None
) -> SessionChange:
    return sessions.create(NewSession(display_name=name, data_source=data_source), tenant_id, "ann", now)


def main_of(tenant_id: TenantId) -> SessionChange:
    return sessions.create_main(tenant_id, "ann", NOW)


def ended(session: Session) -> SessionChange:
    return sessions.end(session, actor="bob", now=NOW + timedelta(hours=1))


async def read(store: Store, session: Session) -> Session | None:
    return (await store.sessions(session.tenant_id, [session.id])).get(session.id)


async def current_names(store: Store, data_source: str | None = None) -> list[str]:
    page = await store.current_sessions(TENANT, data_source, LIMIT, None)
    return [session.display_name for session in page.items]


# ── What is written is read back ──────────────────────────────────────────────────────────────────────────────────


async def test_a_session_is_read_as_it_was_written(store: Store) -> None:
    wanted = NewSession(
        display_name="Zürich 雪 🚄",
        data_source="trains",
        type="Experiment",
        version=7,
        utc_offset=timedelta(hours=-5, minutes=-30, microseconds=1),
        details={"z": "last key first", "a": "", "ü": "\t\n\"'"},
        required_labels={"zone": "é", "gpu": ""},
        metadata={"nested": [{"deep": None}, 1, 2.5, True, "x"], "large": 10**30, "empty": {}},
    )
    change = sessions.create(wanted, TENANT, "ann@example.org", NOW)
    await store.commit(change)
    (session,) = change.created
    assert await read(store, session) == session
    stored = (await store.sessions(TENANT, [session.id]))[session.id]
    assert list(stored.details) == ["z", "a", "ü"]
    assert await store.told() == list(change.events)


async def test_times_are_the_same_instant_in_utc_to_the_microsecond(store: Store) -> None:
    in_delhi = datetime(2026, 3, 1, 1, 2, 3, 999999, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    change = created("a", now=in_delhi)
    await store.commit(change)
    stored = await read(store, change.created[0])
    assert stored is not None
    assert stored.created_at == in_delhi
    assert stored.created_at.utcoffset() == timedelta()
    (event,) = await store.told()
    assert (event.occurred_at, event.occurred_at.utcoffset()) == (in_delhi, timedelta())


async def test_an_end_is_read_back_with_its_event(store: Store) -> None:
    start = created("a")
    await store.commit(start)
    end = ended(start.created[0])
    await store.commit(end)
    assert await read(store, start.created[0]) == end.updated[0]
    assert await store.told() == [*start.events, *end.events]


async def test_many_sessions_are_found_at_once_and_what_is_asked_twice_or_absent_does_no_harm(
    store: Store,
) -> None:
    changes = [created(f"session {n}") for n in range(5)]
    for change in changes:
        await store.commit(change)
    expected = {change.created[0].id: change.created[0] for change in changes}
    absent = [SessionId(f"absent {n}") for n in range(40_000)]
    assert await store.sessions(TENANT, [*expected, *expected, *absent]) == expected
    assert await store.sessions(TENANT, []) == {}


async def test_an_id_that_is_not_unicode_is_merely_absent(store: Store) -> None:
    change = created("a")
    await store.commit(change)
    (session,) = change.created
    assert await store.sessions(TENANT, [SessionId("\ud800"), session.id]) == {session.id: session}


async def test_an_empty_change_writes_nothing(store: Store) -> None:
    await store.commit(SessionChange())
    assert await store.told() == []


async def test_everything_outlives_the_process(database_url: str) -> None:
    main, change = main_of(TENANT), created("a")
    database = await open_database(database_url)
    store = Store(database)
    for each in (main, change):
        await store.commit(each)
    await store.journal.mark_relayed([(await store.journal.unrelayed(1))[0].position])
    await database.close()
    database = await open_database(database_url)
    store = Store(database)
    assert await store.main_session(TENANT) == main.created[0]
    assert await read(store, change.created[0]) == change.created[0]
    assert await store.told() == list(change.events)
    await database.close()


# ── Tenants ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_another_tenants_sessions_are_invisible(store: Store) -> None:
    mine, theirs = created("a"), created("b", OTHER_TENANT)
    for change in (mine, theirs, main_of(OTHER_TENANT)):
        await store.commit(change)
    ids = [mine.created[0].id, theirs.created[0].id]
    assert await store.sessions(TENANT, ids) == {ids[0]: mine.created[0]}
    assert await store.sessions(OTHER_TENANT, ids) == {ids[1]: theirs.created[0]}
    assert await store.main_session(TENANT) is None
    page = await store.current_sessions(TENANT, None, LIMIT, None)
    assert (page.items, page.total_count) == (mine.created, 1)


async def test_tenants_share_no_names(store: Store) -> None:
    for change in (created("a"), created("a", OTHER_TENANT), main_of(TENANT), main_of(OTHER_TENANT)):
        await store.commit(change)
    assert sorted(await current_names(store)) == ["a", "main"]


async def test_a_change_to_a_session_under_another_tenant_finds_nothing(store: Store) -> None:
    start = created("a")
    await store.commit(start)
    foreign = replace(start.created[0], tenant_id=OTHER_TENANT)
    with pytest.raises(NotFound):
        await store.commit(ended(foreign))
    assert await read(store, start.created[0]) == start.created[0]


# ── Conflicts ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_taken_name_is_refused_with_the_id_of_who_bears_it_even_after_its_end(store: Store) -> None:
    first = created("a")
    await store.commit(first)
    for _ in range(2):
        with pytest.raises(NameTaken) as refused:
            await store.commit(created("a"))
        assert refused.value.conflicting_id == first.created[0].id
        stored = await read(store, first.created[0])
        assert stored is not None
        await store.commit(ended(stored))
    assert await store.told() == [*first.events, *ended(first.created[0]).events]


async def test_names_differ_by_case_and_by_accent(store: Store) -> None:
    for name in ("a", "A", "á", "ａ"):
        await store.commit(created(name))
    assert sorted(await current_names(store)) == ["A", "a", "á", "ａ"]


async def test_a_tenant_has_one_main(store: Store) -> None:
    first = main_of(TENANT)
    await store.commit(first)
    with pytest.raises(MainExists):
        await store.commit(main_of(TENANT))
    assert await store.main_session(TENANT) == first.created[0]
    assert await store.told() == list(first.events)


async def test_a_second_main_of_another_name_is_refused_too(store: Store) -> None:
    await store.commit(main_of(TENANT))
    other = created("another")
    with pytest.raises(MainExists):
        await store.commit(replace(other, created=(replace(other.created[0], is_main=True),)))


async def test_an_ordinary_session_that_bears_the_name_of_main_is_named(store: Store) -> None:
    squatter = created("main")
    await store.commit(squatter)
    with pytest.raises(NameTaken) as refused:
        await store.commit(main_of(TENANT))
    assert refused.value.conflicting_id == squatter.created[0].id


async def test_an_outdated_change_is_refused_with_the_current_revision(store: Store) -> None:
    start = created("a")
    await store.commit(start)
    await store.commit(ended(start.created[0]))
    with pytest.raises(RevisionConflict) as refused:
        await store.commit(ended(start.created[0]))
    assert refused.value.current_revision == 2
    assert await store.told() == [*start.events, *ended(start.created[0]).events]


async def test_a_change_that_runs_ahead_of_the_store_is_refused(store: Store) -> None:
    start = created("a")
    await store.commit(start)
    with pytest.raises(RevisionConflict) as refused:
        await store.commit(ended(replace(start.created[0], revision=5)))
    assert refused.value.current_revision == 1


async def test_a_change_to_a_lost_session_finds_nothing(store: Store) -> None:
    (never_stored,) = created("a").created
    with pytest.raises(NotFound) as refused:
        await store.commit(ended(never_stored))
    assert refused.value.entity_id == never_stored.id


async def test_text_that_is_not_unicode_is_refused(store: Store) -> None:
    with pytest.raises(InvalidInput):
        await store.commit(created("half a pair: \ud83d"))
    assert await store.told() == []


# ── The main session's succession ─────────────────────────────────────────────────────────────────────────────────


async def test_an_ended_main_hands_its_name_to_its_successor_in_one_change(store: Store) -> None:
    first = main_of(TENANT)
    await store.commit(first)
    succession = ended(first.created[0])
    await store.commit(succession)
    assert await store.main_session(TENANT) == succession.created[0]
    assert await read(store, first.created[0]) == succession.updated[0]
    assert await current_names(store) == ["main"]
    assert await store.told() == [*first.events, *succession.events]


async def test_two_concurrent_ends_of_a_main_leave_exactly_one(store: Store) -> None:
    first = main_of(TENANT)
    await store.commit(first)
    outcomes = await asyncio.gather(*(store.commit(ended(first.created[0])) for _ in range(2)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [RevisionConflict]
    assert await current_names(store) == ["main"]


async def test_a_main_whose_name_after_its_end_is_taken_stays_and_the_taker_is_named(store: Store) -> None:
    first = main_of(TENANT)
    await store.commit(first)
    taken = ended(first.created[0]).updated[0].display_name
    taker = created("taker")
    # The rules keep such names; a store holds to its promise for whatever it is given.
    taker = replace(taker, created=(replace(taker.created[0], display_name=taken),))
    await store.commit(taker)
    with pytest.raises(NameTaken) as refused:
        await store.commit(ended(first.created[0]))
    assert refused.value.conflicting_id == taker.created[0].id
    assert await store.main_session(TENANT) == first.created[0]


class Meanwhile:
    """A database in which something else is done right before the first look at what stands in a change's way."""

    def __init__(self, database: Database, done: Callable[[], Awaitable[None]]) -> None:
        self._database, self._done = database, [done]
        self.write = database.write

    async def read(self, work: Callable[[Connection], Any]) -> Any:
        if self._done:
            await self._done.pop()()
        return await self._database.read(work)


@pytest.mark.parametrize("gone", ["renamed", "purged"])
async def test_what_was_refused_for_a_name_that_is_free_by_now_is_written_after_all(
    store: Store, database: Database, gone: str
) -> None:
    other = created("other")
    await store.commit(other)
    for name in ("of a new session", "of another session"):
        holder = created(name)
        await store.commit(holder)
        freed = renamed(f"no more {name}", holder.created[0])
        if gone == "purged":
            freed = sessions.purge(holder.created[0], actor=None, now=NOW)
        late = SqlSessionStore(cast("Database", Meanwhile(database, partial(store.commit, freed))))
        if name == "of a new session":
            await late.commit(created(name))
        else:
            await late.change(TENANT, other.created[0].id, partial(renamed, name))
        assert name in await current_names(store)


def renamed(name: str, session: Session | None) -> SessionChange:
    assert session is not None
    return sessions.rename(session, name, actor="ann", now=NOW)


# ── All or nothing ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_event_that_cannot_be_written_undoes_the_whole_change(store: Store) -> None:
    first, start = created("first"), created("a")
    for change in (first, start):
        await store.commit(change)
    second = created("second")
    broken = SessionChange(
        created=second.created,
        updated=ended(start.created[0]).updated,
        events=(*second.events, replace(first.events[0], occurred_at=cast("datetime", None))),
    )
    with pytest.raises(IntegrityError):
        await store.commit(broken)
    assert await read(store, second.created[0]) is None
    assert await read(store, start.created[0]) == start.created[0]
    assert await store.told() == [*first.events, *start.events]
    await store.commit(second)


async def test_a_caller_that_gives_up_leaves_a_whole_change_or_none_and_the_store_usable(
    store: Store,
) -> None:
    for turns in range(40):
        change = created(f"given up after {turns}")
        attempt = asyncio.create_task(store.commit(change))
        for _ in range(turns):
            await asyncio.sleep(0)
        attempt.cancel()
        await asyncio.wait([attempt])
        # Changes are made in the order in which they came, so what becomes of that one is settled then.
        await store.commit(created(f"after {turns}"))
        is_stored = await read(store, change.created[0]) is not None
        assert is_stored == (change.events[0] in await store.told())
    await store.commit(created("after all"))


KILLED_PROCESS = """
import asyncio, os, sys
from datetime import UTC, datetime
from sqlalchemy import insert
from subgraph.adapters.sql import session_store
from subgraph.adapters.sql.database import open_database
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_directory import SqlSessionDirectory
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain import sessions
from subgraph.domain.journal import SessionEvent
from subgraph.domain.new_session import NewSession
from subgraph.domain.session_list import SessionList

class Killed(tuple):
    def __iter__(self):
        os.kill(os.getpid(), 9)

async def main() -> None:
    store = SqlSessionStore(await open_database(sys.argv[1]))
    now = datetime(2026, 3, 1, tzinfo=UTC)
    await store.commit(sessions.create(NewSession(display_name="whole"), "tenant", "ann", now))
    half = sessions.create(NewSession(display_name="half"), "tenant", "ann", now)
    # The session is inserted by the time its events are looked at.
    await store.commit(sessions.SessionChange(half.created, half.updated, Killed(half.events)))

asyncio.run(main())
"""


async def test_a_process_killed_within_a_commit_leaves_nothing_of_it_and_no_lock(
    database: Database, store: Store, database_url: str
) -> None:
    process = WarmProgram(KILLED_PROCESS, database_url)
    said = await asyncio.to_thread(process.finish)
    assert process.returncode == -9, said
    assert await current_names(store) == ["whole"]
    assert len(await store.told()) == 1
    await store.commit(created("half"))


# ── Races ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_fifty_concurrent_commits_lose_none(store: Store) -> None:
    changes = [created(f"session {n}") for n in range(50)]
    await asyncio.gather(*map(store.commit, changes))
    page = await store.current_sessions(TENANT, None, LIMIT, None)
    assert {session.id for session in page.items} == {change.created[0].id for change in changes}
    assert page.total_count == 50
    events = await store.told()
    assert {event.session_id for event in events} == {change.created[0].id for change in changes}


async def test_two_concurrent_first_contacts_make_exactly_one_main(database: Database, database_url: str) -> None:
    other = await open_database(database_url)
    stores = [SqlSessionStore(database), SqlSessionStore(other)]
    for number in range(10):
        tenant_id = TenantId(f"tenant {number}")
        mains = [main_of(tenant_id) for _ in stores]
        commits = (store.commit(main) for store, main in zip(stores, mains, strict=True))
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome is not None] == [MainExists]
        winner = mains[outcomes.index(None)].created[0]
        assert [await store.main_session(tenant_id) for store in stores] == [winner, winner]
    await other.close()


async def test_of_two_concurrent_changes_to_one_session_one_is_refused(store: Store) -> None:
    start = created("a")
    await store.commit(start)
    outcomes = await asyncio.gather(*(store.commit(ended(start.created[0])) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [RevisionConflict] * 4
    assert len(await store.told()) == 2


# ── Current sessions ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_only_active_sessions_are_current_newest_first_and_by_id_at_one_moment(store: Store) -> None:
    changes = [created(f"session {n}", now=NOW + timedelta(microseconds=n // 3)) for n in range(9)]
    for change in changes:
        await store.commit(change)
    gone = changes.pop(4)
    await store.commit(ended(gone.created[0]))
    page = await store.current_sessions(TENANT, None, LIMIT, None)
    expected = [change.created[0] for change in changes]
    expected.sort(key=lambda session: (session.created_at, session.id), reverse=True)
    assert list(page.items) == expected
    assert (page.has_next, page.total_count) == (False, 8)


async def test_a_data_source_is_matched_exactly(store: Store) -> None:
    for name, data_source in (("a", "x"), ("b", "X"), ("c", "x "), ("d", None), ("e", "%")):
        await store.commit(created(name, data_source=data_source))
    assert await current_names(store, "x") == ["a"]
    assert await current_names(store, "%") == ["e"]
    assert await current_names(store, "absent") == []
    assert (await store.current_sessions(TENANT, "x", LIMIT, None)).total_count == 1
    assert len(await current_names(store)) == 5


async def all_pages(store: Store, first: int, data_source: str | None = None) -> list[Sequence[Session]]:
    pages: list[Sequence[Session]] = []
    after = None
    while True:
        page = await store.current_sessions(TENANT, data_source, first, after)
        assert len(page.cursors) == len(page.items) <= first
        pages.append(page.items)
        if not page.has_next:
            return pages
        after = page.cursors[-1]


@pytest.mark.parametrize("first", [1, 2, 3, 5, 10, 11])
async def test_pages_hold_every_session_once_whatever_their_size(store: Store, first: int) -> None:
    for n in range(10):
        # Several share a moment, so that pages break within it.
        await store.commit(created(f"s{n}", now=NOW + timedelta(seconds=n // 4), data_source="xy"[n % 2]))
    whole = (await store.current_sessions(TENANT, None, LIMIT, None)).items
    pages = await all_pages(store, first)
    assert [session for page in pages for session in page] == list(whole)
    assert len(pages) == -(-10 // first)
    of_source = [session for page in await all_pages(store, first, "x") for session in page]
    assert of_source == [session for session in whole if session.data_source == "x"]


async def test_pages_stay_right_while_sessions_come_and_go(store: Store) -> None:
    changes = [created(f"session {n}", now=NOW - timedelta(seconds=n)) for n in range(12)]
    for change in changes:
        await store.commit(change)
    seen: list[str] = []
    after = None
    for turn in range(4):
        page = await store.current_sessions(TENANT, None, 3, after)
        seen += [session.display_name for session in page.items]
        assert page.has_next == (turn < 3)
        after = page.cursors[-1]
        # A newer one, and the end of the very session that the cursor was made from.
        await store.commit(created(f"newer {turn}", now=NOW + timedelta(seconds=turn + 1)))
        await store.commit(ended(page.items[-1]))
    assert seen == [f"session {n}" for n in range(12)]


async def test_each_items_own_cursor_resumes_after_it(store: Store) -> None:
    for n in range(4):
        await store.commit(created(f"session {n}", now=NOW + timedelta(seconds=n)))
    whole = await store.current_sessions(TENANT, None, LIMIT, None)
    for index, cursor in enumerate(whole.cursors):
        rest = await store.current_sessions(TENANT, None, LIMIT, cursor)
        assert rest.items == whole.items[index + 1 :]
        assert (rest.has_next, rest.total_count) == (False, 4)


def altered(cursor: str, part: bytes, by: bytes) -> str:
    content = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert part in content
    return urlsafe_b64encode(content.replace(part, by)).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"x"',
        b"1",
        b"[1]",
        b'["CREATED_AT DESC",1,"y"]',
        b'["CREATED_AT DESC","x","y"]',
        b'["2026-03-01T00:00:00Z","a"]',
        b'["CREATED_AT DESC","2026-03-01T00:00:00Z"]',
        b'["CREATED_AT DESC","2026-03-01T00:00:00","a"]',
        b'["CREATED_AT DESC","0001-01-01T00:00:00+14:00","a"]',
        b'["CREATED_AT DESC","9999-12-31T23:59:59-14:00","a"]',
        b'["CREATED_AT DESC","2026-03-01T00:00:00Z","\\ud800"]',
        b'["CREATED_AT DESC","2026-03-01T00:00:00Z","\\u0000"]',
        b'["CREATED_AT DESC","2026-03-01T00:00:00Z",1]',
        b'["CREATED_AT DESC","2026-03-01T00:00:00Z","a",1]',
        b'["CREATED_AT ASC","2026-03-01T00:00:00Z","a"]',
        b'["DISPLAY_NAME DESC","2026-03-01T00:00:00Z","a"]',
        b"[" * 1_000,
        b"\xff\xfe",
    ],
)
async def test_what_holds_something_else_is_no_cursor(store: Store, content: bytes) -> None:
    await store.commit(created("a"))
    with pytest.raises(InvalidInput) as refused:
        await store.current_sessions(TENANT, None, 1, urlsafe_b64encode(content).rstrip(b"=").decode())
    assert refused.value.path == ("after",)


@pytest.mark.parametrize("text", ["", "a", "!", "é", "\ud800", "\0", "x" * 100_000, "None", "====", "ab cd"])
async def test_any_text_is_no_cursor(store: Store, text: str) -> None:
    await store.commit(created("a"))
    with pytest.raises(InvalidInput) as refused:
        await store.current_sessions(TENANT, None, 1, text)
    assert refused.value.path == ("after",)
    assert len(refused.value.message) < 200


async def test_a_cursor_cut_short_or_lengthened_is_none(store: Store) -> None:
    await store.commit(created("a"))
    (cursor,) = (await store.current_sessions(TENANT, None, 1, None)).cursors
    for text in (cursor[:-8], cursor + "AAAA", cursor * 2, altered(cursor, b"]", b"")):
        with pytest.raises(InvalidInput):
            await store.current_sessions(TENANT, None, 1, text)


# ── The journal as outbox ─────────────────────────────────────────────────────────────────────────────────────────


async def test_unrelayed_events_come_in_commit_order_whatever_their_times_and_tenants(store: Store) -> None:
    committed: list[SessionEvent] = []
    for n in range(6):
        change = created(f"session {n}", (TENANT, OTHER_TENANT)[n % 2], NOW - timedelta(seconds=n))
        await store.commit(change)
        committed += change.events
    assert await store.told() == committed
    assert [entry.event for entry in await store.journal.unrelayed(4)] == committed[:4]


async def test_relayed_events_do_not_come_back_and_marking_twice_is_harmless(store: Store) -> None:
    changes = [created(f"session {n}") for n in range(4)]
    for change in changes:
        await store.commit(change)
    positions = [entry.position for entry in await store.journal.unrelayed(LIMIT)]
    for _ in range(2):
        await store.journal.mark_relayed([positions[0], positions[2], positions[2], positions[-1] + 100])
        assert [entry.position for entry in await store.journal.unrelayed(LIMIT)] == [positions[1], positions[3]]
    await store.journal.mark_relayed([])
    await store.journal.mark_relayed(positions)
    assert await store.told() == []


async def test_a_relayed_event_stays_in_the_journal(store: Store) -> None:
    await store.commit(created("a"))
    (entry,) = await store.journal.unrelayed(LIMIT)
    await store.journal.mark_relayed([entry.position])
    assert await store.journal.entries_after(0, LIMIT) == [entry]


async def test_positions_rise_in_commit_order_among_concurrent_commits(database: Database, store: Store) -> None:
    finished: list[str] = []

    async def commit(change: SessionChange) -> None:
        await store.commit(change)
        finished.append(change.created[0].id)

    await asyncio.gather(*(commit(created(f"session {n}")) for n in range(20)))
    async with database.reading() as connection:
        rows = await connection.execute(select(SESSION_EVENT.c.session_id).order_by(SESSION_EVENT.c.position))
        assert [row.session_id for row in rows] == finished
