"""Owns the history of ownership in SQL: terms written in bounded transactions, read in keyset pages, swept by age."""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Delete, Select, Update, case, delete, func, or_, select, update

from subgraph.adapters.sql.cursors import TermCursor, decode_term_cursor, encode_cursor
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.rows import term_facts_of, term_values
from subgraph.adapters.sql.tables import ASSIGNMENT_HISTORY as HISTORY
from subgraph.adapters.sql.upsert import upsert
from subgraph.domain.fleet.terms import TermFacts
from subgraph.domain.ids import TileId, parse_tile_id
from subgraph.domain.ownership import AssignmentReason, AssignmentState
from subgraph.operations.history.term_history import TERMS_PER_WRITE_MAX, Churn, TermFilter
from subgraph.operations.ports import Page

_NEVER_IN_FORCE = (AssignmentState.PREPARING.value, AssignmentState.ABORTED.value)
_KEY = ("epoch", "fleet_id")


class SqlTermHistory:
    """The TermHistory port on SQL, of one fleet."""

    def __init__(self, database: Database, fleet_id: str) -> None:
        self._database = database
        self._fleet_id = fleet_id
        self._of_fleet = HISTORY.c.fleet_id == fleet_id

    async def record(self, facts: Sequence[TermFacts]) -> None:
        """Write what is known of terms. What is recorded of a later version stays."""
        # In a thread, as thousands of terms would keep everything else of the process waiting.
        for values in _chunks(await asyncio.to_thread(self._values, facts)):
            await self._database.write_apart(partial(_record, values))

    async def living_epochs(self, after_epoch: int, epochs_max: int) -> list[tuple[int, AssignmentState]]:
        """Epochs above one whose end is not recorded, in rising order, with the states recorded."""
        living = (
            select(HISTORY.c.epoch, HISTORY.c.state)
            .where(self._of_fleet, HISTORY.c.ended_at_ms.is_(None), HISTORY.c.epoch > after_epoch)
            .order_by(HISTORY.c.epoch)
            .limit(epochs_max)
        )
        return await self._database.read(
            lambda connection: [(row.epoch, AssignmentState(row.state)) for row in connection.execute(living)]
        )

    async def end_vanished(self, epochs: Sequence[int], at_ms: int) -> int:
        """End terms nothing is left of: LOST, or ABORTED if not in force yet."""
        was_preparing = HISTORY.c.state == AssignmentState.PREPARING.value
        end = case((was_preparing, AssignmentState.ABORTED.value), else_=AssignmentState.LOST.value)
        ended = 0
        for some in _chunks(epochs):
            vanished = (
                update(HISTORY)
                .where(self._of_fleet, HISTORY.c.epoch.in_(some), HISTORY.c.ended_at_ms.is_(None))
                .values(state=end, ended_at_ms=at_ms)
            )
            ended += await self._database.write_apart(partial(_count_changed, vanished))
        return ended

    async def terms(self, epochs: Sequence[int]) -> dict[int, TermFacts]:
        """The terms of some epochs; those that are not recorded are not in the answer."""

        def read(connection: Connection) -> dict[int, TermFacts]:
            found: dict[int, TermFacts] = {}
            for some in _chunks(epochs):
                rows = connection.execute(select(HISTORY).where(self._of_fleet, HISTORY.c.epoch.in_(some)))
                found |= {row.epoch: term_facts_of(row) for row in rows}
            return found

        return await self._database.read(read)

    async def page(self, wanted: TermFilter, first: int, after: str | None) -> Page[TermFacts]:
        """Terms, newest first, by keyset; `total_count` is None."""
        assigned, epoch = HISTORY.c.assigned_at_ms, HISTORY.c.epoch
        page = select(HISTORY).where(self._of_fleet, *_conditions(wanted))
        if after is not None:
            cursor = decode_term_cursor(after)
            # The first condition says nothing new, but lets the index skip to the cursor's place.
            page = page.where(assigned <= cursor.assigned_at_ms)
            page = page.where(or_(assigned < cursor.assigned_at_ms, epoch < cursor.epoch))
        ordered = page.order_by(assigned.desc(), epoch.desc())
        return await self._database.read(lambda connection: _page(connection, ordered, first))

    async def pages_of_tiles(
        self, tile_ids: Sequence[TileId], first: int, after: str | None
    ) -> dict[TileId, Page[TermFacts]]:
        """The terms of each of some tiles, newest first, by keyset; `total_count` is None."""
        cursor = None if after is None else decode_term_cursor(after)

        def read(connection: Connection) -> dict[TileId, Page[TermFacts]]:
            pages: dict[TileId, Page[TermFacts]] = {}
            # One short query each: a single one for all could not stop after a page of every tile.
            for tile_id in tile_ids:
                session_id, cell = parse_tile_id(tile_id)
                page = select(HISTORY).where(self._of_fleet, HISTORY.c.session_id == session_id, HISTORY.c.cell == cell)
                if cursor is not None:
                    page = page.where(HISTORY.c.epoch < cursor.epoch)
                pages[tile_id] = _page(connection, page.order_by(HISTORY.c.epoch.desc()), first)
            return pages

        return await self._database.read(read)

    async def churn(self, since_ms: int) -> list[Churn]:
        """Terms given from a time on that came into force, by reason; reasons without any are left out."""
        came_into_force = HISTORY.c.state.not_in(_NEVER_IN_FORCE)
        sums = (
            select(HISTORY.c.reason, func.count().label("moves"), func.sum(HISTORY.c.load).label("load_moved"))
            .where(self._of_fleet, HISTORY.c.assigned_at_ms >= since_ms, came_into_force)
            .group_by(HISTORY.c.reason)
        )
        return await self._database.read(
            lambda connection: [
                Churn(AssignmentReason(row.reason), row.moves, row.load_moved) for row in connection.execute(sums)
            ]
        )

    async def sweep(self, ended_before_ms: int, terms_max: int) -> int:
        """Delete terms that ended before a time, the oldest first, at most so many. Returns how many it deleted."""
        oldest = (
            select(HISTORY.c.epoch)
            .where(self._of_fleet, HISTORY.c.ended_at_ms < ended_before_ms)
            .order_by(HISTORY.c.ended_at_ms)
            .limit(terms_max)
        )
        swept = delete(HISTORY).where(self._of_fleet, HISTORY.c.epoch.in_(oldest))
        return await self._database.write_apart(partial(_count_changed, swept))

    def _values(self, facts: Sequence[TermFacts]) -> list[dict[str, object]]:
        newest: dict[int, TermFacts] = {}
        for one in facts:
            known = newest.get(one.change.term.epoch)
            if known is None or known.version <= one.version:
                newest[one.change.term.epoch] = one
        # In one order: two leaders that record the same terms must not wait for each other's rows in a ring.
        return [term_values(self._fleet_id, newest[epoch]) for epoch in sorted(newest)]


