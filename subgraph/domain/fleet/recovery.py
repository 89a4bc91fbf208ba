"""Owns what becomes of tiles once the live store has lost writes: which there are, and who goes on with them.

Three things are known of a session then: the cells that were registered, the tiles that the store still has, and what
pods say they held. The latter two may be parts of registered cells, by splits that the one or the other does not know.
In every place the highest epoch decides, for it was in force last.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import h3.api.basic_int as h3
import msgspec
import numpy as np
import numpy.typing as npt

from subgraph.domain import ownership
from subgraph.domain.coverage import Coverage
from subgraph.domain.coverage.cells import CellArray, cell_array, first_keys_of, is_within, keys_of
from subgraph.domain.coverage.tiles import NO_TILE
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.tile_columns import NOBODY
from subgraph.domain.ids import PodId, SessionId, TenantId, TileId, tile_id
from subgraph.domain.ownership import TileRecord
from subgraph.domain.registration import RegisteredCoverage, TileTemplate

Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Claim:
    """A pod held a tile at an epoch."""

    pod_id: PodId
    epoch: int


@dataclass(frozen=True, slots=True)
class Regained:
    """What tiles of one place become, all of it or nothing; None: a tile goes. Some of them have a new owner."""

    tiles: Mapping[TileId, TileRecord | None]
    owners: Mapping[TileId, Claim] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LostSession:
    """A session whose tiles are to be regained.

    `era_began`: the first version of the era; nobody has confirmed terms at older epochs. `granted`: the tiles that
    pods have regained in this era, with the epochs they had claimed.
    """

    session_id: SessionId
    tenant_id: TenantId
    coverage: RegisteredCoverage
    era_began: int
    granted: Mapping[TileId, int] = field(default_factory=dict)


def regain_claimed(lost: LostSession, fleet: Fleet, claims: Mapping[int, Claim]) -> Iterator[Regained]:
    """Tiles go to the pods that held them, where nobody held the place later or was given it since.

    What is written is decided when it is asked for, so the fleet may change in between.

    Args:
        lost: the session.
        fleet: the picture to decide on.
        claims: by cell; of several to one cell, that at the highest epoch. Of what is not registered nothing comes.
    """
    cells, stored = cell_array(claims), _StoredCells(fleet, lost.session_id)
    roots = Coverage(lost.coverage.cells).tiles_of(cells)
    claimed_in: dict[int, dict[int, Claim]] = {}
    for cell, root in zip(cells.tolist(), roots.tolist(), strict=True):
        if root != NO_TILE:
            claimed_in.setdefault(root, {})[cell] = claims[cell]
    for root, template in lost.coverage.templates(cell_array(claimed_in)):
        regained = _regain_place(lost, fleet, root, template, stored.within(root), claimed_in[root])
        if regained.tiles:
            yield regained


def regain_rest(lost: LostSession, fleet: Fleet) -> Iterator[Regained]:
    """When nobody is waited for any more: all that is registered has tiles, and terms that nobody confirmed end."""
    stored = _StoredCells(fleet, lost.session_id)
    settled = stored.cells[_is_settled(fleet, lost)]
    cells = lost.coverage.cells
    is_whole = np.isin(cells, settled) & (stored.counts_within(cells) == 1)
    for root, template in lost.coverage.templates(cells[~is_whole]):
        regained = _regain_place(lost, fleet, root, template, stored.within(root), {})
        if regained.tiles:
            yield regained
    unsettled = stored.cells[~np.isin(stored.cells, settled)]
    for cell in unsettled[Coverage(cells).tiles_of(unsettled) == NO_TILE].tolist():
        tile = tile_id(lost.session_id, cell)
        record = fleet.record(tile)
        if record is not None:
            yield Regained({tile: ownership.without_terms_before(record, lost.era_began)})


def tiling(cell: int, strengths: Mapping[int, int]) -> list[int]:
    """The tiles that make up a cell: itself, or the parts that are known of it and what lies between them.

    Args:
        cell: the cell.
        strengths: by cell, the epoch at which it and its parts are known; what is not in it gives way to its parts.
    """
    inner = {one: strength for one, strength in strengths.items() if one != cell and is_within(one, cell)}
    if not inner or strengths.get(cell, -1) >= max(inner.values()):
        return [cell]
    return [tile for child in h3.cell_to_children(cell) for tile in tiling(child, _inside(child, inner))]


def _inside(cell: int, strengths: Mapping[int, int]) -> dict[int, int]:
    return {one: strength for one, strength in strengths.items() if is_within(one, cell)}


def _regain_place(
    lost: LostSession,
    fleet: Fleet,
    root: int,
    template: TileTemplate,
    stored: Sequence[int],
    claims: Mapping[int, Claim],
) -> Regained:
    records: dict[int, TileRecord] = {}
    retiring: dict[int, TileRecord] = {}
    for cell in stored:
        record = fleet.record(tile_id(lost.session_id, cell))
        if record is not None:
            (retiring if record.retiring else records)[cell] = record
    known = {cell: lost.granted.get(tile_id(lost.session_id, cell), one.last_epoch) for cell, one in records.items()}
    strengths = dict(known)
    for cell, claim in claims.items():
        strengths[cell] = max(strengths.get(cell, 0), claim.epoch)
    tiles: dict[TileId, TileRecord | None] = {}
    owners: dict[TileId, Claim] = {}
    chosen = tiling(root, strengths)
    for cell in chosen:
        tile, record = tile_id(lost.session_id, cell), records.get(cell)
        after = record or _new_tile(lost, root, cell, template)
        if cell in claims and _is_latest(claims[cell], record, known.get(cell, 0), lost.era_began):
            owners[tile] = claims[cell]
        elif not claims:  # nobody is waited for any more
            after = ownership.without_terms_before(after, lost.era_began) or after
        if tile in owners or after != record:
            tiles[tile] = after
    gone = records.keys() - set(chosen)
    tiles |= {tile_id(lost.session_id, cell): None for cell in gone}
    if not claims:
        for cell in retiring.keys() - set(chosen):
            after_retiring = ownership.without_terms_before(retiring[cell], lost.era_began)
            if after_retiring != retiring[cell]:
                tiles[tile_id(lost.session_id, cell)] = after_retiring
    return Regained(tiles, owners)


def _is_latest(claim: Claim, record: TileRecord | None, known_epoch: int, era_began: int) -> bool:
    if record is not None and record.last_epoch >= era_began:
        # Somebody was given the tile since; whoever claimed it then may have held it before this pod did.
        return claim.epoch > known_epoch
    return claim.epoch >= known_epoch


def _new_tile(lost: LostSession, root: int, cell: int, template: TileTemplate) -> TileRecord:
    record = template.record(lost.tenant_id)
    return record if cell == root else msgspec.structs.replace(record, registered_resolution=h3.get_resolution(root))


def _is_settled(fleet: Fleet, lost: LostSession) -> Flags:
    """Which of a session's stored tiles, in the order of their cells, have no term that is older than the era."""
    tiles, rows = fleet.tiles, fleet.tiles.rows_of_session(lost.session_id)
    settled: Flags = (tiles.owner[rows] == NOBODY) | (tiles.owner_epoch[rows] >= lost.era_began)
    for terms in (tiles.next, tiles.draining):
        old = [row for row, term in terms.items() if term.epoch < lost.era_began]
        settled &= ~np.isin(rows, old)
    settled &= ~np.isin(rows, list(tiles.retiring))
    return settled


class _StoredCells:
    """The cells of a session's tiles as they were stored at one moment, retiring ones included."""

    def __init__(self, fleet: Fleet, session_id: SessionId) -> None:
        self.cells: CellArray = fleet.tiles.cell[fleet.tiles.rows_of_session(session_id)]
        order = np.argsort(keys_of(self.cells))
        self._by_key, self._keys = self.cells[order], keys_of(self.cells)[order]

    def within(self, cell: int) -> list[int]:
        """Those that are the cell or lie inside it."""
        first, end = self._bounds(cell_array((cell,)))
        within: list[int] = self._by_key[first[0] : end[0]].tolist()
        return within

    def counts_within(self, cells: CellArray) -> Places:
        """How many are each cell or lie inside it."""
        first, end = self._bounds(cells)
        return end - first

    def _bounds(self, cells: CellArray) -> tuple[Places, Places]:
        return self._keys.searchsorted(first_keys_of(cells)), self._keys.searchsorted(keys_of(cells), side="right")
