"""Owns what becomes of a session's tiles when it stops and starts again: released at its stop, back with its revival.

What is registered of an expired or deleted session stays in SQL, so a revived or restored one gets the same coverage
back, placed anew; a session that has ended comes back never, and what is registered of it is gone.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from subgraph.domain.coverage.tiles import NO_TILE
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TenantId, tile_id
from subgraph.domain.sessions import Session, SessionState
from subgraph.operations.fleet_view import FleetView
from subgraph.operations.live_fleet import TILES_PER_COMMIT_MAX, LiveFleet, TileWrite
from subgraph.operations.ports import CoverageRegister, SessionStore, StandingCoverage

logger = logging.getLogger(__name__)

CATCH_UP_SECONDS = 2.0
RETRY_SECONDS = 1.0
WAITING_MAX = 100_000
"""Sessions whose tiles are awaited; of more, those that have none are found at the next start."""
SESSIONS_PER_QUERY = 1_000


@dataclass(slots=True)
class SessionCoverage:
    """The coverage of sessions of one store as they stop and start again. `run` must be kept running."""

    store: SessionStore
    coverage: CoverageRegister
    standing: StandingCoverage
    live: LiveFleet
    view: FleetView
    retire_session: Callable[[SessionId], Awaitable[None]]
    note_requirement: Callable[[Session], Awaitable[None]]
    _waiting: dict[SessionId, TenantId] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def release(self, stopped: Sequence[tuple[TenantId, SessionId]]) -> None:
        """Release the tiles of sessions that have stopped; those that are ACTIVE again by now keep them. Idempotent.

        The fleet is looked at once for all. Most sessions have no tiles and no place in it: for these nothing is done.

        Raises:
            Unavailable: the picture of the fleet is not current, so nobody knows which have none; or a store is away.
        """
        if not stopped:
            return
        beat, fleet = await self.view.observe(CATCH_UP_SECONDS)
        # While the fleet is being restored, tiles come of which the picture does not know yet.
        concerned = defaultdict[TenantId, dict[SessionId, None]](dict)
        for tenant_id, session_id in stopped:
            if not beat.is_restored or fleet.knows_session(session_id):
                concerned[tenant_id][session_id] = None
        for tenant_id, session_ids in concerned.items():
            found = await self.store.sessions(tenant_id, list(session_ids))
            for session_id in session_ids:
                if session_id not in found or found[session_id].state is not SessionState.ACTIVE:
                    await self.retire_session(session_id)

    async def bring_back(self, tenant_id: TenantId, session_id: SessionId) -> None:
        """Have the tiles of a session that is ACTIVE again come back, as soon as its former ones have gone."""
        if len(self._waiting) < WAITING_MAX:
            self._waiting[session_id] = tenant_id
            self._wake.set()

    async def run(self) -> None:
        """Bring tiles back until cancelled. First those that a process was to bring back that was ended before."""
        has_looked = False
        while True:
            self._wake.clear()
            try:
                if not has_looked:
                    await self._find_bare()
                    has_looked = True
                for session_id, tenant_id in list(self._waiting.items()):
                    if await self._is_back(tenant_id, session_id):
                        self._waiting.pop(session_id, None)
            except Unavailable as error:
                logger.info("tiles of sessions that are active again wait: %s", error)
            if has_looked and not self._waiting:
                await self._wake.wait()
            else:
                await asyncio.sleep(RETRY_SECONDS)

    async def _find_bare(self) -> None:
        """Note the ACTIVE sessions of which something is registered, and that have no tile at all."""
        registered = await self.standing.active_sessions()
        beat, fleet = await self.view.observe(CATCH_UP_SECONDS)
        if not beat.is_restored:
            raise Unavailable("the fleet is being restored")
        bare = [one for one in registered if not fleet.tiles.rows_of_session(one).size]
        for start in range(0, len(bare), SESSIONS_PER_QUERY):
            standing = await self.standing.standing(bare[start : start + SESSIONS_PER_QUERY])
            for session_id, found in standing.items():
                if found is not None:
                    await self.bring_back(found.tenant_id, session_id)

    async def _is_back(self, tenant_id: TenantId, session_id: SessionId) -> bool:
        session = await self._active(tenant_id, session_id)
        if session is None:
            return True
        registered = await self.coverage.of_session(session_id)
        cells = registered.cells
        if not cells.size:
            return True
        # Before there are tiles it holds for.
        await self.note_requirement(session)
        beat, fleet = await self.view.observe(CATCH_UP_SECONDS)
        if not beat.is_restored:
            return False
        existing = fleet.tiles.coverage(session_id)
        missing = cells[(existing.tiles_of(cells) == NO_TILE) & (existing.descendants_of(cells) == NO_TILE)]
        template_of = dict(registered.templates(missing))
        writes = [
            TileWrite(tile_id(session_id, cell), 0, template_of[cell].record(tenant_id)) for cell in missing.tolist()
        ]
        is_whole = True
        for start in range(0, len(writes), TILES_PER_COMMIT_MAX):
            committed = await self.live.commit(None, writes[start : start + TILES_PER_COMMIT_MAX])
            # A former tile that is still drained keeps its place until its pod lets go of it.
            is_whole = is_whole and not committed.tile_conflicts
            await self.view.caught_up(committed.version, CATCH_UP_SECONDS)
        if await self._active(tenant_id, session_id) is None:
            # It stopped meanwhile: its tiles may have been released before these came.
            await self.retire_session(session_id)
            return True
        return is_whole

    async def _active(self, tenant_id: TenantId, session_id: SessionId) -> Session | None:
        session = (await self.store.sessions(tenant_id, [session_id])).get(session_id)
        return session if session is not None and session.state is SessionState.ACTIVE else None
