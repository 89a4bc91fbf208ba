"""Owns registered coverage in SQL: one packed row per registration; small ones are compacted."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Connection, Row, RowMapping, Select, bindparam, delete, func, insert, select

from subgraph.adapters.sql.coverage_rows import coverage_row, encode_template, told_of_cells
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.journal import write_events
from subgraph.adapters.sql.rows import session_of
from subgraph.adapters.sql.tables import REGISTERED_CELLS, SESSION
from subgraph.domain.coverage import Coverage, cells_without
from subgraph.domain.coverage.cells import CellArray
from subgraph.domain.coverage.packing import pack_cells, unpack_cells
from subgraph.domain.errors import NotFound
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import SessionEventType
from subgraph.domain.registration import NewCoverage, RegisteredCells, RegisteredCoverage, TileTemplate
from subgraph.domain.sessions import Session, SessionState, require_active
from subgraph.operations.coverage.coverage_ports import ActiveCoverage, CoverageChanged

SMALL_CELLS = 1_000
SMALL_ROWS_MAX = 64
"""A session grown cell by cell has at most so many rows of fewer than `SMALL_CELLS` cells that begin alike."""
SESSIONS_PER_QUERY = 1_000

_DELETE_ROW = delete(REGISTERED_CELLS).where(REGISTERED_CELLS.c.position == bindparam("at"))
_decoder = msgspec.json.Decoder(TileTemplate)


class SqlCoverageRegister:
    """The ports CoverageRegister and StandingCoverage on SQL and one fleet id."""

    def __init__(self, database: Database, fleet_id: str) -> None:
        self._database = database
        self._mine = REGISTERED_CELLS.c.fleet_id == fleet_id
        self._fleet_id = fleet_id

    def new(self, parts: Sequence[RegisteredCells]) -> NewCoverage:
        """What has a session begin with a coverage."""
        return NewCoverage(self._fleet_id, tuple(parts))

    async def of_session(self, session_id: SessionId) -> RegisteredCoverage:
        """All that is registered of a session, whatever became of it."""
        wanted = select(REGISTERED_CELLS).where(self._mine, REGISTERED_CELLS.c.session_id == session_id)
        ordered = wanted.order_by(REGISTERED_CELLS.c.position)
        return await self._database.read(lambda connection: coverage_rows(connection.execute(ordered).all()))

    async def add(
        self, session_id: SessionId, cells: RegisteredCells, expected_revision: int, actor: str | None = None
    ) -> int:
        """Register cells of a session as long as it is ACTIVE and at a revision; returns the next one."""
        return await self._database.write(partial(self._add, session_id, cells, expected_revision, actor))

    def _add(
        self,
        session_id: SessionId,
        cells: RegisteredCells,
        expected_revision: int,
        actor: str | None,
        connection: Connection,
    ) -> int:
        mine = (self._mine, REGISTERED_CELLS.c.session_id == session_id)
        template = encode_template(cells.template)
        session = self._locked(session_id, expected_revision, connection)
        if session is None:
            raise NotFound("Session", session_id, ("sessionId",))
        # It may have stopped since the caller read it; locked as it is, it does not any more. (One whose time has run
        # out, but that was not swept yet, loses its tiles with the sweep.)
        require_active(session, ("sessionId",))
        small = select(REGISTERED_CELLS).where(
            *mine, REGISTERED_CELLS.c.template_json == template, REGISTERED_CELLS.c.cell_count < SMALL_CELLS
        )
        rows = connection.execute(small).all()
        written = cells.cells
        if len(rows) >= SMALL_ROWS_MAX:
            written = np.concatenate([written, *(unpack_cells(row.cells) for row in rows)])
            merged = REGISTERED_CELLS.c.position.in_([row.position for row in rows])
            connection.execute(delete(REGISTERED_CELLS).where(merged))
        row = coverage_row(self._fleet_id, session, written, template)
        position = connection.scalars(insert(REGISTERED_CELLS).returning(REGISTERED_CELLS.c.position), [row]).one()
        told = told_of_cells(session, SessionEventType.TILES_REGISTERED, cells.cells, actor, datetime.now(UTC))
        write_events(connection, [told])
        return int(position)

    async def remove(self, session_id: SessionId, cells: CellArray, expected_revision: int, actor: str) -> int:
        """Take cells out of what is registered of a session as long as it is at a revision; returns the next one."""
        return await self._database.write(partial(self._remove, session_id, cells, expected_revision, actor))

    def _remove(
        self, session_id: SessionId, cells: CellArray, expected_revision: int, actor: str, connection: Connection
    ) -> int:
        session = self._locked(session_id, expected_revision, connection)
        mine = (self._mine, REGISTERED_CELLS.c.session_id == session_id)
        found = connection.execute(select(REGISTERED_CELLS).where(*mine).order_by(REGISTERED_CELLS.c.position))
        rows = found.mappings().all()
        gone, replaced, written = Coverage(cells.tolist()), [], []
        for row in rows:
            registered = unpack_cells(row["cells"])
            left = cells_without(registered, gone)
            if not np.array_equal(left, registered):
                replaced.append(row)
                if left.size:
                    written.append({**_values(row), "cell_count": left.size, "cells": pack_cells(left)})
        if not written and len(replaced) < len(rows):
            # What is left must not be at a revision that something else was at.
            newest = [row for row in rows if row not in replaced][-1]
            replaced.append(newest)
            written.append(_values(newest))
        if replaced:
            connection.execute(_DELETE_ROW, [{"at": row["position"]} for row in replaced])
        if written:
            connection.execute(insert(REGISTERED_CELLS), written)
        if session is not None:
            told = told_of_cells(session, SessionEventType.TILES_UNREGISTERED, cells, actor, datetime.now(UTC))
            write_events(connection, [told])
        return connection.scalar(self._revision(session_id)) or 0

    async def revision(self, session_id: SessionId) -> int:
        """The revision of a session's coverage."""
        return await self._database.read(lambda connection: connection.scalar(self._revision(session_id)) or 0)

    def _revision(self, session_id: SessionId) -> Select[tuple[int | None]]:
        mine = (self._mine, REGISTERED_CELLS.c.session_id == session_id)
        return select(func.max(REGISTERED_CELLS.c.position)).where(*mine)

    def _locked(self, session_id: SessionId, expected_revision: int, connection: Connection) -> Session | None:
        # Who registers for the same session at once waits here, where writers do not take turns anyway.
        found = connection.execute(select(SESSION).where(SESSION.c.id == session_id).with_for_update(key_share=True))
        session = found.one_or_none()
        if (connection.scalar(self._revision(session_id)) or 0) != expected_revision:
            raise CoverageChanged(session_id)
        return session_of(session) if session is not None else None

    async def active_sessions(self) -> list[SessionId]:
        """The ACTIVE sessions of which anything is registered."""
        wanted = select(REGISTERED_CELLS.c.session_id).distinct().join(SESSION).where(self._mine, _IS_ACTIVE)
        return await self._database.read(lambda it: [SessionId(session_id) for session_id in it.scalars(wanted)])

    async def standing(self, session_ids: Sequence[SessionId]) -> dict[SessionId, ActiveCoverage | None]:
        """What is registered of the sessions that there are; None for one that is not ACTIVE."""

        def read(connection: Connection) -> dict[SessionId, ActiveCoverage | None]:
            found: dict[SessionId, ActiveCoverage | None] = {}
            for start in range(0, len(session_ids), SESSIONS_PER_QUERY):
                found |= self._standing(connection, session_ids[start : start + SESSIONS_PER_QUERY])
            return found

        return await self._database.read(read)

    def _standing(
        self, connection: Connection, session_ids: Sequence[SessionId]
    ) -> dict[SessionId, ActiveCoverage | None]:
        facts = select(
            SESSION.c.id, SESSION.c.tenant_id, SESSION.c.state, SESSION.c.revision, SESSION.c.required_labels_json
        )
        sessions = connection.execute(facts.where(SESSION.c.id.in_(session_ids))).all()
        active = [row.id for row in sessions if row.state == SessionState.ACTIVE.value]
        theirs = select(REGISTERED_CELLS).where(self._mine, REGISTERED_CELLS.c.session_id.in_(active))
        rows_of: defaultdict[str, list[Row[Any]]] = defaultdict(list)
        for row in connection.execute(theirs.order_by(REGISTERED_CELLS.c.position)):
            rows_of[row.session_id].append(row)
        return {
            SessionId(row.id): ActiveCoverage(
                TenantId(row.tenant_id),
                SessionRequirement(row.revision, msgspec.json.decode(row.required_labels_json)),
                coverage_rows(rows_of[row.id]),
            )
            if row.state == SessionState.ACTIVE.value
            else None
            for row in sessions
        }


def _values(row: RowMapping) -> dict[str, Any]:
    """A row as it is written anew, at the next position."""
    return {name: value for name, value in row.items() if name != "position"}


_IS_ACTIVE = SESSION.c.state == SessionState.ACTIVE.value


def coverage_rows(rows: Sequence[Row[Any]]) -> RegisteredCoverage:
    """What rows of one session say, in the order of their positions."""
    parts = tuple(RegisteredCells(unpack_cells(row.cells), _decoder.decode(row.template_json)) for row in rows)
    return RegisteredCoverage(rows[-1].position if rows else 0, parts)
