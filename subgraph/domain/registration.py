"""Owns what a caller registers for a session: cells, and what the tiles of these cells begin as."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from subgraph.domain.coverage.cells import CellArray, cell_array
from subgraph.domain.ids import TenantId
from subgraph.domain.labels import Labels
from subgraph.domain.ownership import TileRecord


class TileTemplate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What tiles begin as. It is kept as JSON by the names of its fields, so that more of them can come."""

    capacity: float | None = None
    required: Labels = {}

    def record(self, tenant_id: TenantId) -> TileRecord:
        """A new tile, which nobody owns yet."""
        return TileRecord(tenant_id, self.capacity, required=self.required)


@dataclass(frozen=True, slots=True)
class RegisteredCells:
    """Cells that were registered alike."""

    cells: CellArray
    template: TileTemplate


@dataclass(frozen=True, slots=True)
class NewCoverage:
    """What a session is made with: parts of which no cell lies inside another, for the fleet of an id."""

    fleet_id: str
    parts: tuple[RegisteredCells, ...]


@dataclass(frozen=True, slots=True)
class RegisteredCoverage:
    """All that is registered of a session; `revision` is another one after every registration, 0 before the first."""

    revision: int = 0
    parts: Sequence[RegisteredCells] = field(default_factory=tuple)

    @property
    def cells(self) -> CellArray:
        """All cells; none lies inside another."""
        return np.concatenate([cell_array(()), *(part.cells for part in self.parts)])

    def templates(self, cells: CellArray) -> Iterator[tuple[int, TileTemplate]]:
        """Those of the cells that are registered, each with what its tile begins as."""
        wanted = np.sort(cells)
        if not wanted.size:
            return
        # There may be as many parts as cells: each is sought among the wanted ones, which are sorted once.
        for part in self.parts:
            at = np.minimum(wanted.searchsorted(part.cells), wanted.size - 1)
            for cell in part.cells[wanted[at] == part.cells].tolist():
                yield cell, part.template
