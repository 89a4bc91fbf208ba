"""Owns the use cases of tiles: giving a session its coverage, taking it away, and finding the tile of a place."""

from collections.abc import Sequence
from dataclasses import dataclass

from subgraph.domain import ownership
from subgraph.domain.coverage import resolve_overlaps
from subgraph.domain.errors import InvalidInput, QuotaExceeded
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import SessionId, TileId, tile_id
from subgraph.domain.labels import Labels, check_required
from subgraph.domain.ownership import TileRecord
from subgraph.domain.sessions import SessionState, require_active
from subgraph.operations.fleet_view import FleetView
from subgraph.operations.label_rules import LabelRules
from subgraph.operations.live_fleet import TILES_PER_COMMIT_MAX, LiveFleet, TileWrite
from subgraph.operations.sessions import Caller, Sessions

TILES_PER_SESSION_MAX = 1_000_000
TILE_CAPACITY_MAX = 1e15
CATCH_UP_SECONDS = 2.0
RETIRE_ATTEMPTS_MAX = 10
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
    live: LiveFleet
    view: FleetView
    label_rules: LabelRules

    async def register(
        self,
        caller: Caller,
        session_id: SessionId,
        cells: Sequence[int],
        tile_capacity: float | None,
        required: Labels,
    ) -> Registration:
        """Cover cells with tiles. Idempotent: what is covered already, by the cell or an ancestor, stays as it is.

        Raises:
            NotFound, IllegalState: the session is absent, or not ACTIVE.
            InvalidInput: a cell contains an existing smaller tile, the capacity is no positive number, or the required
                labels are malformed or contradict the session's.
            QuotaExceeded: the session would have too many tiles, or the fleet too many distinct sets of labels.
        """
        _check_tile_capacity(tile_capacity)
        session = await self.sessions.get(caller, session_id)
        require_active(session, ("sessionId",))
        check_required(required, session.required_labels, REQUIRED_PATH)
        change = resolve_overlaps(self.view.current().tiles.coverage(session_id), cells)
        registered = 0
        if change.added:
            self.label_rules.check_room(required, session.required_labels, REQUIRED_PATH)
            # Before there are tiles it holds for; also when the live store was emptied, or forgot its last writes.
            await self.label_rules.note(session)
            # Two calls with nested cells must not both find the place free.
            async with self.live.exclusively(f"coverage:{session_id}"):
                _, fleet = await self.view.observe(CATCH_UP_SECONDS)
                change = resolve_overlaps(fleet.tiles.coverage(session_id), cells)
                record = TileRecord(caller.tenant_id, tile_capacity, required=dict(required))
                registered = await self._add(fleet, session_id, change.added, record)
        # A session that stopped meanwhile had its tiles released before these came.
        if (await self.sessions.get(caller, session_id)).state is not SessionState.ACTIVE:
            await self.retire_session(session_id)
            require_active(await self.sessions.get(caller, session_id), ("sessionId",))
        return Registration(tuple(tile_id(session_id, cell) for cell in (*change.added, *change.covering)), registered)

    def check_coverage(self, tile_capacity: float | None, required: Labels, of_session: Labels) -> None:
        """Refuse what no registration would take; to be asked before anything is created on its account.

        Raises:
            InvalidInput, QuotaExceeded: as for `register`.
        """
        _check_tile_capacity(tile_capacity)
        check_required(required, of_session, REQUIRED_PATH)
        self.label_rules.check_room(required, of_session, REQUIRED_PATH)

    async def _add(self, fleet: Fleet, session_id: SessionId, cells: Sequence[int], record: TileRecord) -> int:
        total = len(fleet.tiles.rows_of_session(session_id)) + len(cells)
        if total > TILES_PER_SESSION_MAX:
            raise QuotaExceeded("tiles a session", TILES_PER_SESSION_MAX, total, ("coverage",))
        writes = [TileWrite(tile_id(session_id, cell), 0, record) for cell in cells]
        registered = 0
        for start in range(0, len(writes), TILES_PER_COMMIT_MAX):
            chunk = writes[start : start + TILES_PER_COMMIT_MAX]
            committed = await self.live.commit(None, chunk)
            registered += len(chunk) - len(committed.tile_conflicts)
            await self.view.caught_up(committed.version, CATCH_UP_SECONDS)
        return registered

    async def retire_session(self, session_id: SessionId) -> None:
        """Release the tiles of a session that has stopped: owners drain and nobody follows. Idempotent."""
        for _ in range(RETIRE_ATTEMPTS_MAX):
            _, fleet = await self.view.observe(CATCH_UP_SECONDS)
            rows = fleet.tiles.rows_of_session(session_id).tolist()
            tile_ids = [fleet.tiles.id_of(row) for row in rows if row not in fleet.tiles.retiring]
            if not tile_ids:
                await self.live.require(session_id, None)
                return
            for start in range(0, len(tile_ids), TILES_PER_COMMIT_MAX):
                now_ms = self.view.now_ms()
                stored = await self.live.read_tiles(tile_ids[start : start + TILES_PER_COMMIT_MAX])
                writes = [
                    TileWrite(tile, found.version, ownership.retire(found.record, now_ms))
                    for tile, found in stored.items()
                    if not found.record.retiring
                ]
                committed = await self.live.commit(None, writes)
                await self.view.caught_up(committed.version, CATCH_UP_SECONDS)

    def tile_at(self, session_id: SessionId, lat: float, lng: float) -> TileId | None:
        """The tile a record at a place belongs to, or None where the session has no coverage.

        Raises:
            InvalidInput: latitude or longitude is out of range.
        """
        cell = self.view.current().tiles.coverage(session_id).tile_at(lat, lng)
        return None if cell is None else tile_id(session_id, cell)


def _check_tile_capacity(tile_capacity: float | None) -> None:
    if tile_capacity is not None and not 0 < tile_capacity <= TILE_CAPACITY_MAX:
        raise InvalidInput(
            f"tileCapacity must be a number above 0 and at most {TILE_CAPACITY_MAX:g}",
            ("coverage", "tileCapacity"),
            f"{TILE_CAPACITY_MAX:g}",
        )
