"""Owns which tiles a caller may see: all with fleet:read, otherwise those of sessions it may see."""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from subgraph.domain.access import Caller, Scope
from subgraph.domain.ids import SessionId
from subgraph.domain.sessions import Session

LoadSessions = Callable[[list[SessionId]], Awaitable[Sequence[Session | None]]]
"""Sessions by id as the caller may see them, None for others: one load for all that is asked at a time."""


async def sessions_with_visible_tiles(
    caller: Caller, session_ids: Iterable[SessionId], load: LoadSessions
) -> frozenset[SessionId]:
    """Those of the sessions whose tiles, and terms of ownership, there are for the caller."""
    wanted = list(dict.fromkeys(session_ids))
    if caller.has(Scope.FLEET_READ) or not wanted:
        return frozenset(wanted)
    return frozenset(session.id for session in await load(wanted) if session is not None)
