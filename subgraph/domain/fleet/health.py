"""Owns the health of tiles: the first that applies of UNASSIGNED, STALE, OVERLOADED, DEGRADED, HEALTHY."""

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.tile_columns import NOBODY

STALE_AFTER_INTERVALS = 3
OVERLOADED_ABOVE = 1.0
DEGRADED_ABOVE = 0.8


class TileHealth(StrEnum):
    """How a tile fares, worst first."""

    UNASSIGNED = "UNASSIGNED"
    STALE = "STALE"
    OVERLOADED = "OVERLOADED"
    DEGRADED = "DEGRADED"
    HEALTHY = "HEALTHY"


Rows = npt.NDArray[np.intp] | npt.NDArray[np.int32]

HEALTHS = tuple(TileHealth)
"""A health's code is its place here."""


def utilizations(fleet: Fleet, rows: Rows) -> npt.NDArray[np.float64]:
    """Smoothed load / tile capacity; 0 where nothing was reported or no capacity is known."""
    tiles = fleet.tiles
    capacity = capacities(fleet, rows)
    return np.nan_to_num(np.nan_to_num(tiles.smoothed[rows]) / capacity)


def capacities(fleet: Fleet, rows: Rows) -> npt.NDArray[np.float64]:
    """Tile capacity: the coverage's own, else the fleet's default. NaN where neither is known."""
    own = fleet.tiles.capacity[rows]
    return np.where(np.isnan(own), fleet.tile_capacity_default(), own)


def health_codes(fleet: Fleet, rows: Rows, now_ms: int, report_interval_ms: int) -> npt.NDArray[np.int8]:
    """Health of the tiles of some rows as codes into HEALTHS.

    A tile is STALE when its owner has said nothing for three report intervals; a new owner is given as long to begin.
    """
    tiles = fleet.tiles
    used = utilizations(fleet, rows)
    heard_ms = np.maximum(tiles.reported_at_ms[rows], tiles.owner_since_ms[rows])
    codes: npt.NDArray[np.int8] = np.select(
        [
            tiles.owner[rows] == NOBODY,
            now_ms - heard_ms > STALE_AFTER_INTERVALS * report_interval_ms,
            used > OVERLOADED_ABOVE,
            used > DEGRADED_ABOVE,
        ],
        [0, 1, 2, 3],
        4,
    ).astype(np.int8)
    return codes