def _record(values: Sequence[dict[str, object]], connection: Connection) -> None:
    insertion = upsert(connection, HISTORY)
    told = insertion.excluded
    record = insertion.on_conflict_do_update(
        index_elements=[HISTORY.c[name] for name in _KEY],
        set_={column.name: told[column.name] for column in HISTORY.columns if column.name not in _KEY},
        where=told.version > HISTORY.c.version,
    )
    connection.execute(record, values)


def _count_changed(change: Update | Delete, connection: Connection) -> int:
    return connection.execute(change).rowcount


def _conditions(wanted: TermFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.tenant_id is not None:
        yield HISTORY.c.tenant_id == wanted.tenant_id
    if wanted.session_id is not None:
        yield HISTORY.c.session_id == wanted.session_id
    if wanted.pod_id is not None:
        yield HISTORY.c.pod_id == wanted.pod_id
    if wanted.since_ms is not None:
        yield HISTORY.c.assigned_at_ms >= wanted.since_ms
    if wanted.until_ms is not None:
        yield HISTORY.c.assigned_at_ms < wanted.until_ms


def _page(connection: Connection, terms: Select[Any], first: int) -> Page[TermFacts]:
    rows = connection.execute(terms.limit(first + 1)).all()
    items = tuple(term_facts_of(row) for row in rows[:first])
    cursors = tuple(encode_cursor(TermCursor(row.assigned_at_ms, row.epoch)) for row in rows[:first])
    return Page(items, cursors, len(rows) > first, total_count=None)


def _chunks(sequence: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(sequence), TERMS_PER_WRITE_MAX):
        yield sequence[start : start + TERMS_PER_WRITE_MAX]
