"""Schemas on every database: made, or upgraded with all that is in them, by one of many at once, or refused."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from subgraph.adapters.sql import migrations, schema_upgrade
from subgraph.adapters.sql.coverage_register import SqlCoverageRegister
from subgraph.adapters.sql.database import (
    DatabaseTooNew,
    DatabaseTooOld,
    DatabaseUnusable,
    migrate_database,
    open_database,
)
from subgraph.adapters.sql.fleet_register import SqlFleetRegister
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.tables import METADATA
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.sessions import SessionState
from tests.support.databases import (
    EMPTY_DATABASES,
    empty_postgres,
    execute_in,
    migrate_to,
    take_back_to,
)
from tests.support.opening_processes import incarnations_raised_at_once
from tests.support.warm_process import run_command

pytestmark = pytest.mark.anyio

REVISIONS = [
    script.revision
    for script in reversed(list(ScriptDirectory(str(Path(migrations.__file__).parent)).walk_revisions()))
]
FIRST = REVISIONS[0]
TENANT = TenantId("tenant")

OLD_ROWS = (
    """INSERT INTO session (id, tenant_id, owner_id, display_name, is_main, state, revision, type, version,
       utc_offset_microseconds, details_json, metadata_json, created_at, updated_at, ended_at) VALUES
       ('s1', 'tenant', 'ann', 'main', true, 'ACTIVE', 1, 'Session', 1, 0, '{"a":"b"}', '{}',
        '2026-03-01 12:00:00.000000', '2026-03-01 12:00:00.000000', NULL),
       ('s2', 'tenant', 'ann', 'ended', false, 'ENDED', 2, 'Session', 1, 0, '{}', '{"n":1}',
        '2026-03-01 12:00:00.000000', '2026-03-02 12:00:00.000000', '2026-03-02 12:00:00.000000')""",
    """INSERT INTO session_event (position, id, tenant_id, session_id, sequence, type, actor, occurred_at, relayed_at)
       VALUES (1, 's1/1', 'tenant', 's1', 1, 'SESSION_STARTED', 'ann', '2026-03-01 12:00:00.000000', NULL),
              (2, 's2/1', 'tenant', 's2', 1, 'SESSION_STARTED', 'ann', '2026-03-01 12:00:00.000000', NULL),
              (3, 's2/2', 'tenant', 's2', 2, 'SESSION_ENDED', 'bob', '2026-03-02 12:00:00.000000', NULL)""",
    "INSERT INTO fleet (id, incarnation) VALUES ('fleet', 7)",
)
"""What the first version may have left, in its own columns."""


@pytest.fixture(params=EMPTY_DATABASES, ids=lambda make_url: make_url.__name__)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    make_url: Callable[[Path], str] = request.param
    return make_url(tmp_path)


def insert_old_rows(connection: Connection) -> None:
    is_postgres = connection.dialect.name == "postgresql"
    for statement in OLD_ROWS:
        connection.exec_driver_sql(statement)
    if is_postgres:
        connection.execute(text("SELECT setval(pg_get_serial_sequence('session_event', 'position'), 3)"))


def append_entry(connection: Connection) -> int:
    """Append an entry to whichever version's journal; returns the position it was given."""
    values = {"tenant_id": "tenant", "session_id": "s1", "type": "SESSION_UPDATED", "actor": "ann"}
    values |= {"occurred_at": "2026-03-03 12:00:00.000000"}
    columns = {column["name"] for column in inspect(connection).get_columns("session_event")}
    values |= {name: value for name, value in {"id": str(uuid4()), "owner_id": "ann"}.items() if name in columns}
    quoted = ", ".join(f"'{value}'" for value in values.values())
    position: int = connection.exec_driver_sql(
        f"INSERT INTO session_event (sequence, {', '.join(values)})"
        f" SELECT coalesce(max(sequence), 0) + 1, {quoted} FROM session_event RETURNING position"
    ).scalar_one()
    return position


