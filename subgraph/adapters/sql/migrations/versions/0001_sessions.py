"""Sessions, their journal and the fleet's incarnation."""

import sqlalchemy as sa
from alembic import op

revision = "0001_sessions"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "session",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=False),
        sa.Column("is_main", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("data_source", sa.String()),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("utc_offset_microseconds", sa.BigInteger(), nullable=False),
        sa.Column("details_json", sa.Text(), nullable=False),
        sa.Column("metadata_json", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
    )
    op.create_index("uq_session_tenant_id_display_name", "session", ["tenant_id", "display_name"], unique=True)
    op.create_index(
        "uq_session_tenant_id_main",
        "session",
        ["tenant_id"],
        unique=True,
        sqlite_where=sa.text("is_main = 1"),
        postgresql_where=sa.text("is_main"),
    )
    newest_first = sa.text("created_at DESC")
    op.create_index("ix_session_current", "session", ["tenant_id", "state", newest_first, "id"])
    op.create_index(
        "ix_session_current_of_data_source", "session", ["tenant_id", "state", "data_source", newest_first, "id"]
    )
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
    op.create_index(
        "ix_session_event_unrelayed",
        "session_event",
        ["position"],
        sqlite_where=sa.text("relayed_at IS NULL"),
        postgresql_where=sa.text("relayed_at IS NULL"),
    )
    op.create_table(
        "fleet",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("incarnation", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Drop what `upgrade` created, and all that is in it."""
    op.drop_table("fleet")
    op.drop_table("session_event")
    op.drop_table("session")
