"""Owns what data loaders batch: which reads of many objects are alike, and are loaded together."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from subgraph.domain.errors import SessionManagerFailure
from subgraph.domain.ids import SessionId, TileId
from subgraph.domain.journal import SessionEventType

V = TypeVar("V")


class TileHistory(NamedTuple):
    """Which page of a tile's history."""

    tile_id: TileId
    first: int
    after: str | None


class Relatives(NamedTuple):
    """Which page of the sessions right above or below another."""

    session_id: SessionId
    above: bool
    first: int
    after: str | None


class RelativesCount(NamedTuple):
    """Which of the sessions right above or below another are counted."""

    session_id: SessionId
    above: bool


class EventPage(NamedTuple):
    """Which page of what the journal tells of a session."""

    session_id: SessionId
    types: frozenset[SessionEventType] | None
    first: int
    after: str | None


Wanted = TileHistory | Relatives | RelativesCount | EventPage


async def load_alike(
    wanted: Sequence[Wanted], load: Callable[..., Awaitable[Mapping[Any, V]]]
) -> list[V | SessionManagerFailure]:
    """Answers in the order of what is wanted, by one load for all of the same kind.

    Args:
        wanted: of which things what: an id, and the kind of what is wanted of it.
        load: called with the ids and the kind; answers by id. If it fails, it does so for that kind alone: a cursor
            that is none spoils no other page.
    """
    found: dict[tuple[Any, ...], V | SessionManagerFailure] = {}
    for kind in dict.fromkeys(one[1:] for one in wanted):
        ids = list(dict.fromkeys(one[0] for one in wanted if one[1:] == kind))
        try:
            loaded: Mapping[Any, V | SessionManagerFailure] = await load(ids, *kind)
        except SessionManagerFailure as failure:
            loaded = dict.fromkeys(ids, failure)
        found |= {(one, *kind): loaded[one] for one in ids}
    return [found[one] for one in wanted]
