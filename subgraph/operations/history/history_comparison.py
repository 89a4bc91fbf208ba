"""Owns comparing recorded terms with living ones: a difference is a term whose end the log never showed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.terms import TermFacts, living_terms
from subgraph.domain.fleet.tile_columns import NOBODY
from subgraph.domain.ownership import AssignmentState

_STATES = tuple(AssignmentState)


@dataclass(frozen=True, slots=True, eq=False)
class TermColumns:
    """Terms as columns: a term costs 9 bytes, so a million of them can be compared at once."""

    epochs: npt.NDArray[np.int64]
    states: npt.NDArray[np.int8]

    @classmethod
    def of(cls, terms: Sequence[tuple[int, AssignmentState]]) -> "TermColumns":
        """Terms given one by one."""
        return cls(
            np.array([epoch for epoch, _ in terms], np.int64),
            np.array([_STATES.index(state) for _, state in terms], np.int8),
        )

    @classmethod
    def joined(cls, parts: "Sequence[TermColumns]") -> "TermColumns":
        """All terms of the parts."""
        empty = cls.of(())
        return cls(
            np.concatenate([empty.epochs, *(part.epochs for part in parts)]),
            np.concatenate([empty.states, *(part.states for part in parts)]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class LivingTerms:
    """The living terms of a picture, and the row of the tile of each."""

    terms: TermColumns
    rows: npt.NDArray[np.int64]


def living_columns(fleet: Fleet) -> LivingTerms:
    """The living terms of all tiles."""
    tiles = fleet.tiles
    owned = np.flatnonzero(tiles.owner[: tiles.rows_used] != NOBODY)
    parts = [TermColumns(tiles.owner_epoch[owned], np.full(owned.size, _STATES.index(AssignmentState.ACTIVE), np.int8))]
    for few, state in ((tiles.next, AssignmentState.PREPARING), (tiles.draining, AssignmentState.DRAINING)):
        parts.append(TermColumns.of([(term.epoch, state) for term in few.values()]))
    rows = np.concatenate([owned, np.array([*tiles.next, *tiles.draining], np.int64)])
    return LivingTerms(TermColumns.joined(parts), rows)


def compare(recorded: TermColumns, living: LivingTerms) -> tuple[list[int], list[int]]:
    """The epochs recorded as living that do not live, and the rows of tiles with a term not recorded as it lives.

    Takes a while for a million terms; touches nothing but its arguments.

    Args:
        recorded: the terms whose end is not recorded, by rising epoch.
        living: those that live.
    """
    terms = living.terms
    vanished = recorded.epochs[~np.isin(recorded.epochs, terms.epochs)]
    is_recorded = np.zeros(terms.epochs.size, np.bool_)
    if recorded.epochs.size:
        at = np.minimum(np.searchsorted(recorded.epochs, terms.epochs), recorded.epochs.size - 1)
        is_recorded = (recorded.epochs[at] == terms.epochs) & (recorded.states[at] == terms.states)
    return vanished.tolist(), np.unique(living.rows[~is_recorded]).tolist()


def facts_of_living(fleet: Fleet, rows: Sequence[int]) -> list[TermFacts]:
    """What is known of the living terms of the tiles of some rows; those of tiles that are gone have none."""
    tiles, facts = fleet.tiles, list[TermFacts]()
    for row in rows:
        if tiles.exists[row]:
            tile_id, record = tiles.id_of(row), tiles.record(row, fleet.owner_id(row))
            version = int(tiles.changed_at[row])
            facts += [TermFacts(change, record.tenant_id, version) for change in living_terms(tile_id, record)]
    return facts
