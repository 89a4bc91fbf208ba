"""Owns which H3 cells a session covers: reading them from clients, and finding the one tile a place belongs to."""

from subgraph.domain.coverage.cells import COVERAGE_CELLS_MAX, FINEST_RESOLUTION, finest_cell, parse_cell, parse_cells
from subgraph.domain.coverage.fill import cells_of_polygon
from subgraph.domain.coverage.tiles import (
    TILES_PER_SESSION_MAX,
    Coverage,
    CoverageChange,
    cells_without,
    resolve_overlaps,
)
from subgraph.domain.coverage.within import cells_within, read_area

__all__ = [
    "COVERAGE_CELLS_MAX",
    "FINEST_RESOLUTION",
    "TILES_PER_SESSION_MAX",
    "Coverage",
    "CoverageChange",
    "cells_of_polygon",
    "cells_within",
    "cells_without",
    "finest_cell",
    "parse_cell",
    "parse_cells",
    "read_area",
    "resolve_overlaps",
]
