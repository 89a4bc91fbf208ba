"""Owns processes that open one database at the same moment, as the servers of a fleet do that are started together."""

from tests.support.warm_programs import said_at_once

_OPENING_PROCESS = """
import asyncio, sys
from subgraph.adapters.sql.database import open_database
from subgraph.adapters.sql.fleet_register import SqlFleetRegister
print("ready", flush=True)
sys.stdin.readline()
async def main() -> None:
    database = await open_database(sys.argv[1])
    print(await SqlFleetRegister(database).raise_incarnation("fleet"))
    await database.close()
asyncio.run(main())
"""


async def incarnations_raised_at_once(url: str, processes: int = 4) -> list[int]:
    """The incarnations that as many processes raise as soon as each has opened the database, lowest first."""
    said = await said_at_once(_OPENING_PROCESS, *([url] for _ in range(processes)))
    return sorted(map(int, said))
