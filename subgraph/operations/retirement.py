"""Owns the release of a stopped session's tiles: owners drain, and nobody follows."""

from dataclasses import dataclass

from subgraph.domain import ownership
from subgraph.domain.ids import SessionId
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
