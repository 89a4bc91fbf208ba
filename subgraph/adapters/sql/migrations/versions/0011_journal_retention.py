"""The entries of the journal that came by themselves, the oldest first: what its retention looks for."""

import sqlalchemy as sa
from alembic import op

revision = "0011_journal_retention"
down_revision = "0010_told_of_fleet"
branch_labels = None
depends_on = None

_BY_ITSELF = sa.text(
    "type IN ('SESSION_TICK', 'TILES_MERGED', 'TILES_REASSIGNED', 'TILE_HEALTH_CHANGED', 'TILE_SPLIT')"
)


def upgrade() -> None:
    """Add the index."""
    op.create_index(
        "ix_session_event_by_itself",
        "session_event",
        ["occurred_at", "position"],
        sqlite_where=_BY_ITSELF,
        postgresql_where=_BY_ITSELF,
    )


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_session_event_by_itself", "session_event")
