"""Owns how Alembic reaches the database: over the connection its caller is in a transaction on, and no other way."""

from alembic import context

from subgraph.adapters.sql.tables import METADATA

# The caller commits: all steps of an upgrade, and the revision they lead to, become visible together.
context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
