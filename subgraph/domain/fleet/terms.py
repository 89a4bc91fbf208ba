"""Owns how terms of ownership are told: each with its tile and state, all living ones or those a change made other."""

from dataclasses import dataclass

from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AssignmentState, Term, TileRecord, ended_terms, terms_of


@dataclass(frozen=True, slots=True)
class TermChange:
    """A pod's term as a change left it. `replaces`: the tiles whose former owners it shuts out before it works."""

    tile_id: TileId
    term: Term
    state: AssignmentState
    pinned: bool = False
    replaces: tuple[TileId, ...] = ()


def term_change(
    tile_id: TileId, term: Term, state: AssignmentState, pin: PodId | None, replaces: tuple[TileId, ...]
) -> TermChange:
    """A term of a tile that has this pin, and still replaces these tiles."""
    to_come = state in (AssignmentState.ACTIVE, AssignmentState.PREPARING)
    return TermChange(tile_id, term, state, pin == term.pod_id, replaces if to_come else ())


def living_terms(tile_id: TileId, record: TileRecord) -> list[TermChange]:
    """The living terms of a tile: owner, next, former."""
    return [term_change(tile_id, term, state, record.pin, record.replaces) for term, state in terms_of(record)]


def changed_terms(tile_id: TileId, before: TileRecord | None, after: TileRecord | None) -> list[TermChange]:
    """The terms that a change of a tile ended, began or made other."""
    known = {(term, state) for term, state in terms_of(before)} if before else set()
    now = terms_of(after) if after else []
    pin, replaces = (after.pin, after.replaces) if after else (None, ())
    return [
        term_change(tile_id, term, state, pin, replaces)
        for term, state in (*ended_terms(before, after), *now)
        if (term, state) not in known
    ]
