"""Owns the fence in a service's own database: epoch and sequence change in the transaction that writes the records.

For SQLite and PostgreSQL, through SQLAlchemy Core. A service adds `fence_table` to its schema and, first of all in each
of its transactions, asks `admit` which of its records it may write. What it then writes is committed together with the
fence or not at all, so neither can be ahead of the other, whatever fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Insert,
    MetaData,
    String,
    Table,
    bindparam,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from subgraph.client.sink import (
    TEXT_LENGTH_MAX,
    EpochRefused,
    SinkPosition,
    SinkReceipt,
    SinkRecord,
    SinkTotals,
    SinkWrite,
    check_names,
    check_writes,
)


def fence_table(metadata: MetaData, name: str = "session_manager_fence") -> Table:
    """The fence's table: a row a sink and tile, with counts of its records since ever."""
    counts = [Column(count, BigInteger, nullable=False) for count in ("accepted", "duplicates", "refused", "missed")]
    return Table(
        name,
        metadata,
        Column("sink", String(TEXT_LENGTH_MAX), primary_key=True),
        Column("tile_id", String(TEXT_LENGTH_MAX), primary_key=True),
        Column("epoch", BigInteger, nullable=False),
        Column("last_sequence", BigInteger, nullable=False),
        *counts,
    )


@dataclass(frozen=True, slots=True)
class Admission:
    """A write that the fence let pass: its receipt, and those of its records that are to be written now."""

    receipt: SinkReceipt
    records: Sequence[SinkRecord]


@dataclass(slots=True)
class _Row:
    """A tile's row while a transaction holds it."""

    epoch: int = 0
    last_sequence: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    missed: int = 0
    changed: bool = field(default=False, compare=False)


class SqlFence:
    """The fence of one sink. Every call works in the transaction of the connection that it is given."""

    def __init__(self, table: Table, name: str) -> None:
        check_names(name, "")
        self._table = table
        self._name = name

    def admit(self, connection: Connection, writes: Sequence[SinkWrite]) -> list[Admission | EpochRefused]:
        """Pass the fence, for each of many writes, and hold the tiles' rows until the transaction ends.

        Others who write to these tiles wait as long, in one order of tiles, so nobody waits for each other. Call it
        before the transaction has read anything: what was read before may not be true any more (SQLite then says that
        the database is locked, PostgreSQL above READ COMMITTED that access could not be serialized: do it all again).

        Raises:
            WriteTooLarge, ValueError: a write is too large or malformed.
        """
        check_writes(writes)
        if not writes:
            return []
        rows = self._hold(connection, sorted({write.tile_id for write in writes}))
        answers = [_pass(rows[write.tile_id], write) for write in writes]
        changed = [
            {"of_tile": tile_id, "of_epoch": row.epoch, **{name: getattr(row, name) for name in _COLUMNS}}
            for tile_id, row in rows.items()
            if row.changed
        ]
        if changed:
            table = self._table
            # The rows are held, so the epochs cannot have risen; the statement would not lower one anyway.
            where = (table.c.sink == self._name) & (table.c.tile_id == bindparam("of_tile"))
            where &= table.c.epoch <= bindparam("of_epoch")
            connection.execute(update(table).where(where), changed)
        return answers

    def positions(self, connection: Connection, tile_ids: Sequence[str]) -> list[SinkPosition]:
        """Where tiles stand, without raising anything."""
        table = self._table
        query = select(table.c.tile_id, table.c.epoch, table.c.last_sequence)
        query = query.where(table.c.sink == self._name, table.c.tile_id.in_(tile_ids))
        found = {tile_id: SinkPosition(epoch, last) for tile_id, epoch, last in connection.execute(query)}
        return [found.get(tile_id, SinkPosition(0, 0)) for tile_id in tile_ids]

    def totals(self, connection: Connection) -> SinkTotals:
        """What the sink has taken and turned away since ever, from all writers."""
        table = self._table
        sums = [func.coalesce(func.sum(table.c[name]), 0) for name in ("accepted", "duplicates", "refused", "missed")]
        found = connection.execute(select(*sums).where(table.c.sink == self._name)).one()
        return SinkTotals(*(int(count) for count in found))

    def _hold(self, connection: Connection, tile_ids: Sequence[str]) -> dict[str, _Row]:
        """The tiles' rows, made where there are none, and locked."""
        table = self._table
        new = {"sink": self._name, **dict.fromkeys(_COLUMNS, 0)}
        insert_if_absent = _insert_if_absent(connection, table)
        connection.execute(insert_if_absent, [{"tile_id": one, **new} for one in tile_ids])
        # In SQLite the insertion holds the whole database already, and there is nothing to hold a row with.
        query = select(table.c.tile_id, *(table.c[name] for name in _COLUMNS))
        query = query.where(table.c.sink == self._name, table.c.tile_id.in_(tile_ids))
        found = connection.execute(query.order_by(table.c.tile_id).with_for_update())
        return {tile_id: _Row(*numbers) for tile_id, *numbers in found}


_COLUMNS = ("epoch", "last_sequence", "accepted", "duplicates", "refused", "missed")


def _insert_if_absent(connection: Connection, table: Table) -> Insert:
    match connection.dialect.name:
        case "sqlite":
            return sqlite.insert(table).on_conflict_do_nothing()
        case "postgresql":
            return postgresql.insert(table).on_conflict_do_nothing()
        case other:
            raise ValueError(f"the fence is made for SQLite and PostgreSQL, not {other}")


def _pass(row: _Row, write: SinkWrite) -> Admission | EpochRefused:
    if write.epoch < row.epoch:
        row.refused += len(write.records)
        row.changed = row.changed or bool(write.records)
        return EpochRefused(write.tile_id, row.epoch)
    before = replace(row)
    fresh: list[SinkRecord] = []
    row.epoch = write.epoch
    for record in write.records:
        if record.sequence <= row.last_sequence:
            row.duplicates += 1
            continue
        row.missed += record.sequence - row.last_sequence - 1
        row.accepted += 1
        row.last_sequence = record.sequence
        fresh.append(record)
    row.changed = row.changed or row != before
    duplicates, missed = row.duplicates - before.duplicates, row.missed - before.missed
    return Admission(SinkReceipt(len(fresh), duplicates, missed, row.last_sequence), fresh)
