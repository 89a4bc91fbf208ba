"""Owns how loads pass on when tiles take the place of others: no load is lost, and none counts twice.

The heirs of a tile that split have equal shares until they report themselves; a tile that others merged into has their
sum. Who replaced whom is seen from the cells: that also holds for a process that missed the change itself.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import h3.api.basic_int as h3
import numpy as np
import numpy.typing as npt

from subgraph.domain.fleet.tile_table import TileTable
from subgraph.domain.ids import SessionId, TileId, parse_tile_id

_CHILDREN = 7
_RATES = ("smoothed", "records_per_second", "bytes_per_second")
_COUNTS = ("volume_bytes", "backlog")

Cells = dict[tuple[SessionId, int], TileId]


@dataclass(frozen=True, slots=True)
class Estate:
    """What tiles leave behind, and the tiles that take their place with the share of each."""

    leavers: tuple[TileId, ...]
    heirs: tuple[TileId, ...]
    shares: npt.NDArray[np.float64]
    rates: tuple[float, ...]
    counts: tuple[int, ...]
    reported_at_ms: int


def estates(tiles: TileTable, leaving: Iterable[TileId], coming: Iterable[TileId]) -> list[Estate]:
    """What those that leave have for those that come in their place; others of them are passed over."""
    leavers, comers = _by_cell(leaving), _by_cell(coming)
    if not leavers or not comers:
        return []
    heirs_of: defaultdict[tuple[TileId, ...], list[TileId]] = defaultdict(list)
    leavers_of: defaultdict[TileId, list[TileId]] = defaultdict(list)
    for comer in comers.values():
        leaver = _ancestor(comer, leavers)
        if leaver is not None:
            heirs_of[leaver,].append(comer)
    for leaver in leavers.values():
        follower = _ancestor(leaver, comers)
        if follower is not None:
            leavers_of[follower].append(leaver)
    heirs_of.update((tuple(these), [comer]) for comer, these in leavers_of.items())
    return [_estate(tiles, these, heirs) for these, heirs in heirs_of.items()]


def inherit(tiles: TileTable, left: Iterable[Estate]) -> None:
    """Give the heirs what was left to them, and take it from those who left it."""
    for estate in left:
        _clear(tiles, estate.leavers)
        rows = [row for row in map(tiles.row, estate.heirs) if row is not None]
        for name, rate in zip(_RATES, estate.rates, strict=True):
            getattr(tiles, name)[rows] = rate * estate.shares
        for name, count in zip(_COUNTS, estate.counts, strict=True):
            getattr(tiles, name)[rows] = _parts(count, estate.shares)
        tiles.reported_at_ms[rows] = estate.reported_at_ms


def _by_cell(tile_ids: Iterable[TileId]) -> Cells:
    return {parse_tile_id(tile_id): tile_id for tile_id in tile_ids}


def _ancestor(tile_id: TileId, among: Cells) -> TileId | None:
    session_id, cell = parse_tile_id(tile_id)
    for resolution in range(h3.get_resolution(cell) - 1, -1, -1):
        found = among.get((session_id, h3.cell_to_parent(cell, resolution)))
        if found is not None:
            return found
    return None


def _estate(tiles: TileTable, leavers: tuple[TileId, ...], heirs: list[TileId]) -> Estate:
    rows = [row for row in map(tiles.row, leavers) if row is not None]
    reported = [row for row in rows if tiles.reported_at_ms[row]]
    # Grandchildren, where a split was missed, have a child's share in turn.
    shares = np.array([_CHILDREN ** -float(h3.get_resolution(parse_tile_id(heir)[1])) for heir in heirs])
    return Estate(
        leavers=leavers,
        heirs=tuple(heirs),
        shares=shares / shares.sum(),
        rates=tuple(float(getattr(tiles, name)[reported].sum()) if reported else _empty(name) for name in _RATES),
        counts=tuple(int(getattr(tiles, name)[reported].sum()) for name in _COUNTS),
        reported_at_ms=int(tiles.reported_at_ms[reported].max(initial=0)),
    )


def _empty(name: str) -> float:
    # No report is not zero: who inherits from a tile that never reported is unknown too.
    return float("nan") if name == "smoothed" else 0.0


def _clear(tiles: TileTable, leavers: Iterable[TileId]) -> None:
    for row in map(tiles.row, leavers):
        if row is not None:
            for name in (*_RATES, *_COUNTS, "reported_at_ms"):
                getattr(tiles, name)[row] = _empty(name)


def _parts(total: int, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Whole parts that add up to the total."""
    ends = np.rint(np.cumsum(shares) * total).astype(np.int64)
    return np.diff(ends, prepend=0)
