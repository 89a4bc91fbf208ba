"""Owns the tiles of all sessions as rows of columns: one row a tile, rows of removed tiles reused."""

import math
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from subgraph.domain.coverage import Coverage, resolve_overlaps
from subgraph.domain.coverage.cells import CellArray
from subgraph.domain.fleet.adjacency import Adjacency
from subgraph.domain.fleet.cell_index import NO_ROW, CellIndex
from subgraph.domain.fleet.requirements import Requirements
from subgraph.domain.fleet.tile_columns import AS_REGISTERED, TileColumns
from subgraph.domain.ids import CELL_TEXT_LENGTH_MAX, PodId, SessionId, TenantId, TileId, parse_tile_id, tile_id
from subgraph.domain.ownership import AssignmentReason, LivingTerm, Term, TileRecord, living
from subgraph.domain.suspicion import Suspicion

T = TypeVar("T")

REASONS = tuple(AssignmentReason)
_REASON_CODES = {reason: code for code, reason in enumerate(REASONS)}


class TileTable(TileColumns):
    """Tiles by row. What few of them have (a next or former owner) is kept beside the columns."""

    def __init__(self) -> None:
        super().__init__()
        self.rows_used = 0
        """The length of the columns' used part; some of these rows may not exist (see `exists`)."""
        self.next: dict[int, Term] = {}
        self.draining: dict[int, Term] = {}
        self.retiring: set[int] = set()
        self.unacknowledged: dict[int, tuple[int, int | None]] = {}
        """Of tiles whose owner has not said yet that it works: how often it was told again, and in force since when."""
        self.pins: dict[int, PodId] = {}
        self.forbidden: dict[int, tuple[PodId, ...]] = {}
        self.suspicions: dict[int, Suspicion] = {}
        self.quarantines: dict[int, int] = {}
        """Of suspects that were ever quarantined: until when, in milliseconds."""
        self.replaces: dict[int, tuple[TileId, ...]] = {}
        """Of successors whose owner has not said yet that it works: the tiles they came from."""
        self.retired_at_ms: dict[int, int] = {}
        """Of retiring tiles that others replaced: when."""
        self.not_taken_over: set[int] = set()
        """Of tiles that nobody owns: those whose last owner never said that it worked."""
        self.cells_of_session: dict[SessionId, CellIndex] = {}
        self.adjacency = Adjacency()
        self.requirements = Requirements()
        self._sessions: list[SessionId] = []
        """By the code in the column `session`; codes of sessions without tiles are used again."""
        self._session_codes: dict[SessionId, int] = {}
        self._free_codes: list[int] = []
        self._tenants: dict[SessionId, TenantId] = {}
        self._coverages: dict[SessionId, Coverage] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return self.rows_used - len(self._free)

    def row(self, tile_id: TileId) -> int | None:
        """The row of a tile, or None."""
        session_id, _, cell_text = tile_id.rpartition(":")
        index = self.cells_of_session.get(SessionId(session_id))
        if index is None or len(cell_text) > CELL_TEXT_LENGTH_MAX:
            return None
        try:
            cell = int(cell_text, 16)
        except ValueError:
            return None
        # One tile has one id: other spellings of the same number are no ids.
        return index.get(cell) if f"{cell:x}" == cell_text else None

    def rows_at(self, session_id: SessionId, cells: CellArray) -> npt.NDArray[np.int32]:
        """The row of each of a session's cells, NO_ROW where it has no such tile."""
        index = self.cells_of_session.get(session_id)
        return np.full(cells.shape, NO_ROW, np.int32) if index is None else index.rows_of(cells)

    def id_of(self, row: int) -> TileId:
        """The id of the tile of a row."""
        return tile_id(self.session_of(row), int(self.cell[row]))

    def in_force(self) -> npt.NDArray[np.bool_]:
        """Which of the used rows hold a tile that is not retiring."""
        mask = self.exists[: self.rows_used].copy()
        mask[list(self.retiring)] = False
        return mask

    def items(self) -> Iterator[tuple[TileId, int]]:
        """All tiles with their rows."""
        for row in np.flatnonzero(self.exists[: self.rows_used]).tolist():
            yield self.id_of(row), row

    def session_of(self, row: int) -> SessionId:
        """The session a tile belongs to."""
        return self._sessions[int(self.session[row])]

    def tenant_of(self, row: int) -> TenantId:
        """The tenant whose session the tile belongs to."""
        return self._tenants[self.session_of(row)]

    def rows_of_session(self, session_id: SessionId) -> npt.NDArray[np.int32]:
        """The rows of a session's tiles, in the order of their cells."""
        index = self.cells_of_session.get(session_id)
        return np.empty(0, np.int32) if index is None else index.rows

    def rows_in_force(self, session_id: SessionId) -> npt.NDArray[np.int32]:
        """The rows of a session's tiles but for those that retire, in the order of their cells."""
        rows = self.rows_of_session(session_id)
        return rows[~np.isin(rows, list(self.retiring))] if self.retiring else rows

    def coverage(self, session_id: SessionId) -> Coverage:
        """The coverage of a session, as its tiles are now; those that retire have their place no more."""
        coverage = self._coverages.get(session_id)
        if coverage is None:
            cells: list[int] = self.cell[self.rows_in_force(session_id)].tolist()
            # Should two nested tiles ever meet, places belong to the larger one, and never to both.
            coverage = Coverage(resolve_overlaps(Coverage(), cells).added)
            # Kept only for sessions that have tiles: callers may ask for any id they make up.
            if cells:
                self._coverages[session_id] = coverage
        return coverage

    def add(self, tile_id: TileId, tenant_id: TenantId) -> int:
        """Take a row for a tile that has none; `write` fills it."""
        session_id, cell = parse_tile_id(tile_id)
        if self._free:
            row = self._free.pop()
        else:
            row = self.rows_used
            self.rows_used += 1
            if row == len(self.cell):
                self.grow()
        self.cell[row] = cell
        self.session[row] = self._session_code(session_id)
        self.exists[row] = True
        self._coverages.pop(session_id, None)
        index = self.cells_of_session.get(session_id)
        if index is None:
            index = self.cells_of_session[session_id] = CellIndex()
        index.put(cell, row)
        self._tenants[session_id] = tenant_id
        return row

    def write(self, row: int, record: TileRecord, version: int, owner_row: int) -> None:
        """Write a tile's record into its row. Loads stay as they are.

        Args:
            row: the tile's.
            record: what it now is.
            version: of the change that wrote the record.
            owner_row: the owner's row in the pod table, or NOBODY.
        """
        self.changed_at[row] = version
        self.capacity[row] = math.nan if record.capacity is None else record.capacity
        self._write_owner(row, record.owner, owner_row)
        self.last_epoch[row] = record.last_epoch
        _put_or_drop(self.next, row, record.next)
        _put_or_drop(self.draining, row, record.draining)
        _put_or_drop(self.pins, row, record.pin)
        _put_or_drop(self.forbidden, row, record.forbidden or None)
        _put_or_drop(self.suspicions, row, record.suspicion)
        _put_or_drop(self.quarantines, row, (record.suspicion and record.suspicion.quarantined_until_ms) or None)
        self.requirements.put(row, self.session_of(row), record.required)
        _put_or_drop(self.replaces, row, record.replaces or None)
        _put_or_drop(self.retired_at_ms, row, record.retired_at_ms)
        registered = record.registered_resolution
        self.registered_resolution[row] = AS_REGISTERED if registered is None else registered
        if record.retiring != (row in self.retiring):
            self._coverages.pop(self.session_of(row), None)
        _add_or_discard(self.retiring, row, record.retiring)
        _add_or_discard(self.not_taken_over, row, record.not_taken_over)

    def _write_owner(self, row: int, owner: Term | None, owner_row: int) -> None:
        self.owner[row] = owner_row
        if owner is None:
            self.owner_epoch[row] = self.owner_reason[row] = self.owner_since_ms[row] = 0
            self.owner_acknowledged_ms[row] = self.owner_load[row] = 0
            self.unacknowledged.pop(row, None)
            return
        self.owner_epoch[row] = owner.epoch
        self.owner_reason[row] = _REASON_CODES[owner.reason]
        self.owner_since_ms[row] = owner.assigned_at_ms
        self.owner_acknowledged_ms[row] = owner.acknowledged_at_ms or 0
        self.owner_load[row] = owner.load
        if owner.acknowledged_at_ms is None:
            self.unacknowledged[row] = (owner.reminders, owner.in_force_at_ms)
        else:
            self.unacknowledged.pop(row, None)

    def record(self, row: int, owner_id: PodId | None) -> TileRecord:
        """The record of a row, as the live store holds it."""
        capacity, registered = float(self.capacity[row]), int(self.registered_resolution[row])
        return TileRecord(
            tenant_id=self.tenant_of(row),
            capacity=None if math.isnan(capacity) else capacity,
            owner=self.owner_term(row, owner_id) if owner_id is not None else None,
            next=self.next.get(row),
            draining=self.draining.get(row),
            retiring=row in self.retiring,
            last_epoch=int(self.last_epoch[row]),
            pin=self.pins.get(row),
            required=self.requirements.own(row),
            forbidden=self.forbidden.get(row, ()),
            suspicion=self.suspicions.get(row),
            registered_resolution=None if registered == AS_REGISTERED else registered,
            replaces=self.replaces.get(row, ()),
            retired_at_ms=self.retired_at_ms.get(row),
            not_taken_over=row in self.not_taken_over,
        )

    def terms(self, row: int, owner_id: PodId | None) -> list[LivingTerm]:
        """The living terms of the tile of a row."""
        owner = None if owner_id is None else self.owner_term(row, owner_id)
        return living(owner, self.next.get(row), self.draining.get(row))

    def owner_term(self, row: int, owner_id: PodId) -> Term:
        """The term in force of an owned tile."""
        acknowledged_ms = int(self.owner_acknowledged_ms[row])
        reminders, in_force_at_ms = self.unacknowledged.get(row, (0, None))
        return Term(
            pod_id=owner_id,
            epoch=int(self.owner_epoch[row]),
            reason=REASONS[self.owner_reason[row]],
            assigned_at_ms=int(self.owner_since_ms[row]),
            # A term in force has passed READY, or needed none; either way nothing waits for it any more.
            ready=True,
            acknowledged_at_ms=acknowledged_ms or None,
            load=float(self.owner_load[row]),
            reminders=reminders,
            in_force_at_ms=in_force_at_ms,
        )

    def remove(self, row: int) -> None:
        """Forget a tile; its row is cleared and reused."""
        session_id = self.session_of(row)
        self._coverages.pop(session_id, None)
        index = self.cells_of_session[session_id]
        index.remove(int(self.cell[row]))
        if not index:
            del self.cells_of_session[session_id], self._tenants[session_id]
            self._free_codes.append(self._session_codes.pop(session_id))
        self.clear(row)
        for few in (
            self.next,
            self.unacknowledged,
            self.draining,
            self.pins,
            self.forbidden,
            self.suspicions,
            self.quarantines,
            self.replaces,
            self.retired_at_ms,
        ):
            few.pop(row, None)
        self.retiring.discard(row)
        self.not_taken_over.discard(row)
        self.adjacency.forget(row)
        self.requirements.forget(row)
        self._free.append(row)

    def _session_code(self, session_id: SessionId) -> int:
        code = self._session_codes.get(session_id)
        if code is None:
            if self._free_codes:
                code = self._free_codes.pop()
                self._sessions[code] = session_id
            else:
                code = len(self._sessions)
                self._sessions.append(session_id)
            self._session_codes[session_id] = code
        return code


def _put_or_drop(few: dict[int, T], row: int, value: T | None) -> None:
    if value is None:
        few.pop(row, None)
    else:
        few[row] = value


def _add_or_discard(few: set[int], row: int, belongs: bool) -> None:
    if belongs:
        few.add(row)
    else:
        few.discard(row)
