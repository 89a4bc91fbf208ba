"""The hierarchy of sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0009_associations"
down_revision = "0008_ticks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    session_id = sa.ForeignKey("session.id", ondelete="CASCADE")
    other_id = sa.ForeignKey("session.id", ondelete="CASCADE")
    op.create_table(
        "session_association",
        sa.Column("parent_id", sa.String(), session_id, primary_key=True),
        sa.Column("associate_id", sa.String(), other_id, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_session_association_associate_id", "session_association", ["associate_id"])


def downgrade() -> None:
    """Drop the table, and all that is in it."""
    op.drop_table("session_association")
