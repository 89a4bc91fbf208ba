"""Owns how sessions are read often: from this process's copies, those in the live store, or SQL, whichever is nearest.

What is read is never older than what anybody was told. Nothing is decided on it: who changes a session reads SQL.
Copies do not know who asks; whoever asks decides after every load what its caller may see.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.sessions import Session
from subgraph.operations.sessions.session_blobs import Copies, SessionKey, is_copyable, is_small
from subgraph.operations.sessions.session_cache import SessionCache
from subgraph.operations.sessions.session_ports import SessionStore


@dataclass(frozen=True, slots=True)
class SessionReads:
    """Sessions as they are now, of one tenant at a time."""

    store: SessionStore
    cache: SessionCache

    async def sessions(self, tenant_id: TenantId, session_ids: Sequence[SessionId]) -> dict[SessionId, Session]:
        """The tenant's sessions among the ids; absent and foreign ids are not in the answer, and never remembered.

        Raises:
            Unavailable: what had to be read in SQL could not be.
        """
        cache, facts = self.cache, self.cache.facts
        if not all(map(is_copyable, (tenant_id, *session_ids))):
            return await self.store.sessions(tenant_id, session_ids)
        wanted = list(dict.fromkeys(session_ids))
        try:
            standing, is_worth = await cache.standing() if wanted else (None, False)
        except Unavailable:
            standing = None
        if standing is None:
            facts.bypassed += len(wanted)
            return await self.store.sessions(tenant_id, session_ids)
        found: dict[SessionId, Session] = {}
        if is_worth:
            found = {one: session for one in wanted if (session := cache.local(tenant_id, one)) is not None}
        missing = [one for one in wanted if one not in found]
        if not missing:
            return found
        with cache.loading() as load:
            try:
                with cache.noting_absence():
                    copies = await cache.blobs.read(standing.run, tenant_id, missing)
            except Unavailable:
                facts.bypassed += len(missing)
                return found | await self.store.sessions(tenant_id, missing)
            facts.shared_hits += len(copies.sessions)
            facts.shared_misses += len(missing) - len(copies.sessions)
            facts.unreadable += copies.unreadable
            loaded = {**copies.sessions, **await self._stored(standing.run, tenant_id, missing, copies)}
            if is_worth:
                for one, session in loaded.items():
                    if one not in copies.fenced and (one in copies.sessions or is_small(session)):
                        load.keep(SessionKey(tenant_id, one), session.revision, session)
        return found | loaded

    async def _stored(
        self, run: str, tenant_id: TenantId, wanted: Sequence[SessionId], copies: Copies
    ) -> dict[SessionId, Session]:
        left = [one for one in wanted if one not in copies.sessions]
        if not left:
            return {}
        stored = await self.store.sessions(tenant_id, left)
        # Without the copies for others, they were read all the same.
        with contextlib.suppress(Unavailable), self.cache.noting_absence():
            small = {one: session for one, session in stored.items() if is_small(session)}
            await self.cache.blobs.fill(run, tenant_id, copies, small)
        return stored
