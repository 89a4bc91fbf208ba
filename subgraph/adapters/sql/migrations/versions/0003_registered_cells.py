"""The cells that are registered of sessions' coverage."""

import sqlalchemy as sa
from alembic import op

revision = "0003_registered_cells"
down_revision = "0002_required_labels"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "registered_cells",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("fleet_id", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), sa.ForeignKey("session.id", ondelete="CASCADE"), nullable=False),
        sa.Column("cell_count", sa.Integer(), nullable=False),
        sa.Column("cells", sa.LargeBinary(), nullable=False),
        sa.Column("template_json", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_registered_cells_session_id", "registered_cells", ["session_id", "fleet_id"])


def downgrade() -> None:
    """Drop the table, and all that is in it."""
    op.drop_table("registered_cells")
