"""When sessions tick next."""

import sqlalchemy as sa
from alembic import op

revision = "0008_ticks"
down_revision = "0007_lookups"
branch_labels = None
depends_on = None

_TICKS = sa.text("state = 'ACTIVE' AND tick_interval_microseconds IS NOT NULL")


def upgrade() -> None:
    """Add the column: what ticks already has its first tick told when it is looked at."""
    op.add_column("session", sa.Column("next_tick_at", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_session_ticking", "session", ["next_tick_at", "id"], sqlite_where=_TICKS, postgresql_where=_TICKS
    )


def downgrade() -> None:
    """Drop the column."""
    op.drop_index("ix_session_ticking", "session")
    op.drop_column("session", "next_tick_at")
