"""Sessions found by what they bear, and listed, on every database: from an index, in every order, while others come."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, text

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.rows import session_values
from subgraph.adapters.sql.session_directory import SqlSessionDirectory, page_statement
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.tables import SESSION
from subgraph.domain import sessions
from subgraph.domain.errors import InvalidInput, NameTaken
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.naming import search_text
from subgraph.domain.new_session import NewSession
from subgraph.domain.session_list import SessionList, SessionOrder, SessionOrderField
from subgraph.domain.session_ref import RefKind
from subgraph.domain.sessions import Session, SessionChange, SessionState
from tests.support.explained import plan_of

pytestmark = pytest.mark.anyio

TENANT, OTHER_TENANT = TenantId("tenant"), TenantId("other tenant")
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ACTIVE, ENDED, EXPIRED, DELETED = SessionState
ALL_STATES = frozenset(SessionState)
LIMIT = 1_000
ORDERS = [SessionOrder(field, is_descending) for field in SessionOrderField for is_descending in (True, False)]


@pytest.fixture
def store(database: Database) -> SqlSessionStore:
    return SqlSessionStore(database)


@pytest.fixture
def directory(database: Database) -> SqlSessionDirectory:
    return SqlSessionDirectory(database)


def session(number: int, name: str | None = None, **changes: Any) -> Session:
    """A session whose id ends in the number, created so many minutes ago."""
    wanted = NewSession(display_name=name or f"session {number}")
    (made,) = sessions.create(wanted, TENANT, "ann", NOW - timedelta(minutes=number)).created
    made = replace(made, id=SessionId(f"00000000-0000-4000-8000-{number:012}"))
    return replace(made, **changes)


async def write(store: SqlSessionStore, *written: Session) -> None:
    await store.commit(SessionChange(created=written))


async def names(directory: SqlSessionDirectory, wanted: SessionList) -> list[str]:
    return [one.display_name for one in (await directory.page(wanted, LIMIT, None)).items]


def listed(**conditions: Any) -> SessionList:
    return replace(SessionList(TENANT, ALL_STATES, NOW), **conditions)


# ── By what they bear ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [RefKind.EXTERNAL_ID, RefKind.DISPLAY_NAME])
async def test_sessions_are_found_by_what_they_bear_unless_they_are_deleted_or_anothers(
    store: SqlSessionStore, directory: SqlSessionDirectory, kind: RefKind
) -> None:
    bearing: dict[str, Any] = {"display_name": "x", "external_id": "x", "holds_name": False}
    of_ann, of_bob = session(2, **bearing), session(1, owner_id="bob", **bearing)
    deleted = session(3, state=DELETED, deleted_at=NOW, **bearing)
    foreign = session(4, tenant_id=OTHER_TENANT, **bearing)
    await write(store, of_ann, of_bob, deleted, foreign, session(5, external_id="y"))
    assert await directory.bearing(TENANT, kind, "x", None, LIMIT) == [of_ann, of_bob]
    assert await directory.bearing(TENANT, kind, "x", "bob", LIMIT) == [of_bob]
    assert await directory.bearing(TENANT, kind, "x", None, 1) == [of_ann]
    for absent in ("X", "x ", "%", "", "\ud800", "\0"):
        assert await directory.bearing(TENANT, kind, absent, None, LIMIT) == []


async def test_names_that_sessions_bear_are_taken_unless_they_are_deleted(
    store: SqlSessionStore, directory: SqlSessionDirectory
) -> None:
    held, shared = session(1, "held"), session(2, "shared", holds_name=False)
    deleted = session(3, "deleted", state=DELETED, deleted_at=NOW)
    await write(store, held, shared, deleted, session(4, "foreign", tenant_id=OTHER_TENANT))
    asked = ["held", "shared", "deleted", "foreign", "free", "\0", *(f"name {n}" for n in range(12_000))]
    assert await directory.taken_names(TENANT, asked) == {"held", "shared"}
    assert await directory.taken_names(TENANT, []) == set()


@pytest.mark.requirement("Soft delete (deletedAt, deletedBy, partial index); dual id: externalId")
async def test_an_external_id_is_unique_per_tenant_and_owner_among_undeleted(store: SqlSessionStore) -> None:
    first = session(1, external_id="x")
    await write(store, first)
    with pytest.raises(NameTaken) as refused:
        await write(store, session(2, external_id="x"))
    assert (refused.value.conflicting_id, refused.value.path) == (first.id, ("externalId",))
    await write(
        store,
        session(3, external_id="x", owner_id="bob"),
        session(4, external_id="x", tenant_id=OTHER_TENANT),
        session(5, external_id="x", state=DELETED, deleted_at=NOW),
        session(6),
        session(7),
    )


async def test_a_name_is_held_once_may_be_shared_and_is_free_after_a_deletion(store: SqlSessionStore) -> None:
    holder = session(1, "x")
    await write(store, holder, session(2, "x", holds_name=False), session(3, "x", holds_name=False))
    with pytest.raises(NameTaken) as refused:
        await write(store, session(4, "x"))
    assert refused.value.conflicting_id == holder.id
    deleted = replace(holder, state=DELETED, deleted_at=NOW, revision=2)
    await store.commit(SessionChange(updated=(deleted,)))
    await write(store, session(4, "x"))
    restored = replace(deleted, state=ACTIVE, deleted_at=None, revision=3)
    with pytest.raises(NameTaken) as refused:
        await store.commit(SessionChange(updated=(restored,)))
    assert refused.value.conflicting_id == session(4).id
    found = await store.sessions(TENANT, [session(2).id, session(4).id])
    assert [found[one].holds_name for one in (session(2).id, session(4).id)] == [False, True]


# ── Filters ───────────────────────────────────────────────────────────────────────────────────────────────────────

FILTERED = (
    session(1, "Grand Prix", data_source="a", details={"k": "v", "other": ""}),
    session(2, "STRASSE", data_source="A", details={"other": "", "k": "v"}),
    session(3, "100%", type="Replay", details={'x","k': "v", "k": "v2"}),
    session(4, "a_b", owner_id="bob", details={"k": 'v","other":"x'}),
    session(5, "Zürich", last_active_at=NOW, details={'q"\\': "\u2028\n"}),
    session(6, "ended", state=ENDED, ended_at=NOW),
    session(7, "swept", state=EXPIRED, expires_at=NOW - timedelta(days=1)),
    session(8, "run out", expires_at=NOW),
    session(9, "runs out", expires_at=NOW + timedelta(microseconds=1)),
    session(10, "deleted", state=DELETED, deleted_at=NOW),
    session(11, "foreign", tenant_id=OTHER_TENANT),
)
ALIVE = {"Grand Prix", "STRASSE", "100%", "a_b", "Zürich", "runs out"}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"states": {ACTIVE}}, ALIVE),
        ({"states": {ENDED}}, {"ended"}),
        ({"states": {EXPIRED}}, {"swept", "run out"}),
        ({"states": {DELETED}}, {"deleted"}),
        ({"states": {ACTIVE, ENDED}}, ALIVE | {"ended"}),
        ({"states": {ACTIVE, EXPIRED}}, ALIVE | {"swept", "run out"}),
        ({}, ALIVE | {"ended", "swept", "run out", "deleted"}),
        ({"data_source": "a"}, {"Grand Prix"}),
        ({"type": "Replay"}, {"100%"}),
        ({"owner_id": "bob"}, {"a_b"}),
        ({"name_contains": search_text("strasse")}, {"STRASSE"}),
        ({"name_contains": search_text("R")}, {"Grand Prix", "STRASSE", "Zürich", "run out", "runs out"}),
        ({"name_contains": "%"}, {"100%"}),
        ({"name_contains": "_"}, {"a_b"}),
        ({"name_contains": search_text("U\u0308R")}, {"Zürich"}),
        ({"detail": ("k", "v")}, {"Grand Prix", "STRASSE"}),
        ({"detail": ("other", "")}, {"Grand Prix", "STRASSE"}),
        ({"detail": ("other", "x")}, set()),
        ({"detail": ('x","k', "v")}, {"100%"}),
        ({"detail": ('q"\\', "\u2028\n")}, {"Zürich"}),
        ({"detail": ("k", "")}, set()),
        ({"active_since": NOW}, {"Zürich"}),
        ({"created_after": NOW - timedelta(minutes=2)}, {"Grand Prix", "STRASSE"}),
        ({"created_before": NOW - timedelta(minutes=9)}, {"deleted"}),
        ({"owner_id": "bob", "states": {ENDED}}, set()),
    ],
)
async def test_a_list_holds_what_matches_and_counts_it(
    store: SqlSessionStore, directory: SqlSessionDirectory, conditions: dict[str, object], expected: set[str]
) -> None:
    await write(store, *FILTERED)
    wanted = listed(**conditions)
    assert set(await names(directory, wanted)) == expected
    assert await directory.count(wanted, LIMIT) == len(expected)


async def test_a_list_beyond_the_limit_is_not_counted(store: SqlSessionStore, directory: SqlSessionDirectory) -> None:
    await write(store, *(session(n) for n in range(3)), session(3, state=ENDED, ended_at=NOW))
    assert [await directory.count(listed(), most) for most in (2, 3, 4, 5)] == [None, None, 4, 4]
    assert [await directory.count(listed(states={ACTIVE}), most) for most in (2, 3)] == [None, 3]


# ── Orders and pages ──────────────────────────────────────────────────────────────────────────────────────────────


def shuffled(count: int) -> list[Session]:
    """Sessions of all states with many ties in every order."""
    made = []
    for n in range(count):
        state = list(SessionState)[n % 4]
        made.append(
            session(
                n,
                ["a", "B", "ä", "Z", "z", "É", "雪"][n % 7],
                holds_name=False,
                created_at=NOW + timedelta(microseconds=n * 7 % 5),
                updated_at=NOW + timedelta(microseconds=n * 5 % 3),
                last_active_at=NOW + timedelta(microseconds=n * 3 % 4),
                state=state,
                deleted_at=NOW if state is DELETED else None,
                expires_at=NOW + timedelta(days=1),
            )
        )
    return made


def in_order(written: list[Session], order: SessionOrder) -> list[Session]:
    def key(one: Session) -> tuple[object, str]:
        return getattr(one, order.field.value.lower()), one.id

    return sorted(written, key=key, reverse=order.is_descending)


@pytest.mark.parametrize("order", ORDERS, ids=str)
async def test_pages_hold_every_session_once_in_every_order_whatever_their_size(
    store: SqlSessionStore, directory: SqlSessionDirectory, order: SessionOrder
) -> None:
    written = shuffled(23)
    await write(store, *written)
    wanted = listed(order=order)
    for first in (1, 2, 7, 22, 23, 24):
        found: list[Session] = []
        after, has_next = None, True
        while has_next:
            page = await directory.page(wanted, first, after)
            found += page.items
            has_next, after = page.has_next, page.cursors[-1]
        assert [one.id for one in found] == [one.id for one in in_order(written, order)]


@pytest.mark.parametrize("order", ORDERS, ids=str)
async def test_a_cursor_is_good_for_its_own_order_only(
    store: SqlSessionStore, directory: SqlSessionDirectory, order: SessionOrder
) -> None:
    await write(store, session(1))
    ((cursor),) = (await directory.page(listed(order=order), 1, None)).cursors
    for other in ORDERS:
        if other != order:
            with pytest.raises(InvalidInput) as refused:
                await directory.page(listed(order=other), 1, cursor)
            assert refused.value.path == ("after",)


async def test_the_longest_name_fits_into_a_cursor(store: SqlSessionStore, directory: SqlSessionDirectory) -> None:
    order = SessionOrder(SessionOrderField.DISPLAY_NAME, is_descending=False)
    await write(store, session(1, "!" * 200), session(2, "𝄞" * 200))
    page = await directory.page(listed(order=order), 1, None)
    assert (await directory.page(listed(order=order), 1, page.cursors[0])).items[0].id == session(2).id


async def test_pages_stay_right_while_sessions_come_change_and_go(
    store: SqlSessionStore, directory: SqlSessionDirectory
) -> None:
    written = [session(n) for n in range(12)]
    await write(store, *written)
    wanted, seen, after = listed(states={ACTIVE}), list[str](), None
    for turn in range(4):
        page = await directory.page(wanted, 3, after)
        seen += [one.id for one in page.items]
        after = page.cursors[-1]
        # A newer one, a deletion of the one that the cursor was made from, and a rename of one that is to come.
        await write(store, session(100 + turn, created_at=NOW + timedelta(hours=turn)))
        gone = replace(page.items[-1], state=DELETED, deleted_at=NOW, revision=page.items[-1].revision + 1)
        to_come = [replace(one, display_name=f"renamed {turn}", revision=2 + turn) for one in written[11:] if turn < 3]
        await store.commit(SessionChange(updated=(gone, *to_come)))
    assert seen == [one.id for one in written]


# ── From the index ────────────────────────────────────────────────────────────────────────────────────────────────

ROWS, PAGE = 8_000, 21


@pytest.fixture
async def many(database: Database) -> Database:
    """A database of so many sessions that reading them all is no plan."""
    template = session_values(session(0))
    rows = [
        {
            **template,
            "id": f"{n:012}",
            "display_name": f"name {n:012}",
            "unique_name": None,
            "tenant_id": (TENANT, OTHER_TENANT)[n % 2],
            "owner_id": f"owner {n % 40}",
            "data_source": f"source {n % 40}",
            "state": ("ACTIVE", "ENDED", "EXPIRED")[n // 100 % 3],
            **dict.fromkeys(("created_at", "updated_at", "last_active_at"), NOW + timedelta(seconds=n)),
        }
        for n in range(ROWS)
    ]
    async with database.writing() as connection:
        await connection.execute(insert(SESSION), rows)
    async with database.writing() as connection:
        await connection.execute(text("ANALYZE session" if connection.dialect.name == "postgresql" else "ANALYZE"))
    return database


INDEX_OF = {
    SessionOrderField.CREATED_AT: "ix_session_created",
    SessionOrderField.UPDATED_AT: "ix_session_updated",
    SessionOrderField.LAST_ACTIVE_AT: "ix_session_last_active",
    SessionOrderField.DISPLAY_NAME: "ix_session_name",
}


async def test_every_page_of_every_order_is_read_from_its_index_and_nothing_is_passed_over(many: Database) -> None:
    directory = SqlSessionDirectory(many)
    for order in ORDERS:
        for conditions in ({}, {"owner_id": "owner 2"}, {"data_source": "source 2"}):
            if conditions and order.field is not SessionOrderField.CREATED_AT:
                continue
            index = {"owner_id": "ix_session_of_owner", "data_source": "ix_session_of_data_source"}
            expected = next((index[name] for name in conditions), INDEX_OF[order.field])
            wanted = listed(order=order, states={ENDED}, **conditions)
            page = await directory.page(wanted, 15, None)
            for after in (None, page.cursors[-1]):
                async with many.reading() as connection:
                    plan = await plan_of(connection, page_statement(wanted, PAGE, after))
                _assert_read_from(expected, plan, has_cursor=after is not None)


async def test_a_page_of_several_states_reads_no_more_than_a_page_of_each(many: Database) -> None:
    wanted = listed(states={ACTIVE, ENDED})
    async with many.reading() as connection:
        plan = await plan_of(connection, page_statement(wanted, PAGE, None))
    visits = [line for line in plan if "ix_session_created" in line]
    assert len(visits) == 2
    assert not any("Seq Scan" in line or line.startswith("SCAN session") for line in plan)
    assert all(int(rows) <= PAGE for line in visits for rows in re.findall(r"rows=(\d+)", line))


def _assert_read_from(index: str, plan: list[str], *, has_cursor: bool) -> None:
    if not any("actual" in line for line in plan):
        (line,) = plan  # SQLite: no sorting, which would be a second line
        assert line.startswith(f"SEARCH session USING INDEX {index} (tenant_id=? AND ")
        assert line.count("(") == (3 if has_cursor else 1), line
        return
    assert not any("Sort" in line or "Seq Scan" in line for line in plan), plan
    (visit,) = (line for line in plan if "Scan" in line)
    assert f"using {index} on session" in visit
    assert not any("Rows Removed by Filter" in line for line in plan), plan
    (rows,) = re.findall(r"rows=(\d+)", visit)
    assert int(rows) <= PAGE
