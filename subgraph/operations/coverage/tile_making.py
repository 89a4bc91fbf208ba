"""Owns the making of tiles: what is registered and lacks its tiles gets them, unless it is unregistered by then.

The other way round is `Retirement`. SQL has the truth of what is registered; tiles follow it, in steps of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from subgraph.domain.coverage import Coverage
from subgraph.domain.coverage.cells import CellArray
from subgraph.domain.coverage.tiles import NO_TILE
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import SessionId, TenantId, tile_id
from subgraph.domain.registration import RegisteredCoverage
from subgraph.operations.coverage.coverage_ports import CoverageRegister
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.fleet_writes import TILES_PER_COMMIT_MAX, TileWrite
from subgraph.operations.fleet.live_fleet import LiveFleet


@dataclass(frozen=True, slots=True)
class Made:
    """How many tiles were made, and whether all that is registered of the cells has its tiles now."""

    tiles: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class TileMaking:
    """Tiles of what is registered."""

    coverage: CoverageRegister
    live: LiveFleet
    view: FleetView
    retirement: Retirement

    async def make(
        self, fleet: Fleet, tenant_id: TenantId, session_id: SessionId, registered: RegisteredCoverage, cells: CellArray
    ) -> Made:
        """Make the tiles that cells of a coverage lack; take back those of cells unregistered meanwhile. Idempotent.

        Args:
            fleet: a picture from after the coverage was read.
            tenant_id: the session's.
            session_id: the session.
            registered: its coverage, as it was read or written last.
            cells: some of it, or all.

        Raises:
            Unavailable: the live store or SQL does not answer, or tiles to be taken back kept changing.
        """
        missing = cells[~fleet.tiles.coverage(session_id).touches(cells)]
        templates = registered.templates(missing)
        writes = [TileWrite(tile_id(session_id, cell), 0, template.record(tenant_id)) for cell, template in templates]
        made = await self._write(writes)
        if await self.coverage.revision(session_id) == registered.revision:
            # Where one was not made, a former tile that is drained keeps the place until its pod lets go of it.
            return Made(made, is_whole=made == len(writes))
        # Who unregistered some of these meanwhile may have looked for their tiles before these came.
        wanted = Coverage((await self.coverage.of_session(session_id)).cells)
        await self.retirement.retire_within(session_id, cells[wanted.tiles_of(cells) == NO_TILE])
        return Made(made, is_whole=False)

    async def _write(self, writes: Sequence[TileWrite]) -> int:
        made = version = 0
        for start in range(0, len(writes), TILES_PER_COMMIT_MAX):
            chunk = writes[start : start + TILES_PER_COMMIT_MAX]
            committed = await self.live.commit(None, chunk)
            made += len(chunk) - len(committed.tile_conflicts)
            # One chunk behind: this process reads what was written while the store writes what follows.
            await self.view.caught_up(version)
            version = max(version, committed.version)
        await self.view.caught_up(version)
        return made
