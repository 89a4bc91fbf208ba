"""The lifetime of sessions: activity, expiry and deletion; titles, the caller's own ids, and working memory."""

import sqlalchemy as sa
from alembic import op

revision = "0006_session_lifetime"
down_revision = "0005_journal"
branch_labels = None
depends_on = None

NOT_DELETED = "deleted_at IS NULL"
NEWEST_FIRST = sa.text("created_at DESC")
INDEXES: dict[str, tuple[str, list[str | sa.TextClause]]] = {
    "ix_session_created": (NOT_DELETED, ["tenant_id", NEWEST_FIRST, "id"]),
    "ix_session_of_owner": (NOT_DELETED, ["tenant_id", "owner_id", NEWEST_FIRST, "id"]),
    "ix_session_updated": (NOT_DELETED, ["tenant_id", sa.text("updated_at DESC"), "id"]),
    "ix_session_last_active": (NOT_DELETED, ["tenant_id", sa.text("last_active_at DESC"), "id"]),
    "ix_session_expiring": ("state = 'ACTIVE' AND expires_at IS NOT NULL", ["expires_at", "id"]),
    "ix_session_stopped": ("stopped_at IS NOT NULL", ["stopped_at", "id"]),
    "uq_session_tenant_id_display_name": (NOT_DELETED, ["tenant_id", "display_name"]),
    "uq_session_tenant_id_owner_id_external_id": (
        f"external_id IS NOT NULL AND {NOT_DELETED}",
        ["tenant_id", "owner_id", "external_id"],
    ),
}
"""Name to the rows and the columns; those that begin with `uq` are unique."""


def _columns() -> list[sa.Column[object]]:
    moment = sa.DateTime(timezone=True)
    return [
        sa.Column("external_id", sa.String()),
        sa.Column("title", sa.String()),
        sa.Column("last_active_at", moment, nullable=False, server_default="1970-01-01 00:00:00.000000"),
        sa.Column("expiry_policy", sa.String(), nullable=False, server_default="NEVER"),
        sa.Column("ttl_microseconds", sa.BigInteger()),
        sa.Column("expires_at", moment),
        sa.Column("stopped_at", moment),
        sa.Column("deleted_at", moment),
        sa.Column("deleted_by", sa.String()),
        sa.Column("copied_from", sa.String()),
        sa.Column("context_json", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("max_history", sa.Integer(), nullable=False, server_default="500"),
        sa.Column("token_budget", sa.BigInteger()),
        sa.Column("tick_interval_microseconds", sa.BigInteger()),
    ]


def upgrade() -> None:
    """Add the columns; sessions that are there were promised no end, and never expire."""
    for column in _columns():
        op.add_column("session", column)
    op.execute("UPDATE session SET last_active_at = updated_at, stopped_at = ended_at")
    op.drop_index("uq_session_tenant_id_display_name", "session")
    for name, (where, columns) in INDEXES.items():
        op.create_index(
            name,
            "session",
            columns,
            unique=name.startswith("uq_"),
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )


def downgrade() -> None:
    """Drop the columns, what they hold, and the sessions in states that were not known before."""
    gone = "SELECT id FROM session WHERE state IN ('EXPIRED', 'DELETED')"
    op.execute(f"DELETE FROM registered_cells WHERE session_id IN ({gone})")
    op.execute("DELETE FROM session WHERE state IN ('EXPIRED', 'DELETED')")
    for name in INDEXES:
        op.drop_index(name, "session")
    op.create_index("uq_session_tenant_id_display_name", "session", ["tenant_id", "display_name"], unique=True)
    for column in _columns():
        op.drop_column("session", column.name)
