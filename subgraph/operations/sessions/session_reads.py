"""Owns cached reads of sessions: from the local cache, the shared one in Redis, or SQL, whichever has them first.

A read is never older than a change that was answered or published. Decisions are not based on it: changes read SQL.
The cache knows no callers; what a caller may see is decided after every read.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.sessions import Session
from subgraph.operations.sessions.session_blobs import Copies, SessionKey, is_cacheable, is_small
from subgraph.operations.sessions.session_cache import SessionCache
from subgraph.operations.sessions.session_ports import SessionStore


@dataclass(frozen=True, slots=True)
class SessionReads:
    """Sessions as they are now, of one tenant at a time."""

    store: SessionStore
    cache: SessionCache

    async def sessions(self, tenant_id: TenantId, session_ids: Sequence[SessionId]) -> dict[SessionId, Session]:
        """The tenant's sessions among the ids; absent and foreign ids are not in the answer, and not cached.

        Raises:
            Unavailable: what had to be read from SQL could not be.
        """
        cache, facts = self.cache, self.cache.facts
        if not all(map(is_cacheable, (tenant_id, *session_ids))):
            return await self.store.sessions(tenant_id, session_ids)
        wanted = list(dict.fromkeys(session_ids))
        try:
            position, is_valid = await cache.position() if wanted else (None, False)
        except Unavailable:
            position = None
        if position is None:
            facts.bypassed += len(wanted)
            return await self.store.sessions(tenant_id, session_ids)
        found: dict[SessionId, Session] = {}
        if is_valid:
            found = {one: session for one in wanted if (session := cache.local(tenant_id, one)) is not None}
        missing = [one for one in wanted if one not in found]
        if not missing:
            return found
        with cache.loading() as load:
            try:
                with cache.noting_outage():
                    copies = await cache.blobs.read(position.run, tenant_id, missing)
            except Unavailable:
                facts.bypassed += len(missing)
                return found | await self.store.sessions(tenant_id, missing)
            facts.shared_hits += len(copies.sessions)
            facts.shared_misses += len(missing) - len(copies.sessions)
            facts.unreadable += copies.unreadable
            loaded = {**copies.sessions, **await self._stored(position.run, tenant_id, missing, copies)}
            if is_valid:
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
        # The sessions were read in any case; filling the cache for others may fail.
        with contextlib.suppress(Unavailable), self.cache.noting_outage():
            small = {one: session for one, session in stored.items() if is_small(session)}
            await self.cache.blobs.fill(run, tenant_id, copies, small)
        return stored
