"""Owns the SQL tables: columns, keys and indexes. The migrations build the same; a test compares them."""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TextClause,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeEngine
from sqlmodel import Field, SQLModel

from subgraph.domain.journal import COME_BY_THEMSELVES

JournalPosition = BigInteger().with_variant(Integer, "sqlite")
"""SQLite hands out rising row ids only to a column declared INTEGER."""


class UtcDateTime(TypeDecorator[datetime]):
    """An instant to the microsecond: written as UTC, read timezone-aware on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The instant in UTC, because SQLite drops the zone."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The instant with its zone, which SQLite does not return."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class NameText(TypeDecorator[str]):
    """A text that is ordered by code points on every database."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """SQLite orders texts so by itself; PostgreSQL would as people of some country do."""
        return dialect.type_descriptor(String(collation="C" if dialect.name == "postgresql" else None))


_NOT_DELETED = "deleted_at IS NULL"
CAME_BY_ITSELF = f"type IN ({', '.join(repr(one.value) for one in sorted(COME_BY_THEMSELVES))})"
"""The condition of an index: only who asks with these very words is answered from it."""


def _partial(name: str, *columns: str | TextClause, where: str, unique: bool = False) -> Index:
    """An index of the rows that a condition holds for, on every database."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


class SqlTable(SQLModel, registry=registry(metadata=MetaData())):
    """The base of this project's tables, with metadata of their own: other users of SQLModel stay apart."""


class SessionRow(SqlTable, table=True):
    """One session."""

    __tablename__ = "session"
    __table_args__ = (
        # What is deleted, or may share its name, holds none: it stands in nobody's way.
        _partial("uq_session_tenant_id_name", "tenant_id", "unique_name", where="unique_name IS NOT NULL", unique=True),
        # Unique per owner; the owner comes last, because who sees all of a tenant asks for no owner.
        _partial(
            "uq_session_external_id",
            "tenant_id",
            "external_id",
            "owner_id",
            where=f"external_id IS NOT NULL AND {_NOT_DELETED}",
            unique=True,
        ),
        # One live world per tenant, whoever races.
        Index(
            "uq_session_tenant_id_main",
            "tenant_id",
            unique=True,
            sqlite_where=text("is_main = 1"),
            postgresql_where=text("is_main"),
        ),
        # Each state's sessions lie in the order of a list, to be read forwards or backwards.
        Index("ix_session_created", "tenant_id", "state", "created_at", "id"),
        Index("ix_session_updated", "tenant_id", "state", "updated_at", "id"),
        Index("ix_session_last_active", "tenant_id", "state", "last_active_at", "id"),
        Index("ix_session_name", "tenant_id", "state", "display_name", "id"),
        Index("ix_session_of_owner", "tenant_id", "owner_id", "state", "created_at", "id"),
        Index("ix_session_of_data_source", "tenant_id", "state", "data_source", "created_at", "id"),
        # What the sweeps look for, of all tenants: sessions whose time runs out, and those that retention ends.
        _partial("ix_session_expiring", "expires_at", "id", where="state = 'ACTIVE' AND expires_at IS NOT NULL"),
        _partial("ix_session_stopped", "stopped_at", "id", where="stopped_at IS NOT NULL"),
        _partial(
            "ix_session_ticking",
            "next_tick_at",
            "id",
            where="state = 'ACTIVE' AND tick_interval_microseconds IS NOT NULL",
        ),
    )

    id: str = Field(primary_key=True)
    tenant_id: str
    owner_id: str
    display_name: str = Field(sa_type=NameText)
    is_main: bool
    state: str
    revision: int
    data_source: str | None
    type: str
    version: int
    utc_offset_microseconds: int = Field(sa_type=BigInteger)
    details_json: str = Field(sa_type=Text)
    metadata_json: str = Field(sa_type=Text)
    required_labels_json: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "{}"})
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(sa_type=UtcDateTime)
    last_sequence: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    external_id: str | None
    title: str | None
    last_active_at: datetime = Field(
        sa_type=UtcDateTime, sa_column_kwargs={"server_default": "1970-01-01 00:00:00.000000"}
    )
    expiry_policy: str = Field(sa_column_kwargs={"server_default": "NEVER"})
    ttl_microseconds: int | None = Field(sa_type=BigInteger)
    expires_at: datetime | None = Field(sa_type=UtcDateTime)
    stopped_at: datetime | None = Field(sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(sa_type=UtcDateTime)
    deleted_by: str | None
    copied_from: str | None
    context_json: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "{}"})
    max_history: int = Field(sa_column_kwargs={"server_default": "500"})
    token_budget: int | None = Field(sa_type=BigInteger)
    tick_interval_microseconds: int | None = Field(sa_type=BigInteger)
    next_tick_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    unique_name: str | None
    search_name: str = Field(sa_column_kwargs={"server_default": ""})


