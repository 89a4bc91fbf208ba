"""Owns searching Redis for traces of an owner, and deleting those that may go at once."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files

from redis.asyncio import Redis

from subgraph.adapters.redis.connection import told_as_unavailable
from subgraph.adapters.redis.entries import Entry, all_entries
from subgraph.adapters.redis.keys import PREFIX, client_sessions_prefix
from subgraph.adapters.redis.session_codec import decode_copy
from subgraph.domain.erasure import Traces
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import TenantId
from subgraph.operations.transfer.owner_records import Residues

ENTRIES_MAX = 10_000_000
"""Most keys, fields and entries that are looked at: more are too many for one request."""
REPORTS = (":loads", ":loads-set-aside")
"""Streams of load reports, which are history once they are read, and may be dropped one by one."""


class RedisResidues:
    """The port LiveResidues on Redis: over all keys of this software, whichever version or run has written them."""

    def __init__(self, redis: Redis, entries_max: int = ENTRIES_MAX) -> None:
        self._redis = redis
        self._entries_max = entries_max
        # Fences are left alone: they end by themselves.
        source = files("subgraph.adapters.redis") / "scripts" / "sessions" / "outdate.lua"
        self._drop_copy = redis.register_script(source.read_text(encoding="utf-8"))

    async def residues(self, tenant_id: TenantId, traces: Traces) -> Residues:
        """How many entries of which kind of value bear traces."""
        found: Counter[str] = Counter()
        async for entries in self._bearing(tenant_id, traces):
            found.update(f"redis {entry.kind}" for entry in entries)
        return found

    async def forget(self, tenant_id: TenantId, traces: Traces) -> Residues:
        """Drop copies of sessions, load reports, and whose ids of chat clients are, where they bear traces."""
        found: Counter[str] = Counter()
        async for entries in self._bearing(tenant_id, traces):
            found.update(f"redis {entry.kind}" for entry in entries)
            await self._drop(tenant_id, entries)
        return found

    async def _drop(self, tenant_id: TenantId, entries: Sequence[Entry]) -> None:
        clients = client_sessions_prefix(tenant_id)
        with told_as_unavailable():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for entry in entries:
                    if entry.kind == "string":
                        await self._drop_copy(keys=[entry.key], args=[""], client=pipeline)
                    elif entry.kind == "stream" and entry.key.endswith(REPORTS):
                        pipeline.xdel(entry.key, entry.id)
                    elif entry.kind == "hash" and entry.key.startswith(clients):
                        # It stays the first one's who has it, so nobody else's is taken away.
                        pipeline.delete(entry.key)
                await pipeline.execute()

    async def _bearing(self, tenant_id: TenantId, traces: Traces) -> AsyncIterator[Sequence[Entry]]:
        seen = 0
        with told_as_unavailable():
            async for entries in all_entries(self._redis):
                seen += len(entries)
                if seen > self._entries_max:
                    raise Unavailable(f"Redis holds more than {self._entries_max:,} entries: too many to look through")
                if some := [entry for entry in entries if _bears(entry, tenant_id, traces)]:
                    yield some


def _bears(entry: Entry, tenant_id: TenantId, traces: Traces) -> bool:
    text = b"\n".join(entry.parts).decode("latin-1")
    if traces.of_sessions(f"{entry.key}\n{text}"):
        return True
    return entry.key.startswith(f"{tenant_id}:{PREFIX}:") and _is_owners(entry, tenant_id, traces)


def _is_owners(entry: Entry, tenant_id: TenantId, traces: Traces) -> bool:
    """Whether an entry of the tenant's names the owner, and not a word of the software's own who is called like it."""
    if not any(map(traces.of_owner_in_bytes, entry.parts)):
        return False
    if entry.kind == "hash" and entry.key.startswith(client_sessions_prefix(tenant_id)):
        return entry.id == b"owner" and traces.of_owner_in_bytes(entry.parts[1])
    copy = decode_copy(entry.parts[0]) if entry.kind == "string" else None
    # What somebody else's session says itself is that one's, and looked for in SQL, of which this is a copy.
    return copy is None or traces.owner_id in (copy.owner_id, copy.deleted_by)
