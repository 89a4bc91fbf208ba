"""The fence in a service's own database: it stands or falls with the service's transaction, and nobody slips by."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, String, Table, create_engine, insert, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from subgraph.client.sink import EpochRefused, SinkPosition, SinkRecord, SinkTotals, SinkWrite
from subgraph.client.sql_fence import Admission, SqlFence, fence_table
from tests.support.sinks import sqlite_sinks_url

pytestmark = pytest.mark.anyio

TILE = "session:85283473fffffff"
METADATA = MetaData()
FENCE = fence_table(METADATA, "sql_fence_test")
COUNTS = Table("sql_fence_test_counts", METADATA, Column("tile", String(64), primary_key=True), Column("n", Integer))


def write(epoch: int, *sequences: int, tile: str = TILE) -> SinkWrite:
    return SinkWrite(tile, epoch, [SinkRecord(sequence, b"") for sequence in sequences])


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    is_sqlite = request.param == "sqlite"
    url = sqlite_sinks_url(tmp_path) if is_sqlite else request.getfixturevalue("postgres_url")
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.drop_all)
        await connection.run_sync(METADATA.create_all)
    yield engine
    await engine.dispose()


def fence(name: str = "sink") -> SqlFence:
    return SqlFence(FENCE, name)


async def admitted(connection: AsyncConnection, *writes: SinkWrite) -> list[Admission | EpochRefused]:
    return await connection.run_sync(fence().admit, writes)


async def position(engine: AsyncEngine) -> SinkPosition:
    async with engine.connect() as connection:
        (found,) = await connection.run_sync(fence().positions, [TILE])
    return found


async def test_the_records_to_write_are_those_that_are_new(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        (first,) = await admitted(connection, write(1, 1, 2, 4))
        (again,) = await admitted(connection, write(1, 2, 4, 5, 5))
    assert isinstance(first, Admission)
    assert isinstance(again, Admission)
    assert [record.sequence for record in first.records] == [1, 2, 4]
    assert [record.sequence for record in again.records] == [5]


async def test_a_transaction_that_fails_leaves_the_fence_as_it_was(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await admitted(connection, write(3, 1, 2))

    async def fail() -> None:
        async with engine.begin() as connection:
            await admitted(connection, write(5, 3))
            await connection.execute(insert(COUNTS), {"tile": TILE, "n": 3})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await position(engine) == SinkPosition(3, 2)
    async with engine.connect() as connection:
        assert (await connection.execute(select(COUNTS))).all() == []


async def test_a_former_owner_that_comes_while_the_new_one_writes_waits_and_is_refused(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await admitted(connection, write(1, 1))

    async def former() -> Admission | EpochRefused:
        async with engine.begin() as connection:
            (answer,) = await admitted(connection, write(1, 2))
            return answer

    async with engine.begin() as connection:
        await admitted(connection, write(2))
        late = asyncio.create_task(former())
        done, _ = await asyncio.wait([late], timeout=0.3)
        assert not done, "it must wait: the new owner's transaction may still fail"
    answer = await asyncio.wait_for(late, 30)
    assert isinstance(answer, EpochRefused)
    assert answer.highest_epoch == 2
    assert await position(engine) == SinkPosition(2, 1)


async def test_fences_of_several_sinks_in_one_table_do_not_see_each_other(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(fence("one").admit, [write(9, 5)])
        (answer,) = await connection.run_sync(fence("other").admit, [write(1, 1)])
        assert isinstance(answer, Admission)
        assert await connection.run_sync(fence("other").totals) == SinkTotals(1, 0, 0, 0)


async def test_the_statement_that_writes_the_fence_lowers_no_epoch_by_itself(engine: AsyncEngine) -> None:
    """Even a transaction that had read the row without holding it could not put a former epoch back."""

    class Unheld(SqlFence):
        """A fence that looks at what it was told earlier."""

        def _hold(self, connection: Connection, tile_ids: Sequence[str]) -> dict[str, Any]:
            held = super()._hold(connection, tile_ids)
            for row in held.values():
                row.epoch = 1
            return held

    async with engine.begin() as connection:
        await admitted(connection, write(7, 1))
        await connection.run_sync(Unheld(FENCE, "sink").admit, [write(2, 2)])
    assert await position(engine) == SinkPosition(7, 1)


def test_a_synchronous_service_uses_the_same_fence(tmp_path: Path) -> None:
    engine: Engine = create_engine(f"sqlite:///{tmp_path}/service.sqlite3", connect_args={"timeout": 0.01})
    METADATA.create_all(engine)
    with engine.begin() as connection:
        (answer,) = fence().admit(connection, [write(1, 1)])
        with pytest.raises(OperationalError, match="locked"), engine.begin() as other:
            fence().admit(other, [write(1, 2)])
    assert isinstance(answer, Admission)
    with engine.connect() as connection:
        assert fence().positions(connection, [TILE, "other"]) == [SinkPosition(1, 1), SinkPosition(0, 0)]
    engine.dispose()


async def test_other_databases_are_refused_by_name() -> None:
    class Dialect:
        name = "oracle"

    class Foreign:
        dialect = Dialect()

    with pytest.raises(ValueError, match="SQLite and PostgreSQL, not oracle"):
        fence().admit(cast(Connection, Foreign()), [write(1, 1)])
