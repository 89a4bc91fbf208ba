"""Owns the fleet's incarnation in SQL: raised durably, and never handed out twice."""

from sqlalchemy import Connection, case, select

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.tables import FLEET
from subgraph.adapters.sql.upsert import upsert


class SqlFleetRegister:
    """The FleetRegister port on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def incarnation(self, fleet_id: str) -> int:
        """The current incarnation; 0 for a fleet nobody has led yet."""
        current = select(FLEET.c.incarnation).where(FLEET.c.id == fleet_id)
        return await self._database.read(lambda connection: int(connection.scalar(current) or 0))

    async def raise_incarnation(self, fleet_id: str, above: int = 0) -> int:
        """Raise the incarnation by one, or to one above a given one, durably, and return it."""

        def work(connection: Connection) -> int:
            first = upsert(connection, FLEET).values(id=fleet_id, incarnation=above + 1)
            highest = case((FLEET.c.incarnation < above, above), else_=FLEET.c.incarnation)
            raised = first.on_conflict_do_update(index_elements=[FLEET.c.id], set_={"incarnation": highest + 1})
            return int(connection.scalars(raised.returning(FLEET.c.incarnation)).one())

        return await self._database.write_apart(work)
