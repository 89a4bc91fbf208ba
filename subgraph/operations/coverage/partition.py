"""Owns the use cases of tiles: registering a session's coverage, and finding the tile of a place."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from subgraph.domain.access import Caller, require_change
from subgraph.domain.coverage import TILES_PER_SESSION_MAX, Coverage, resolve_overlaps
from subgraph.domain.coverage.cells import CellArray, cell_array
from subgraph.domain.errors import InvalidInput, QuotaExceeded, Unavailable
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import SessionId, TileId, tile_id
from subgraph.domain.labels import Labels, check_required
from subgraph.domain.registration import NewCoverage, RegisteredCells, RegisteredCoverage, TileTemplate
from subgraph.domain.sessions import Session, SessionState, require_active
from subgraph.operations.coverage.coverage_ports import CoverageChanged, CoverageRegister
from subgraph.operations.coverage.label_rules import LabelRules
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.coverage.tile_making import Made, TileMaking
from subgraph.operations.fleet.fleet_pulse import Beat
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.sessions.sessions import Sessions

TILE_CAPACITY_MAX = 1e15
ENTER_ATTEMPTS_MAX = 10
REQUIRED_PATH = ("coverage", "requiredLabels")


@dataclass(frozen=True, slots=True)
class Registration:
    """What registering a coverage did: all tiles that now cover it, and how many of them are new."""

    tile_ids: tuple[TileId, ...]
    registered: int


@dataclass(frozen=True, slots=True)
class Partition:
    """The tiles of sessions."""

    sessions: Sessions
    coverage: CoverageRegister
    tile_making: TileMaking
    retirement: Retirement
    view: FleetView
    label_rules: LabelRules

    async def register(
        self, caller: Caller, session_id: SessionId, cells: Sequence[int], template: TileTemplate
    ) -> Registration:
        """Cover cells with tiles. Idempotent: what is covered already, by the cell or an ancestor, stays as it is.

        What is registered is written to SQL before its tiles to the live store; who repeats a call that failed between
        the two makes good what is missing.

        Raises:
            NotFound, IllegalState: the session is absent, or not ACTIVE.
            InvalidInput: a cell contains an existing smaller tile, the capacity is no positive number, or the required
                labels are malformed or contradict the session's.
            QuotaExceeded: the session would have too many tiles, or the fleet too many distinct sets of labels.
            Unavailable: also while tiles that the live store has lost are being restored.
        """
        _check_tile_capacity(template.capacity)
        session = await self.sessions.get(caller, session_id)
        require_change(caller, session, session_id, ("sessionId",))
        require_active(session, ("sessionId",))
        check_required(template.required, session.required_labels, REQUIRED_PATH)
        change = resolve_overlaps(self.view.current().tiles.coverage(session_id), cells)
        if not change.added:
            # Of tiles that went a moment ago this process may not know yet; what is to be added is looked at anew.
            _, fleet = await self.view.observe()
            change = resolve_overlaps(fleet.tiles.coverage(session_id), cells)
        if not change.added:
            return Registration(_ids(session_id, change.covering), 0)
        self.label_rules.check_room(template.required, session.required_labels, REQUIRED_PATH)
        # Before there are tiles it holds for; also when the live store was emptied, or forgot its last writes.
        await self.label_rules.note(session)
        registered, entered, known = await self._enter(session_id, change.added, template, caller.owner_id)
        covering = np.concatenate((entered, known))
        beat, fleet = await self.view.observe()
        self._require_restored(beat, fleet, session_id, known)
        made = await self._make(caller, session_id, fleet, registered, covering)
        return Registration(_ids(session_id, (*covering.tolist(), *change.covering)), made.tiles)

    def begun_with(self, cells: Sequence[int], template: TileTemplate) -> NewCoverage:
        """What has a session begin with cells: of nested ones the largest wins. The template was checked before."""
        added = cell_array(resolve_overlaps(Coverage(), cells).added)
        return self.coverage.new([RegisteredCells(added, template)])

    async def make_tiles(self, caller: Caller, session: Session, *, is_new: bool) -> None:
        """Have a session that was made with a coverage get its tiles, if it is ACTIVE.

        Who was asked again for one that was made before makes good what is missing of what is registered by now: what
        was unregistered since stays so. If nobody asks again, whoever looks for sessions without tiles does so.

        Raises:
            NotFound, IllegalState: it stopped meanwhile.
            Unavailable: also while tiles that the live store has lost are being restored.
        """
        registered = await self.coverage.of_session(session.id)
        if session.state is not SessionState.ACTIVE or not registered.parts:
            return
        await self.label_rules.note(session)
        beat, fleet = await self.view.observe()
        if not is_new:
            self._require_restored(beat, fleet, session.id, registered.cells)
        await self._make(caller, session.id, fleet, registered, registered.cells)

    def _require_restored(self, beat: Beat, fleet: Fleet, session_id: SessionId, known: CellArray) -> None:
        if not beat.is_restored and not fleet.tiles.coverage(session_id).touches(known).all():
            # In which parts these tiles come back is for the pods that held them to say.
            raise Unavailable("tiles of this session are being restored", retry_after_seconds=1.0)

    async def _make(
        self, caller: Caller, session_id: SessionId, fleet: Fleet, registered: RegisteredCoverage, cells: CellArray
    ) -> Made:
        made = await self.tile_making.make(fleet, caller.tenant_id, session_id, registered, cells)
        # A session that stopped meanwhile had its tiles released before these came.
        if (await self.sessions.get(caller, session_id)).state is not SessionState.ACTIVE:
            await self.retirement.retire_session(session_id)
            require_active(await self.sessions.get(caller, session_id), ("sessionId",))
            raise Unavailable(f"session {session_id!r} stopped and started meanwhile", retry_after_seconds=1.0)
        return made

    def check_template(self, template: TileTemplate, of_session: Labels) -> None:
        """Refuse what no registration would take; to be asked before anything is created on its account.

        Raises:
            InvalidInput, QuotaExceeded: as for `register`.
        """
        _check_tile_capacity(template.capacity)
        check_required(template.required, of_session, REQUIRED_PATH)
        self.label_rules.check_room(template.required, of_session, REQUIRED_PATH)

    async def _enter(
        self, session_id: SessionId, cells: Sequence[int], template: TileTemplate, actor: str
    ) -> tuple[RegisteredCoverage, CellArray, CellArray]:
        """Register cells that have no tile.

        Returns:
            All that is registered from then on; and what of it covers these cells: what is registered now, and what
            was before.
        """
        for _ in range(ENTER_ATTEMPTS_MAX):
            coverage = await self.coverage.of_session(session_id)
            known = Coverage(coverage.cells)
            # Two calls with nested cells must not both find the place free: the one that is written later looks again.
            change = resolve_overlaps(known, cells)
            total = len(known) + len(change.added)
            if total > TILES_PER_SESSION_MAX:
                raise QuotaExceeded("tiles a session", TILES_PER_SESSION_MAX, total, ("coverage",))
            added, covering = cell_array(change.added), cell_array(change.covering)
            if not change.added:
                return coverage, added, covering
            entered = RegisteredCells(added, template)
            try:
                revision = await self.coverage.add(session_id, entered, coverage.revision, actor)
            except CoverageChanged:
                continue
            return RegisteredCoverage(revision, (*coverage.parts, entered)), added, covering
        raise Unavailable(f"others keep registering tiles of session {session_id!r}", retry_after_seconds=1.0)

    def tile_at(self, session_id: SessionId, lat: float, lng: float) -> TileId | None:
        """The tile a record at a place belongs to, or None where the session has no coverage.

        Raises:
            InvalidInput: latitude or longitude is out of range.
        """
        cell = self.view.current().tiles.coverage(session_id).tile_at(lat, lng)
        return None if cell is None else tile_id(session_id, cell)


def _ids(session_id: SessionId, cells: Iterable[int]) -> tuple[TileId, ...]:
    return tuple(tile_id(session_id, cell) for cell in cells)


def _check_tile_capacity(tile_capacity: float | None) -> None:
    if tile_capacity is not None and not 0 < tile_capacity <= TILE_CAPACITY_MAX:
        raise InvalidInput(
            f"tileCapacity must be a number above 0 and at most {TILE_CAPACITY_MAX:g}",
            ("coverage", "tileCapacity"),
            f"{TILE_CAPACITY_MAX:g}",
        )
