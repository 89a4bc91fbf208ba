"""Owns how terms of ownership are told: each with its tile and state, all living ones or those a change made other."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from subgraph.domain.ids import PodId, TenantId, TileId
from subgraph.domain.ownership import AssignmentState, LivingTerm, Term, TileRecord, ended_among, terms_of


class TermChange(msgspec.Struct, frozen=True):
    """A pod's term as a change left it.

    `replaces`: the tiles whose former owners it shuts out before it works. `ended_at_ms` (Redis time) is None while it
    lives.
    """

    tile_id: TileId
    term: Term
    state: AssignmentState
    pinned: bool = False
    replaces: tuple[TileId, ...] = ()
    ended_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class TermFacts:
    """What history keeps of a term, as of the change of a version: of two accounts, that of the later one is right."""

    change: TermChange
    tenant_id: TenantId
    version: int


def term_change(
    tile_id: TileId, term: Term, state: AssignmentState, pin: PodId | None, replaces: tuple[TileId, ...]
) -> TermChange:
    """A living term of a tile that has this pin, and still replaces these tiles."""
    to_come = state is not AssignmentState.DRAINING
    return TermChange(tile_id, term, state, pin == term.pod_id, replaces if to_come else ())


def living_terms(tile_id: TileId, record: TileRecord) -> list[TermChange]:
    """The living terms of a tile: owner, next, former."""
    return [term_change(tile_id, term, state, record.pin, record.replaces) for term, state in terms_of(record)]


def changed_terms(
    tile_id: TileId, known: Sequence[LivingTerm], after: TileRecord | None, at_ms: int
) -> list[TermChange]:
    """The terms that a change of a tile ended (at its time), began or made other.

    `known`: those that lived before. `after`: what the tile has become; None: it is gone.
    """
    living = terms_of(after) if after else []
    pin = after.pin if after else None
    changes = [
        TermChange(tile_id, term, state, pin == term.pod_id, ended_at_ms=at_ms)
        for term, state in ended_among(known, living)
    ]
    if after is not None:
        changes += [
            term_change(tile_id, term, state, after.pin, after.replaces)
            for term, state in living
            if (term, state) not in known
        ]
    return changes
