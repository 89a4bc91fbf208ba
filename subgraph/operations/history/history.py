"""Owns queries of the history of ownership: what SQL has recorded, updated with the living terms."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from subgraph.domain.access import Caller, Scope
from subgraph.domain.errors import InvalidInput, NotAllowed
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.terms import TermChange, TermFacts
from subgraph.domain.ids import PodId, SessionId, TileId
from subgraph.domain.ownership import END_OF
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.readings import term_of
from subgraph.operations.history.recent_ends import RecentEnds
from subgraph.operations.history.term_history import TermFilter, TermHistory
from subgraph.operations.ports import Page


@dataclass(frozen=True, slots=True)
class History:
    """Terms of ownership, living and ended. A term shows about a second after it was given."""

    recorded: TermHistory
    view: FleetView
    recent: RecentEnds

    async def page(
        self,
        caller: Caller,
        session_id: SessionId | None,
        pod_id: PodId | None,
        since_ms: int | None,
        until_ms: int | None,
        first: int,
        after: str | None,
    ) -> Page[TermChange]:
        """Terms given from `since_ms` on and before `until_ms`, newest first: of a session, or of the fleet.

        Raises:
            NotAllowed: no session is given, and the caller may not see the fleet.
            InvalidInput: the time ends before it begins, or `after` is not a cursor of this list.
            Unavailable: SQL does not answer.
        """
        if since_ms is not None and until_ms is not None and since_ms > until_ms:
            raise InvalidInput("since must not be later than until", ("since",))
        sees_all = caller.has(Scope.FLEET_READ)
        if session_id is None and not sees_all:
            raise NotAllowed(Scope.FLEET_READ, ("sessionId",))
        tenant_id = None if sees_all else caller.tenant_id
        found = await self.recorded.page(TermFilter(tenant_id, session_id, pod_id, since_ms, until_ms), first, after)
        return self._shown(found)

    async def of_tiles(
        self, tile_ids: Sequence[TileId], first: int, after: str | None
    ) -> dict[TileId, Page[TermChange]]:
        """The terms of each of some tiles, newest first.

        Raises:
            InvalidInput: `after` is not a cursor of these lists.
            Unavailable: SQL does not answer.
        """
        found = await self.recorded.pages_of_tiles(tile_ids, first, after)
        return {tile_id: self._shown(page) for tile_id, page in found.items()}

    async def terms(self, caller: Caller, wanted: Sequence[tuple[TileId, int]]) -> dict[tuple[TileId, int], TermChange]:
        """The terms of the caller's tiles by tile and epoch; absent and foreign ones are simply not in the answer.

        Raises:
            Unavailable: SQL does not answer.
        """
        found = await self.recorded.terms([epoch for _, epoch in wanted])
        return {
            (tile_id, epoch): self._as_of_now(found[epoch])
            for tile_id, epoch in wanted
            if epoch in found and found[epoch].change.tile_id == tile_id and caller.reaches(found[epoch].tenant_id)
        }

    def _shown(self, page: Page[TermFacts]) -> Page[TermChange]:
        return Page(tuple(map(self._as_of_now, page.items)), page.cursors, page.has_next, page.total_count)

    def _as_of_now(self, facts: TermFacts) -> TermChange:
        change = facts.change
        if not self.view.is_current:
            return change  # what is recorded can be read while the live store is away
        fleet: Fleet = self.view.current()
        living = term_of(fleet, change.tile_id, change.term.epoch)
        if living is not None:
            return living
        if change.ended_at_ms is not None or facts.version > fleet.version:
            return change
        # It is over, and the record of how is on its way: no former owner may be taken for the present one.
        return self.recent.of(change.term.epoch) or msgspec.structs.replace(change, state=END_OF[change.state])
