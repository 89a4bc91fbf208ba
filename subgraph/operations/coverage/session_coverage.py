"""Owns what becomes of a session's tiles when it stops and starts again: released at its stop, back with its revival.

What is registered of an expired or deleted session stays in SQL, so a revived or restored one gets the same coverage
back, placed anew; a session that has ended comes back never, and what is registered of it is gone.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.sessions import Session, SessionState
from subgraph.operations.coverage.coverage_ports import CoverageRegister, StandingCoverage
from subgraph.operations.coverage.tile_making import TileMaking
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.interruptions import Interruption
from subgraph.operations.sessions.session_ports import SessionStore

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
WAITING_MAX = 100_000
"""Sessions whose tiles are awaited; of more, those that have none are found at the next look."""
LOOK_SECONDS = 60.0
SESSIONS_PER_QUERY = 1_000


@dataclass(slots=True)
class SessionCoverage:
    """The coverage of sessions of one store as they stop and start again. `run` must be kept running."""

    store: SessionStore
    coverage: CoverageRegister
    standing: StandingCoverage
    tile_making: TileMaking
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
        beat, fleet = await self.view.observe()
        for tenant_id, session_id in dict.fromkeys(stopped):
            # While the fleet is being restored, tiles come of which the picture does not know yet.
            if not beat.is_restored or fleet.knows_session(session_id):
                await self._release(tenant_id, session_id)

    async def bring_back(self, tenant_id: TenantId, session_id: SessionId) -> None:
        """Have the tiles of a session that is ACTIVE again come back, as soon as its former ones have gone."""
        if len(self._waiting) < WAITING_MAX:
            self._waiting[session_id] = tenant_id
            self._wake.set()

    async def run(self) -> None:
        """Bring tiles back until cancelled: those asked for, and those that whoever was to bring them back did not."""
        clock, look_at = asyncio.get_running_loop().time, 0.0
        interruption = Interruption(logger, "the return of tiles to sessions that are active again", logging.INFO)
        while True:
            self._wake.clear()
            try:
                if clock() >= look_at:
                    await self._find_bare()
                    look_at = clock() + LOOK_SECONDS
                for session_id, tenant_id in list(self._waiting.items()):
                    await self._try(tenant_id, session_id)
            except Unavailable as error:
                interruption.failed(error)
            else:
                interruption.succeeded()
            if self._waiting or clock() >= look_at:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(look_at):
                        await self._wake.wait()

    async def _release(self, tenant_id: TenantId, session_id: SessionId) -> None:
        # Asked of each just before: to release others' tiles takes its time.
        if await self._active(tenant_id, session_id) is not None:
            return
        try:
            await self.retire_session(session_id)
        finally:
            # It may be ACTIVE again by now, and another process have found all tiles there, just before they went.
            await self.bring_back(tenant_id, session_id)

    async def _find_bare(self) -> None:
        """Note the ACTIVE sessions of which something is registered, and that have no tile at all, or some that go."""
        registered = await self.standing.active_sessions()
        beat, fleet = await self.view.observe()
        if not beat.is_restored:
            raise Unavailable("the fleet is being restored")
        # Of those whose tiles go, somebody may have known that they are to come back, and knows it no more.
        going = {fleet.tiles.session_of(row) for row in fleet.tiles.retiring}
        bare = [one for one in registered if one in going or not fleet.tiles.rows_of_session(one).size]
        for start in range(0, len(bare), SESSIONS_PER_QUERY):
            standing = await self.standing.standing(bare[start : start + SESSIONS_PER_QUERY])
            for session_id, found in standing.items():
                if found is not None:
                    await self.bring_back(found.tenant_id, session_id)

    async def _try(self, tenant_id: TenantId, session_id: SessionId) -> None:
        # Who asks for it from now on, asks for more than is looked at here.
        self._waiting.pop(session_id, None)
        is_back = False
        try:
            is_back = await self._is_back(tenant_id, session_id)
        finally:
            if not is_back:
                self._waiting.setdefault(session_id, tenant_id)

    async def _is_back(self, tenant_id: TenantId, session_id: SessionId) -> bool:
        session = await self._active(tenant_id, session_id)
        if session is None:
            return True
        registered = await self.coverage.of_session(session_id)
        if not registered.parts:
            return True
        # Before there are tiles it holds for.
        await self.note_requirement(session)
        beat, fleet = await self.view.observe()
        if not beat.is_restored:
            return False
        made = await self.tile_making.make(fleet, tenant_id, session_id, registered, registered.cells)
        if await self._active(tenant_id, session_id) is None:
            # It stopped meanwhile: its tiles may have been released before these came.
            await self.retire_session(session_id)
            return await self._active(tenant_id, session_id) is None
        return made.is_whole

    async def _active(self, tenant_id: TenantId, session_id: SessionId) -> Session | None:
        session = (await self.store.sessions(tenant_id, [session_id])).get(session_id)
        return session if session is not None and session.state is SessionState.ACTIVE else None
