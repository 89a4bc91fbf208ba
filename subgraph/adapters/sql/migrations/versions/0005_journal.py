"""The journal tells more of each event, numbers them by session, and outlives its sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0005_journal"
down_revision = "0004_assignment_history"
branch_labels = None
depends_on = None

_KEPT = "position, tenant_id, session_id, sequence, type, actor, occurred_at, data_source, relayed_at"


def upgrade() -> None:
    """Make the table anew, with all that is in it: SQLite cannot drop what ties an entry to its session."""
    op.add_column("session", sa.Column("last_sequence", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE session SET last_sequence ="
        " coalesce((SELECT max(sequence) FROM session_event WHERE session_id = session.id), 0)"
    )
    highest = _highest_position()
    op.execute("CREATE TABLE session_event_former AS SELECT * FROM session_event")
    op.drop_table("session_event")
    op.create_table(
        "session_event",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("actor", sa.String()),
        sa.Column("agent_id", sa.String()),
        sa.Column("run_id", sa.String()),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data_source", sa.String()),
        sa.Column("message", sa.String()),
        sa.Column("payload_json", sa.Text()),
        sa.Column("relayed_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("session_id", "sequence", name="uq_session_event_session_id_sequence"),
        sqlite_autoincrement=True,
    )
    op.execute(
        f"INSERT INTO session_event ({_KEPT}, owner_id) SELECT {_KEPT},"
        " (SELECT owner_id FROM session WHERE session.id = session_id) FROM session_event_former"
    )
    op.drop_table("session_event_former")
    _go_on_above(highest)
    op.create_index("ix_session_event_session", "session_event", ["session_id", "position"])
    op.create_index("ix_session_event_tenant", "session_event", ["tenant_id", "position"])
    op.create_index(
        "ix_session_event_unrelayed",
        "session_event",
        ["position"],
        sqlite_where=sa.text("relayed_at IS NULL"),
        postgresql_where=sa.text("relayed_at IS NULL"),
    )


def downgrade() -> None:
    """Back to the former table; what it has no place for is lost, and so is what is told of sessions that are gone."""
    highest = _highest_position()
    op.execute("CREATE TABLE session_event_latter AS SELECT * FROM session_event")
    op.drop_table("session_event")
    op.create_table(
        "session_event",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), sa.ForeignKey("session.id"), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data_source", sa.String()),
        sa.Column("relayed_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("id", name="uq_session_event_id"),
        sa.UniqueConstraint("session_id", "sequence", name="uq_session_event_session_id_sequence"),
        sqlite_autoincrement=True,
    )
    op.execute(
        f"INSERT INTO session_event (id, {_KEPT})"
        " SELECT session_id || '/' || sequence, position, tenant_id, session_id, sequence, type, coalesce(actor, ''),"
        " occurred_at, data_source, relayed_at FROM session_event_latter"
        " WHERE session_id IN (SELECT id FROM session)"
    )
    op.drop_table("session_event_latter")
    _go_on_above(highest)
    op.create_index(
        "ix_session_event_unrelayed",
        "session_event",
        ["position"],
        sqlite_where=sa.text("relayed_at IS NULL"),
        postgresql_where=sa.text("relayed_at IS NULL"),
    )
    op.drop_column("session", "last_sequence")


def _highest_position() -> int:
    """The highest position ever handed out: that of an entry that is gone by now, too, is somebody's cursor."""
    remembered = {
        "sqlite": "SELECT seq FROM sqlite_sequence WHERE name = 'session_event'",
        "postgresql": "SELECT pg_sequence_last_value(pg_get_serial_sequence('session_event', 'position')::regclass)",
    }
    connection = op.get_bind()
    newest = connection.scalar(sa.text("SELECT max(position) FROM session_event"))
    # Where this step was once taken back on PostgreSQL without its sequence, that one is behind.
    return max(connection.scalar(sa.text(remembered[connection.dialect.name])) or 0, newest or 0)


def _go_on_above(position: int) -> None:
    """Have the new table hand out what follows a position; it began anew, or behind its newest entry."""
    if position == 0:
        return
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"SELECT setval(pg_get_serial_sequence('session_event', 'position'), {position})")
    else:
        op.execute("DELETE FROM sqlite_sequence WHERE name = 'session_event'")
        op.execute(f"INSERT INTO sqlite_sequence (name, seq) VALUES ('session_event', {position})")
