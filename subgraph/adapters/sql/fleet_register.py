"""Owns the fleet's incarnation in SQL: raised durably, and never handed out twice."""

from sqlalchemy import case, insert, select, update

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.tables import FLEET


class SqlFleetRegister:
    """The FleetRegister port on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def incarnation(self, fleet_id: str) -> int:
        """The current incarnation; 0 for a fleet nobody has led yet."""
        async with self._database.reading() as connection:
            found = await connection.scalar(select(FLEET.c.incarnation).where(FLEET.c.id == fleet_id))
        return int(found or 0)

    async def raise_incarnation(self, fleet_id: str, above: int = 0) -> int:
        """Raise the incarnation by one, or to one above a given one, durably, and return it."""
        highest = case((FLEET.c.incarnation < above, above), else_=FLEET.c.incarnation)
        raised = (
            update(FLEET).where(FLEET.c.id == fleet_id).values(incarnation=highest + 1).returning(FLEET.c.incarnation)
        )
        async with self._database.writing() as connection:
            incarnation = await connection.scalar(raised)
            if incarnation is None:
                incarnation = above + 1
                await connection.execute(insert(FLEET).values(id=fleet_id, incarnation=incarnation))
        return int(incarnation)
