"""Up to which entry of the fleet's log the journal has told."""

import sqlalchemy as sa
from alembic import op

revision = "0010_told_of_fleet"
down_revision = "0009_associations"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns: of what the log holds by now, all is told."""
    op.add_column("fleet", sa.Column("told_version", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("fleet", sa.Column("told_entry", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("fleet", "told_entry")
    op.drop_column("fleet", "told_version")
