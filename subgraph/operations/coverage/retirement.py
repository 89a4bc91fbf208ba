"""Owns the release of tiles, all of a session or some: their owners drain them and get no successor."""

from collections.abc import Sequence
from dataclasses import dataclass

from subgraph.domain import ownership
from subgraph.domain.coverage import Coverage, resolve_overlaps
from subgraph.domain.coverage.cells import CellArray
from subgraph.domain.coverage.tiles import NO_TILE
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TileId
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.fleet_writes import TILES_PER_COMMIT_MAX, TileWrite
from subgraph.operations.fleet.live_fleet import LiveFleet

RETIRE_ATTEMPTS_MAX = 10


@dataclass(frozen=True, slots=True)
class Retirement:
    """Tiles of sessions that have stopped."""

    live: LiveFleet
    view: FleetView

    async def retire_session(self, session_id: SessionId) -> None:
        """Release the tiles of a session that has stopped: owners drain and nobody follows. Idempotent.

        Raises:
            Unavailable: the live store does not answer, or they kept changing.
        """
        await self._retire_all(session_id)
        await self.live.require(session_id, None)

    async def retire_within(self, session_id: SessionId, cells: CellArray) -> None:
        """Release the tiles of a session that are some cells or parts of them. Idempotent.

        Raises:
            Unavailable: as for `retire_session`.
        """
        if cells.size:
            await self._retire_all(session_id, Coverage(resolve_overlaps(Coverage(), cells.tolist()).added))

    async def _retire_all(self, session_id: SessionId, outer: Coverage | None = None) -> None:
        # What is retired may have split or merged since it was looked at.
        for _ in range(RETIRE_ATTEMPTS_MAX):
            _, fleet = await self.view.observe()
            rows = fleet.tiles.rows_in_force(session_id)
            if outer is not None:
                rows = rows[outer.tiles_of(fleet.tiles.cell[rows]) != NO_TILE]
            if not rows.size:
                return
            await self._retire([fleet.tiles.id_of(row) for row in rows.tolist()])
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
            await self.view.caught_up(committed.version)
