"""The history of ownership: one row a term."""

import sqlalchemy as sa
from alembic import op

revision = "0004_assignment_history"
down_revision = "0003_registered_cells"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, empty: the leader records the terms that live at its first look."""
    op.create_table(
        "assignment_history",
        sa.Column("epoch", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("fleet_id", sa.String(), primary_key=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("cell", sa.BigInteger(), nullable=False),
        sa.Column("pod_id", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.Column("load", sa.Float(), nullable=False),
        sa.Column("assigned_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged_at_ms", sa.BigInteger()),
        sa.Column("ended_at_ms", sa.BigInteger()),
        sqlite_with_rowid=False,
    )
    for name, columns in {
        "tile": ["session_id", "cell", "epoch"],
        "session": ["session_id", "assigned_at_ms", "epoch"],
        "pod": ["pod_id", "assigned_at_ms", "epoch"],
        "time": ["assigned_at_ms", "epoch"],
        "end": ["ended_at_ms", "epoch"],
    }.items():
        op.create_index(f"ix_assignment_history_{name}", "assignment_history", ["fleet_id", *columns])


def downgrade() -> None:
    """Drop the table, and all that is in it."""
    op.drop_table("assignment_history")
