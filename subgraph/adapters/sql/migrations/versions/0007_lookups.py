"""How sessions are found: names that may be shared, lists in four orders, and keys that make a mutation happen once."""

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0007_lookups"
down_revision = "0006_session_lifetime"
branch_labels = None
depends_on = None

NEWEST_FIRST = sa.text("created_at DESC")
NOT_DELETED = "deleted_at IS NULL"
ALIASED = f"external_id IS NOT NULL AND {NOT_DELETED}"
UNIQUE_INDEXES = {
    "uq_session_tenant_id_name": ("unique_name IS NOT NULL", ["tenant_id", "unique_name"]),
    "uq_session_external_id": (ALIASED, ["tenant_id", "external_id", "owner_id"]),
}
INDEXES = {
    "ix_session_created": ["tenant_id", "state", "created_at", "id"],
    "ix_session_updated": ["tenant_id", "state", "updated_at", "id"],
    "ix_session_last_active": ["tenant_id", "state", "last_active_at", "id"],
    "ix_session_name": ["tenant_id", "state", "display_name", "id"],
    "ix_session_of_owner": ["tenant_id", "owner_id", "state", "created_at", "id"],
    "ix_session_of_data_source": ["tenant_id", "state", "data_source", "created_at", "id"],
}
FORMER_INDEXES: dict[str, tuple[str | None, list[str | sa.TextClause]]] = {
    "ix_session_current": (None, ["tenant_id", "state", NEWEST_FIRST, "id"]),
    "ix_session_current_of_data_source": (None, ["tenant_id", "state", "data_source", NEWEST_FIRST, "id"]),
    "ix_session_created": (NOT_DELETED, ["tenant_id", NEWEST_FIRST, "id"]),
    "ix_session_of_owner": (NOT_DELETED, ["tenant_id", "owner_id", NEWEST_FIRST, "id"]),
    "ix_session_updated": (NOT_DELETED, ["tenant_id", sa.text("updated_at DESC"), "id"]),
    "ix_session_last_active": (NOT_DELETED, ["tenant_id", sa.text("last_active_at DESC"), "id"]),
    "uq_session_tenant_id_display_name": (NOT_DELETED, ["tenant_id", "display_name"]),
    "uq_session_tenant_id_owner_id_external_id": (ALIASED, ["tenant_id", "owner_id", "external_id"]),
}
ROWS_PER_STEP = 1_000


def upgrade() -> None:
    """Bring the names to their normal form; of two that become the same by it, the later one is shared."""
    op.add_column("session", sa.Column("unique_name", sa.String()))
    op.add_column("session", sa.Column("search_name", sa.String(), nullable=False, server_default=""))
    for name in FORMER_INDEXES:
        op.drop_index(name, "session")
    if op.get_bind().dialect.name == "postgresql":
        op.execute('ALTER TABLE session ALTER COLUMN display_name TYPE VARCHAR COLLATE "C"')
    _name_sessions(op.get_bind())
    for name, columns in INDEXES.items():
        op.create_index(name, "session", columns)
    for name, (where, columns) in UNIQUE_INDEXES.items():
        rows = sa.text(where)
        op.create_index(name, "session", columns, unique=True, sqlite_where=rows, postgresql_where=rows)
    op.create_table(
        "idempotency_key",
        sa.Column("tenant_id", sa.String(), primary_key=True),
        sa.Column("owner_id", sa.String(), primary_key=True),
        sa.Column("operation", sa.String(), primary_key=True),
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_idempotency_key_created_at", "idempotency_key", ["created_at"])


def downgrade() -> None:
    """Drop what `upgrade` made; of sessions that share a name, all but one get their ids as names."""
    op.drop_table("idempotency_key")
    for name in (*INDEXES, *UNIQUE_INDEXES):
        op.drop_index(name, "session")
    op.execute("UPDATE session SET display_name = id WHERE unique_name IS NULL AND deleted_at IS NULL")
    if op.get_bind().dialect.name == "postgresql":
        op.execute('ALTER TABLE session ALTER COLUMN display_name TYPE VARCHAR COLLATE "default"')
    for name, (where, columns) in FORMER_INDEXES.items():
        condition = None if where is None else sa.text(where)
        op.create_index(
            name,
            "session",
            columns,
            unique=name.startswith("uq_"),
            sqlite_where=condition,
            postgresql_where=condition,
        )
    op.drop_column("session", "search_name")
    op.drop_column("session", "unique_name")


def _name_sessions(connection: sa.Connection) -> None:
    session = sa.table("session", *(sa.column(name) for name in ("id", "tenant_id", "display_name", "unique_name")))
    for column in ("search_name", "deleted_at", "is_main"):
        session.append_column(sa.column(column))
    named = sa.update(session).where(session.c.id == sa.bindparam("row_id"))
    named = named.values(
        display_name=sa.bindparam("name"), unique_name=sa.bindparam("held"), search_name=sa.bindparam("sought")
    )
    # Mains come first: the successor of a main takes over its name, which nobody else may hold then.
    mains = sa.select(session.c.tenant_id, session.c.display_name).where(session.c.is_main)
    held = {(row.tenant_id, row.display_name) for row in connection.execute(mains)}
    last = ""
    while rows := connection.execute(
        sa.select(session).where(session.c.id > last).order_by(session.c.id).limit(ROWS_PER_STEP)
    ).all():
        values = []
        for row in rows:
            name = unicodedata.normalize("NFC", row.display_name).strip() or row.display_name
            is_held = row.is_main or (row.deleted_at is None and (row.tenant_id, name) not in held)
            if is_held:
                held.add((row.tenant_id, name))
            sought = unicodedata.normalize("NFC", name.casefold())
            values.append({"row_id": row.id, "name": name, "held": name if is_held else None, "sought": sought})
        connection.execute(named, values)
        last = rows[-1].id
