"""Owns the release of tiles that are not wanted any more, all of a session or some: owners drain, nobody follows."""

from collections.abc import Sequence
from dataclasses import dataclass

from subgraph.domain import ownership
from subgraph.domain.coverage import Coverage, resolve_overlaps
from subgraph.domain.coverage.cells import CellArray
from subgraph.domain.coverage.tiles import NO_TILE
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TileId
from subgraph.operations.fleet_view import FleetView
from subgraph.operations.live_fleet import TILES_PER_COMMIT_MAX, LiveFleet, TileWrite

CATCH_UP_SECONDS = 2.0
RETIRE_ATTEMPTS_MAX = 10


@dataclass(frozen=True, slots=True)
class Retirement:
    """Tiles of sessions that have stopped."""

    live: LiveFleet
    view: FleetView

    async def retire_session(self, session_id: SessionId) -> None:
        """Release the tiles of a session that has stopped: owners drain and nobody follows. Idempotent."""
        for _ in range(RETIRE_ATTEMPTS_MAX):
            _, fleet = await self.view.observe(CATCH_UP_SECONDS)
            rows = fleet.tiles.rows_in_force(session_id).tolist()
            if not rows:
                await self.live.require(session_id, None)
                return
            await self._retire([fleet.tiles.id_of(row) for row in rows])

    async def retire_within(self, session_id: SessionId, cells: CellArray) -> None:
        """Release the tiles of a session that are some cells or parts of them. Idempotent.

        Raises:
            Unavailable: the live store does not answer, or they kept splitting and merging.
        """
        if not cells.size:
            return
        outer = Coverage(resolve_overlaps(Coverage(), cells.tolist()).added)
        for _ in range(RETIRE_ATTEMPTS_MAX):
            _, fleet = await self.view.observe(CATCH_UP_SECONDS)
            rows = fleet.tiles.rows_in_force(session_id)
            within = rows[outer.tiles_of(fleet.tiles.cell[rows]) != NO_TILE].tolist()
            if not within:
                return
            await self._retire([fleet.tiles.id_of(row) for row in within])
        raise Unavailable(f"tiles of session {session_id!r} kept changing; try again", retry_after_seconds=1.0)

    async def _retire(self, tile_ids: Sequence[TileId]) -> None:
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
