"""The fleet register on every database: an incarnation only rises and is handed out once, whoever races."""

import asyncio

import pytest

from subgraph.adapters.sql.database import Database, open_database
from subgraph.adapters.sql.fleet_register import SqlFleetRegister
from tests.support.warm_programs import said_at_once

pytestmark = pytest.mark.anyio

RAISES = 200
RAISING_PROCESS = f"""
import asyncio, sys
from subgraph.adapters.sql.database import open_database
from subgraph.adapters.sql.fleet_register import SqlFleetRegister

async def main() -> None:
    database = await open_database(sys.argv[1])
    register = SqlFleetRegister(database)
    print("open", flush=True)
    sys.stdin.readline()
    for _ in range({RAISES}):
        print(await register.raise_incarnation("fleet"))
    await database.close()

asyncio.run(main())
"""


async def test_a_fleet_nobody_has_led_is_at_zero_and_each_raise_adds_one(database: Database) -> None:
    register = SqlFleetRegister(database)
    assert await register.incarnation("fleet") == 0
    assert [await register.raise_incarnation("fleet") for _ in range(3)] == [1, 2, 3]
    assert await register.incarnation("fleet") == 3


async def test_an_incarnation_is_raised_above_one_that_was_seen_elsewhere(database: Database) -> None:
    register = SqlFleetRegister(database)
    assert await register.raise_incarnation("fleet", above=4) == 5
    assert await register.raise_incarnation("fleet", above=4) == 6
    assert await register.raise_incarnation("fleet", above=9) == 10
    assert await register.incarnation("fleet") == 10


async def test_fleets_count_apart(database: Database) -> None:
    register = SqlFleetRegister(database)
    await register.raise_incarnation("fleet")
    assert await register.raise_incarnation("other fleet") == 1
    assert await register.incarnation("fleet") == 1


async def test_an_incarnation_outlives_the_process(database_url: str) -> None:
    for expected in (1, 2, 3):
        database = await open_database(database_url)
        assert await SqlFleetRegister(database).raise_incarnation("fleet") == expected
        await database.close()


async def test_concurrent_raises_through_two_openings_give_distinct_numbers_without_a_gap(
    database: Database, other_database: Database
) -> None:
    async def raise_often(register: SqlFleetRegister) -> list[int]:
        return [await register.raise_incarnation("fleet") for _ in range(RAISES // 4)]

    registers = [SqlFleetRegister(opened) for opened in (database, other_database) for _ in range(4)]
    raised = await asyncio.gather(*map(raise_often, registers))
    assert sorted(number for numbers in raised for number in numbers) == list(range(1, 2 * RAISES + 1))
    assert all(numbers == sorted(numbers) for numbers in raised)


async def test_two_processes_that_raise_at_once_get_distinct_numbers_without_a_gap(database_url: str) -> None:
    outputs = await said_at_once(RAISING_PROCESS, [database_url], [database_url])
    raised = [[int(line) for line in output.split()] for output in outputs]
    assert sorted(raised[0] + raised[1]) == list(range(1, 2 * RAISES + 1))
    assert all(numbers == sorted(numbers) for numbers in raised)
