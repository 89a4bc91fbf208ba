"""Owns the coverage register in memory, and which sessions are ACTIVE: it outlives every process, as SQL would."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from subgraph.domain.coverage import Coverage, cells_without
from subgraph.domain.coverage.cells import CellArray, cell_array
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import SessionId, TenantId, TileId, parse_tile_id
from subgraph.domain.registration import NewCoverage, RegisteredCells, RegisteredCoverage, TileTemplate
from subgraph.operations.coverage.coverage_ports import ActiveCoverage, CoverageChanged
from tests.support.fleets import TENANT


@dataclass(slots=True)
class CoverageInMemory:
    """Registered cells of sessions, all of one tenant."""

    coverages: dict[SessionId, RegisteredCoverage] = field(default_factory=dict)
    stopped: set[SessionId] = field(default_factory=set)
    tenant_id: TenantId = TENANT

    def note(self, tile_ids: Sequence[TileId], template: TileTemplate | None = None) -> None:
        """Register the cells of tiles."""
        for tile_id in tile_ids:
            session_id, cell = parse_tile_id(tile_id)
            self._add(session_id, RegisteredCells(cell_array((cell,)), template or TileTemplate()))

    def new(self, parts: Sequence[RegisteredCells]) -> NewCoverage:
        return NewCoverage("memory", tuple(parts))

    async def of_session(self, session_id: SessionId) -> RegisteredCoverage:
        return self.coverages.get(session_id, RegisteredCoverage())

    async def add(
        self, session_id: SessionId, cells: RegisteredCells, expected_revision: int, actor: str | None = None
    ) -> int:
        if await self.revision(session_id) != expected_revision:
            raise CoverageChanged(session_id)
        self._add(session_id, cells)
        return expected_revision + 1

    async def remove(self, session_id: SessionId, cells: CellArray, expected_revision: int, actor: str) -> int:
        if await self.revision(session_id) != expected_revision:
            raise CoverageChanged(session_id)
        gone, parts = Coverage(cells.tolist()), (await self.of_session(session_id)).parts
        left = [RegisteredCells(cells_without(part.cells, gone), part.template) for part in parts]
        kept = tuple(part for part in left if part.cells.size)
        self.coverages[session_id] = RegisteredCoverage(expected_revision + 1 if kept else 0, kept)
        return await self.revision(session_id)

    async def revision(self, session_id: SessionId) -> int:
        return (await self.of_session(session_id)).revision

    async def active_sessions(self) -> list[SessionId]:
        return self.active()

    def active(self) -> list[SessionId]:
        """The sessions that are ACTIVE."""
        return [session_id for session_id in self.coverages if session_id not in self.stopped]

    async def standing(self, session_ids: Sequence[SessionId]) -> dict[SessionId, ActiveCoverage | None]:
        return self.standing_of(session_ids)

    def standing_of(self, session_ids: Sequence[SessionId]) -> dict[SessionId, ActiveCoverage | None]:
        """What is registered of the sessions that there are; None for one that is not ACTIVE."""
        nothing = SessionRequirement(1, {})
        return {
            one: None if one in self.stopped else ActiveCoverage(self.tenant_id, nothing, self.coverages[one])
            for one in session_ids
            if one in self.coverages or one in self.stopped
        }

    def _add(self, session_id: SessionId, cells: RegisteredCells) -> None:
        known = self.coverages.get(session_id, RegisteredCoverage())
        self.coverages[session_id] = RegisteredCoverage(known.revision + 1, (*known.parts, cells))
