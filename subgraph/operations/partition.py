"""Owns the use cases of tiles: giving a session its coverage, and finding the tile of a place."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from subgraph.domain.access import Caller, require_change
from subgraph.domain.coverage import TILES_PER_SESSION_MAX, Coverage, resolve_overlaps
from subgraph.domain.coverage.cells import cell_array
from subgraph.domain.coverage.tiles import NO_TILE
from subgraph.domain.errors import InvalidInput, QuotaExceeded, Unavailable
from subgraph.domain.ids import SessionId, TenantId, TileId, tile_id
from subgraph.domain.labels import Labels, check_required
from subgraph.domain.registration import RegisteredCells, TileTemplate
from subgraph.domain.sessions import SessionState, require_active
from subgraph.operations.coverage_ports import CoverageChanged, CoverageRegister
from subgraph.operations.fleet_view import FleetView
from subgraph.operations.fleet_writes import TILES_PER_COMMIT_MAX, TileWrite
from subgraph.operations.label_rules import LabelRules
from subgraph.operations.live_fleet import LiveFleet
from subgraph.operations.retirement import Retirement
from subgraph.operations.sessions import Sessions

TILE_CAPACITY_MAX = 1e15
CATCH_UP_SECONDS = 2.0
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
    live: LiveFleet
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
            _, fleet = await self.view.observe(CATCH_UP_SECONDS)
            change = resolve_overlaps(fleet.tiles.coverage(session_id), cells)
        if not change.added:
            return Registration(_ids(session_id, change.covering), 0)
        self.label_rules.check_room(template.required, session.required_labels, REQUIRED_PATH)
        # Before there are tiles it holds for; also when the live store was emptied, or forgot its last writes.
        await self.label_rules.note(session)
        known, entered, revision = await self._enter(session_id, change.added, template, caller.owner_id)
        registered = await self._add(session_id, known, entered, caller.tenant_id)
        if await self.coverage.revision(session_id) != revision:
            # Who unregistered some of these meanwhile may have looked for their tiles before these came.
            covered = Coverage((await self.coverage.of_session(session_id)).cells.tolist())
            gone = [cell for cell in (*entered, *known) if not covered.covers(cell)]
            await Retirement(self.live, self.view).retire_within(session_id, cell_array(gone))
        # A session that stopped meanwhile had its tiles released before these came.
        if (await self.sessions.get(caller, session_id)).state is not SessionState.ACTIVE:
            await Retirement(self.live, self.view).retire_session(session_id)
            require_active(await self.sessions.get(caller, session_id), ("sessionId",))
            raise Unavailable(f"session {session_id!r} stopped and started meanwhile", retry_after_seconds=1.0)
        return Registration(_ids(session_id, (*entered, *known, *change.covering)), registered)

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
    ) -> tuple[dict[int, TileTemplate], dict[int, TileTemplate], int]:
        """Register cells that have no tile.

        Returns:
            The registered cells that cover them: those that were registered before, and those that are now; and at
            which revision of the coverage.
        """
        for _ in range(ENTER_ATTEMPTS_MAX):
            coverage = await self.coverage.of_session(session_id)
            known = Coverage(coverage.cells)
            # Two calls with nested cells must not both find the place free: the one that is written later looks again.
            change = resolve_overlaps(known, cells)
            total = len(known) + len(change.added)
            if total > TILES_PER_SESSION_MAX:
                raise QuotaExceeded("tiles a session", TILES_PER_SESSION_MAX, total, ("coverage",))
            revision = coverage.revision
            if change.added:
                try:
                    added = RegisteredCells(cell_array(change.added), template)
                    revision = await self.coverage.add(session_id, added, revision, actor)
                except CoverageChanged:
                    continue
            known_cells = dict(coverage.templates(cell_array(change.covering)))
            return known_cells, dict.fromkeys(change.added, template), revision
        raise Unavailable(f"others keep registering tiles of session {session_id!r}", retry_after_seconds=1.0)

    async def _add(
        self,
        session_id: SessionId,
        known: Mapping[int, TileTemplate],
        entered: Mapping[int, TileTemplate],
        tenant_id: TenantId,
    ) -> int:
        beat, fleet = await self.view.observe(CATCH_UP_SECONDS)
        wanted = {**known, **entered}
        existing, cells = fleet.tiles.coverage(session_id), cell_array(wanted)
        # Of a cell that was registered before, the tile may be there by now, or have split.
        missing = cells[(existing.tiles_of(cells) == NO_TILE) & (existing.descendants_of(cells) == NO_TILE)].tolist()
        if not beat.is_restored and not entered.keys() >= set(missing):
            # In which parts these tiles come back is for the pods that held them to say.
            raise Unavailable("tiles of this session are being restored", retry_after_seconds=1.0)
        writes = [TileWrite(tile_id(session_id, cell), 0, wanted[cell].record(tenant_id)) for cell in missing]
        registered = version = 0
        for start in range(0, len(writes), TILES_PER_COMMIT_MAX):
            chunk = writes[start : start + TILES_PER_COMMIT_MAX]
            committed = await self.live.commit(None, chunk)
            registered += len(chunk) - len(committed.tile_conflicts)
            # One chunk behind: this process reads what was written while the store writes what follows.
            await self.view.caught_up(version, CATCH_UP_SECONDS)
            version = max(version, committed.version)
        await self.view.caught_up(version, CATCH_UP_SECONDS)
        return registered

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
