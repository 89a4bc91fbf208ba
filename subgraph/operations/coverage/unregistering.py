"""Owns the removal of tiles from a session's coverage: in SQL first, then by the ordinary handoff."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from subgraph.domain.access import Caller, require_change
from subgraph.domain.coverage import Coverage, resolve_overlaps
from subgraph.domain.coverage.cells import CellArray, cell_array
from subgraph.domain.coverage.tiles import NO_TILE
from subgraph.domain.errors import InvalidInput, NotFound, SessionManagerFailure, Unavailable
from subgraph.domain.ids import SessionId, TenantId, TileId, parse_tile_id, tile_id
from subgraph.domain.sessions import Session, require_active
from subgraph.operations.coverage.coverage_ports import CoverageChanged, CoverageRegister
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.fleet_writes import TILES_PER_COMMIT_MAX
from subgraph.operations.sessions.sessions import Sessions

ATTEMPTS_MAX = 10
SESSIONS_PER_CALL_MAX = 100
TILE_IDS = "tileIds"


@dataclass(frozen=True, slots=True)
class Unregistering:
    """Taking tiles out of coverages."""

    sessions: Sessions
    coverage: CoverageRegister
    view: FleetView
    retirement: Retirement
    bring_back: Callable[[TenantId, SessionId], Awaitable[None]]

    async def unregister(self, caller: Caller, tile_ids: Sequence[TileId]) -> list[SessionManagerFailure]:
        """Have tiles be part of their sessions no more. Idempotent: of what is not registered nothing needs to go.

        A tile that has split goes with all its parts; of one of which a part is named, the other parts stay. What is
        registered is written to SQL before the tiles retire; who repeats a call that failed between the two makes good
        what is missing.

        Returns:
            Why tiles were refused, each with its place: NotFound where the caller has no such session, NotAllowed,
            IllegalState or SessionExpired, and InvalidInput for an id that is malformed or no tile's. The others are
            done all the same.

        Raises:
            InvalidInput: the tiles, or their sessions, are too many.
            Unavailable: also while tiles that the live store has lost are being restored. What was done stays.
        """
        if not 1 <= len(tile_ids) <= TILES_PER_COMMIT_MAX:
            limit = f"{TILES_PER_COMMIT_MAX:,} tiles"
            raise InvalidInput(f"1 to {limit} a call, not {len(tile_ids):,}", (TILE_IDS,), limit)
        refused: dict[int, SessionManagerFailure] = {}
        wanted: defaultdict[SessionId, dict[int, int]] = defaultdict(dict)
        for place, tile in enumerate(tile_ids):
            try:
                session_id, cell = parse_tile_id(tile, (TILE_IDS, str(place)))
            except InvalidInput as failure:
                refused[place] = failure
            else:
                wanted[session_id].setdefault(cell, place)
        if len(wanted) > SESSIONS_PER_CALL_MAX:
            limit = f"{SESSIONS_PER_CALL_MAX} sessions"
            raise InvalidInput(f"tiles of at most {limit} a call, not {len(wanted):,}", (TILE_IDS,), limit)
        found = await self.sessions.get_many(caller, list(wanted))
        for session_id, place_of in wanted.items():
            refused |= await self._of_session(caller, session_id, found.get(session_id), place_of)
        return [refused[place] for place in sorted(refused)]

    async def _of_session(
        self, caller: Caller, session_id: SessionId, session: Session | None, place_of: Mapping[int, int]
    ) -> dict[int, SessionManagerFailure]:
        refused: dict[int, SessionManagerFailure] = {}
        for cell, place in place_of.items():
            path = (TILE_IDS, str(place))
            try:
                if session is None:
                    raise NotFound("Tile", tile_id(session_id, cell), path)
                require_change(caller, session, session_id, path)
                require_active(session, path)
            except SessionManagerFailure as failure:
                refused[place] = failure
        if session is None or refused:
            return refused
        gone, refused, revision = await self._take_out(session_id, place_of, caller.owner_id)
        await self.retirement.retire_within(session_id, gone)
        tiles = self.view.current().tiles.coverage(session_id).tiles_of(gone)
        merged = tiles[tiles != NO_TILE]
        await self.retirement.retire_within(session_id, merged)
        if merged.size or await self.coverage.revision(session_id) != revision:
            # Parts merged, or some were registered anew, in between: what is wanted of them comes back.
            await self.bring_back(session.tenant_id, session_id)
        return refused

    async def _take_out(
        self, session_id: SessionId, place_of: Mapping[int, int], actor: str
    ) -> tuple[CellArray, dict[int, SessionManagerFailure], int]:
        """Take cells out of what is registered.

        Returns:
            The cells that have to go, by their places why others have not, and the coverage's revision.
        """
        for _ in range(ATTEMPTS_MAX):
            beat, fleet = await self.view.observe()
            if not beat.is_restored:
                # In which parts these tiles come back is for the pods that held them to say.
                raise Unavailable("tiles of this session are being restored", retry_after_seconds=1.0)
            living = fleet.tiles.coverage(session_id)
            coverage = await self.coverage.of_session(session_id)
            registered = Coverage(coverage.cells.tolist())
            refused: dict[int, SessionManagerFailure] = {}
            cells: list[int] = []
            for cell, place in place_of.items():
                if (whole := _whole(cell, registered, living)) is None:
                    cells.append(cell)
                else:
                    inside = f"it lies inside tile {tile_id(session_id, whole)!r}"
                    path = (TILE_IDS, str(place))
                    refused[place] = InvalidInput(f"{tile_id(session_id, cell)!r} is no tile: {inside}", path)
            gone = cell_array(resolve_overlaps(Coverage(), cells).added)
            known = gone[registered.touches(gone)]
            if not known.size:
                return gone, refused, coverage.revision
            try:
                revision = await self.coverage.remove(session_id, known, coverage.revision, actor)
            except CoverageChanged:
                continue
            return gone, refused, revision
        raise Unavailable(f"others keep registering tiles of session {session_id!r}", retry_after_seconds=1.0)


def _whole(cell: int, registered: Coverage, living: Coverage) -> int | None:
    """The tile that a cell lies strictly inside, so that it is none itself; None where it is, was or may be one."""
    if living.tiles_within(cell):
        return None
    whole = living.tile_of(cell) or registered.tile_of(cell)
    return None if whole == cell else whole