class SessionEventRow(SqlTable, table=True):
    """One journal entry, which is also an outbox entry while `relayed_at` is null. `position` rises in commit order.

    It outlives its session: what a purge leaves is the tenant's record of it.
    """

    __tablename__ = "session_event"
    __table_args__ = (
        UniqueConstraint("session_id", "sequence", name="uq_session_event_session_id_sequence"),
        Index("ix_session_event_session", "session_id", "position"),
        Index("ix_session_event_tenant", "tenant_id", "position"),
        Index(
            "ix_session_event_unrelayed",
            "position",
            sqlite_where=text("relayed_at IS NULL"),
            postgresql_where=text("relayed_at IS NULL"),
        ),
        _partial("ix_session_event_by_itself", "occurred_at", "position", where=CAME_BY_ITSELF),
        # A position is a cursor: it must not come back after the newest entry was purged.
        {"sqlite_autoincrement": True},
    )

    position: int | None = Field(default=None, sa_column=Column(JournalPosition, primary_key=True))
    tenant_id: str
    session_id: str
    owner_id: str
    sequence: int = Field(sa_type=BigInteger)
    type: str
    actor: str | None
    agent_id: str | None
    run_id: str | None
    occurred_at: datetime = Field(sa_type=UtcDateTime)
    data_source: str | None
    message: str | None
    payload_json: str | None = Field(sa_type=Text)
    relayed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class IdempotencyKeyRow(SqlTable, table=True):
    """A key that came with a mutation, what was asked with it, and the session that came of it."""

    __tablename__ = "idempotency_key"
    __table_args__ = (Index("ix_idempotency_key_created_at", "created_at"), {"sqlite_with_rowid": False})

    tenant_id: str = Field(primary_key=True)
    owner_id: str = Field(primary_key=True)
    operation: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    fingerprint: str
    session_id: str
    created_at: datetime = Field(sa_type=UtcDateTime)


class SessionAssociationRow(SqlTable, table=True):
    """One session is an associate of another one, its parent."""

    __tablename__ = "session_association"
    __table_args__ = (Index("ix_session_association_associate_id", "associate_id"), {"sqlite_with_rowid": False})

    parent_id: str = Field(primary_key=True, foreign_key="session.id", ondelete="CASCADE")
    associate_id: str = Field(primary_key=True, foreign_key="session.id", ondelete="CASCADE")


class FleetRow(SqlTable, table=True):
    """What of a fleet outlives Redis. Of its log, the journal has told up to an entry of a version."""

    __tablename__ = "fleet"

    id: str = Field(primary_key=True)
    incarnation: int = Field(sa_type=BigInteger)
    told_version: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    told_entry: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})


class RegisteredCellsRow(SqlTable, table=True):
    """Cells of a session that were registered alike; a session's newest `position` is its coverage's revision."""

    __tablename__ = "registered_cells"
    __table_args__ = (
        Index("ix_registered_cells_session_id", "session_id", "fleet_id"),
        # A revision must not come back after the newest row was replaced.
        {"sqlite_autoincrement": True},
    )

    position: int | None = Field(default=None, sa_column=Column(JournalPosition, primary_key=True))
    fleet_id: str
    session_id: str = Field(foreign_key="session.id", ondelete="CASCADE")
    cell_count: int
    cells: bytes = Field(sa_type=LargeBinary)
    template_json: str = Field(sa_type=Text)


class AssignmentHistoryRow(SqlTable, table=True):
    """One term of ownership as of the change of `version`; times are Redis time, milliseconds."""

    __tablename__ = "assignment_history"
    __table_args__ = (
        Index("ix_assignment_history_tile", "fleet_id", "session_id", "cell", "epoch"),
        Index("ix_assignment_history_session", "fleet_id", "session_id", "assigned_at_ms", "epoch"),
        Index("ix_assignment_history_pod", "fleet_id", "pod_id", "assigned_at_ms", "epoch"),
        Index("ix_assignment_history_time", "fleet_id", "assigned_at_ms", "epoch"),
        # Null while a term lives: also what the living ones are found by.
        Index("ix_assignment_history_end", "fleet_id", "ended_at_ms", "epoch"),
        # Terms come in the order of their epochs, so they are written at the end of the table itself. The fleet comes
        # second in the key: SQLite would take its first column for selective, and read a tile's terms from it.
        {"sqlite_with_rowid": False},
    )

    epoch: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    fleet_id: str = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    tenant_id: str
    session_id: str
    cell: int = Field(sa_type=BigInteger)
    pod_id: str
    reason: str
    state: str
    pinned: bool
    load: float
    assigned_at_ms: int = Field(sa_type=BigInteger)
    acknowledged_at_ms: int | None = Field(sa_type=BigInteger)
    ended_at_ms: int | None = Field(sa_type=BigInteger)


METADATA: MetaData = SqlTable.metadata
SESSION: Table = METADATA.tables["session"]
SESSION_ASSOCIATION: Table = METADATA.tables["session_association"]
SESSION_EVENT: Table = METADATA.tables["session_event"]
IDEMPOTENCY_KEY: Table = METADATA.tables["idempotency_key"]
FLEET: Table = METADATA.tables["fleet"]
REGISTERED_CELLS: Table = METADATA.tables["registered_cells"]
ASSIGNMENT_HISTORY: Table = METADATA.tables["assignment_history"]