# ── Upgrades ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stop", REVISIONS)
async def test_what_the_first_version_wrote_is_there_after_upgrades_of_any_length(url: str, stop: str) -> None:
    await migrate_to(url, FIRST)
    await execute_in(url, insert_old_rows)
    await migrate_to(url, stop)

    database = await open_database(url)
    found = await SqlSessionStore(database).sessions(TENANT, [SessionId("s1"), SessionId("s2")])
    assert {(one.id, one.display_name, one.state, one.revision) for one in found.values()} == {
        ("s1", "main", SessionState.ACTIVE, 1),
        ("s2", "ended", SessionState.ENDED, 2),
    }
    assert found[SessionId("s1")].details == {"a": "b"}
    assert found[SessionId("s2")].metadata == {"n": 1}
    main = await SqlSessionStore(database).main_session(TENANT)
    assert main is not None
    assert main.id == "s1"

    entries = await SqlJournal(database).unrelayed(10)
    told = [(entry.position, entry.event.session_id, entry.sequence, entry.event.type.value) for entry in entries]
    assert told == [
        (1, "s1", 1, "SESSION_STARTED"),
        (2, "s2", 1, "SESSION_STARTED"),
        (3, "s2", 2, "SESSION_ENDED"),
    ]
    # What comes next is numbered behind what was there.
    await SqlJournal(database).append([entries[0].event])
    newest = (await SqlJournal(database).unrelayed(10))[-1]
    assert (newest.position, newest.event.session_id, newest.sequence) == (4, "s1", 2)

    assert await SqlFleetRegister(database).raise_incarnation("fleet") == 8
    assert (await SqlCoverageRegister(database, "fleet").of_session(SessionId("s1"))).parts == ()
    await database.close()


@pytest.mark.parametrize("goes_first", [False, True], ids=["newest stays", "newest is gone"])
async def test_positions_go_on_above_the_highest_ever_after_upgrades_and_downgrades(url: str, goes_first: bool) -> None:
    await migrate_to(url, FIRST)
    await execute_in(url, insert_old_rows)
    highest = 3
    for move, revision in ((migrate_to, "0005_journal"), (take_back_to, FIRST), (migrate_to, "head")):
        if goes_first:
            await execute_in(url, lambda it: it.execute(text("DELETE FROM session_event")))
        await move(url, revision)
        highest += 1
        assert await execute_in(url, append_entry) == highest
    database = await open_database(url)
    assert await SqlJournal(database).highest_position() == highest
    await database.close()


async def test_on_postgresql_a_sequence_that_was_left_behind_its_table_catches_up(tmp_path: Path) -> None:
    url = empty_postgres(tmp_path)
    await migrate_to(url, FIRST)
    await execute_in(url, insert_old_rows)
    behind = text("ALTER SEQUENCE session_event_position_seq RESTART")
    await execute_in(url, lambda it: it.execute(behind))
    await migrate_to(url, "head")
    assert await execute_in(url, append_entry) == 4


async def test_of_names_that_become_the_same_by_an_upgrade_the_main_holds_its_own(url: str) -> None:
    def insert_another(connection: Connection) -> None:
        insert_old_rows(connection)
        connection.exec_driver_sql(
            """INSERT INTO session (id, tenant_id, owner_id, display_name, is_main, state, revision, type, version,
               utc_offset_microseconds, details_json, metadata_json, created_at, updated_at) VALUES
               ('s0', 'tenant', 'ann', ' main', false, 'ACTIVE', 1, 'Session', 1, 0, '{}', '{}',
                '2026-03-01 12:00:00.000000', '2026-03-01 12:00:00.000000')"""
        )

    await migrate_to(url, FIRST)
    await execute_in(url, insert_another)
    database = await open_database(url)
    found = await SqlSessionStore(database).sessions(TENANT, [SessionId("s0"), SessionId("s1")])
    named = {one.id: (one.display_name, one.holds_name) for one in found.values()}
    assert named == {"s0": ("main", False), "s1": ("main", True)}
    await database.close()


async def test_processes_that_start_at_once_upgrade_an_old_database_once(url: str) -> None:
    await migrate_to(url, FIRST)
    await execute_in(url, insert_old_rows)
    assert await incarnations_raised_at_once(url) == [8, 9, 10, 11]


async def test_an_upgrade_that_fails_half_way_leaves_the_database_as_it_was(url: str) -> None:
    await migrate_to(url, FIRST)
    await execute_in(url, insert_old_rows)
    # In the way of a later step.
    await execute_in(url, lambda it: it.execute(text("CREATE TABLE assignment_history (theirs INTEGER)")))
    with pytest.raises(DatabaseUnusable, match="assignment_history"):
        await open_database(url)
    await execute_in(url, lambda it: it.execute(text("DROP TABLE assignment_history")))
    step = await migrate_database(url)
    assert (step.before, step.after) == (FIRST, schema_upgrade.HEAD_REVISION)


