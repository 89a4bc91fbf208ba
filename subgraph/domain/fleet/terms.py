"""Owns how terms of ownership are told: each with its tile and state, all living ones or those a change made other."""

from dataclasses import dataclass

from subgraph.domain.ids import PodId, TenantId, TileId
from subgraph.domain.ownership import AssignmentState, Term, TileRecord, ended_terms, terms_of


@dataclass(frozen=True, slots=True)
class TermChange:
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
    to_come = state in (AssignmentState.ACTIVE, AssignmentState.PREPARING)
    return TermChange(tile_id, term, state, pin == term.pod_id, replaces if to_come else ())


def living_terms(tile_id: TileId, record: TileRecord) -> list[TermChange]:
    """The living terms of a tile: owner, next, former."""
    return [term_change(tile_id, term, state, record.pin, record.replaces) for term, state in terms_of(record)]


def changed_terms(tile_id: TileId, before: TileRecord | None, after: TileRecord | None, at_ms: int) -> list[TermChange]:
    """The terms that a change of a tile ended (at its time), began or made other."""
    known = terms_of(before) if before else []
    pin = after.pin if after else None
    ended = [
        TermChange(tile_id, term, state, pin == term.pod_id, ended_at_ms=at_ms)
        for term, state in ended_terms(before, after)
    ]
    living = living_terms(tile_id, after) if after else []
    return ended + [change for change in living if (change.term, change.state) not in known]
