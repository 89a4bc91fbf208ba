"""Owns the sink in SQL: a table of records behind the fence, both written in one transaction."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from subgraph.client.sink import (
    TEXT_LENGTH_MAX,
    EpochRefused,
    SinkPosition,
    SinkReceipt,
    SinkTotals,
    SinkWrite,
    TileSink,
    check_names,
)
from subgraph.client.sql_fence import SqlFence, fence_table

T = TypeVar("T")


class SqlSink(TileSink):
    """One sink in SQLite or PostgreSQL, as seen by one writer. All payloads are kept, in `session_manager_records`.

    `writer` labels what this process wrote. An error of the database comes out as SQLAlchemy's; writing again is safe.
    """

    def __init__(self, engine: AsyncEngine, name: str, writer: str) -> None:
        check_names(name, writer)
        self._engine = engine
        self._name = name
        self._writer = writer
        self._metadata = MetaData()
        self._fence = SqlFence(fence_table(self._metadata), name)
        self._records = Table(
            "session_manager_records",
            self._metadata,
            Column("sink", String(TEXT_LENGTH_MAX), primary_key=True),
            Column("tile_id", String(TEXT_LENGTH_MAX), primary_key=True),
            Column("sequence", BigInteger, primary_key=True, autoincrement=False),
            Column("epoch", BigInteger, nullable=False),
            Column("writer", String(TEXT_LENGTH_MAX), nullable=False),
            Column("payload", LargeBinary, nullable=False),
        )

    async def create_tables(self) -> None:
        """Make the tables that are not there yet."""
        await self._do(self._metadata.create_all)

    async def write_many(self, writes: Sequence[SinkWrite]) -> list[SinkReceipt | EpochRefused]:
        """Write to many tiles in one transaction; a refused write is answered in its place and hinders no other.

        Raises:
            WriteTooLarge: a write is too large, or all together are (`WRITES_PER_CALL_MAX`, `RECORDS_PER_CALL_MAX`).
        """

        def write(connection: Connection) -> list[SinkReceipt | EpochRefused]:
            answers = self._fence.admit(connection, writes)
            admitted = [
                {
                    "sink": self._name,
                    "tile_id": one.tile_id,
                    "sequence": record.sequence,
                    "epoch": one.epoch,
                    "writer": self._writer,
                    "payload": record.payload,
                }
                for one, answer in zip(writes, answers, strict=True)
                if not isinstance(answer, EpochRefused)
                for record in answer.records
            ]
            if admitted:
                connection.execute(insert(self._records), admitted)
            return [answer if isinstance(answer, EpochRefused) else answer.receipt for answer in answers]

        return await self._do(write)

    async def positions(self, tile_ids: Sequence[str]) -> list[SinkPosition]:
        """Where tiles stand, without raising anything."""
        return await self._do(lambda connection: self._fence.positions(connection, tile_ids))

    async def newest_payload(self, tile_id: str) -> bytes | None:
        """The payload of the last record accepted for the tile."""
        records = self._records
        query = select(records.c.payload).where(records.c.sink == self._name, records.c.tile_id == tile_id)
        query = query.order_by(records.c.sequence.desc()).limit(1)
        return await self._do(lambda connection: connection.execute(query).scalar())

    async def totals(self) -> SinkTotals:
        """What this sink has taken and turned away since ever, from all writers."""
        return await self._do(self._fence.totals)

    async def _do(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)