# ── Refusals ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_without_migration_an_empty_and_an_older_database_are_refused_and_a_current_one_opens(url: str) -> None:
    with pytest.raises(DatabaseTooOld, match=f"empty.*{schema_upgrade.HEAD_REVISION}.*session-manager migrate"):
        await open_database(url, migrate=False)
    await migrate_to(url, FIRST)
    with pytest.raises(DatabaseTooOld, match=f"{FIRST}.*{schema_upgrade.HEAD_REVISION}.*session-manager migrate"):
        await open_database(url, migrate=False)
    assert (await migrate_database(url)).before == FIRST
    await (await open_database(url, migrate=False)).close()


async def test_a_newer_versions_database_is_refused_with_both_revisions(url: str) -> None:
    await migrate_database(url)
    await execute_in(url, lambda it: it.execute(text("UPDATE alembic_version SET version_num = '9999_future'")))
    with pytest.raises(DatabaseTooNew, match=f"9999_future.*{schema_upgrade.HEAD_REVISION}"):
        await open_database(url)


async def test_somebody_elses_tables_of_the_same_names_are_left_alone(url: str) -> None:
    await execute_in(url, lambda it: it.execute(text("CREATE TABLE session (theirs INTEGER)")))
    with pytest.raises(DatabaseUnusable, match="something else's tables"):
        await open_database(url)
    await execute_in(url, lambda it: it.execute(text("SELECT theirs FROM session")))


async def test_on_postgresql_tables_of_others_may_stand_beside_ours(tmp_path: Path) -> None:
    url = empty_postgres(tmp_path)
    await execute_in(url, lambda it: it.execute(text("CREATE TABLE theirs (n INTEGER)")))
    await (await open_database(url)).close()
    await (await open_database(url)).close()


# ── The command ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_command_migrates_and_says_from_where_to_where(url: str) -> None:
    await migrate_to(url, FIRST)
    made = await asyncio.to_thread(run_command, "migrate", "--database-url", url)
    assert made.returncode == 0, made.stderr
    assert made.stdout.rstrip().endswith(f": {FIRST} → {schema_upgrade.HEAD_REVISION}")
    again = await asyncio.to_thread(run_command, "migrate", "--database-url", url)
    assert again.stdout.rstrip().endswith(f"is at {schema_upgrade.HEAD_REVISION} already.")


def test_the_command_makes_the_embedded_database_and_serve_refuses_an_older_one_if_told_so(tmp_path: Path) -> None:
    refused = run_command("serve", "--port", "0", "--data-dir", str(tmp_path), "--migrate-on-start", "false")
    assert refused.returncode == 1
    assert "session-manager migrate" in refused.stderr
    made = run_command("migrate", "--data-dir", str(tmp_path))
    assert made.stdout.rstrip().endswith(f": empty → {schema_upgrade.HEAD_REVISION}")


def test_the_command_refuses_in_one_line_without_the_password() -> None:
    refused = run_command("migrate", "--database-url", "postgresql://ann:secret@127.0.0.1:1/sessions")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "secret" not in refused.stderr


# ── Their shape ───────────────────────────────────────────────────────────────────────────────────────────────────

COLUMNS = """
SELECT table_name AS name, concat_ws(' ', column_name, data_type, collation_name, is_nullable, column_default) AS part
FROM information_schema.columns WHERE table_schema = current_schema()
"""
INDEXES = "SELECT tablename AS name, indexdef AS part FROM pg_indexes WHERE schemaname = current_schema()"
CONSTRAINTS = """
SELECT conrelid::regclass::text AS name, conname || ' ' || pg_get_constraintdef(oid) AS part
FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
"""


async def test_on_postgresql_too_a_new_database_is_exactly_what_all_migrations_make(tmp_path: Path) -> None:
    def structure(connection: Connection) -> dict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for query in (COLUMNS, INDEXES, CONSTRAINTS):
            for row in connection.execute(text(query)):
                found[row.name].append(re.sub(r"\s+", " ", row.part))
        return {name: sorted(parts) for name, parts in found.items()}

    new, migrated = empty_postgres(tmp_path), empty_postgres(tmp_path)
    await migrate_database(new)
    await migrate_to(migrated, schema_upgrade.HEAD_REVISION)
    made = await execute_in(new, structure)
    assert made == await execute_in(migrated, structure)
    assert made.keys() > METADATA.tables.keys()
