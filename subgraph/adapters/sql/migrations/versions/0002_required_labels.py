"""The labels that all tiles of a session require of their pods."""

import sqlalchemy as sa
from alembic import op

revision = "0002_required_labels"
down_revision = "0001_sessions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; sessions that are there require nothing."""
    op.add_column("session", sa.Column("required_labels_json", sa.Text(), nullable=False, server_default="{}"))


def downgrade() -> None:
    """Drop the column, and what it holds."""
    op.drop_column("session", "required_labels_json")
