"""Owns the look through Redis for traces of an owner: the one place where keys are scanned, in no request but this."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, cast

from redis.asyncio import Redis

from subgraph.adapters.redis.connection import told_as_unavailable
from subgraph.adapters.redis.keys import PREFIX, client_sessions_prefix
from subgraph.domain.erasure import Traces
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import TenantId
from subgraph.operations.transfer.owner_records import Residues

SCAN_COUNT = 1_000
ENTRIES_MAX = 10_000_000
"""Most keys, fields and entries that are looked at: more are too many for one request."""
REPORTS = (":loads", ":loads-set-aside")
"""Streams of load reports, which are history once they are read, and may be dropped one by one."""


@dataclass(frozen=True, slots=True)
class _Entry:
    key: str
    kind: str
    id: bytes
    parts: tuple[bytes, ...]


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
        async for entry in self._bearing(tenant_id, traces):
            found[f"redis {entry.kind}"] += 1
        return found

    async def forget(self, tenant_id: TenantId, traces: Traces) -> None:
        """Drop copies of sessions, load reports, and whose ids of chat clients are, where they bear traces."""
        clients = client_sessions_prefix(tenant_id)
        async for entry in self._bearing(tenant_id, traces):
            with told_as_unavailable():
                if entry.kind == "string":
                    await self._drop_copy(keys=[entry.key], args=[""])
                elif entry.kind == "stream" and entry.key.endswith(REPORTS):
                    await self._redis.xdel(entry.key, entry.id)
                elif entry.kind == "hash" and entry.key.startswith(clients):
                    # It stays the first one's who has it, so nobody else's is taken away.
                    await self._redis.delete(entry.key)

    async def _bearing(self, tenant_id: TenantId, traces: Traces) -> AsyncIterator[_Entry]:
        seen = 0
        with told_as_unavailable():
            async for entry in self._entries():
                seen += 1
                if seen > self._entries_max:
                    raise Unavailable(f"Redis holds more than {self._entries_max:,} entries: too many to look through")
                is_tenants = entry.key.startswith(f"{tenant_id}:{PREFIX}:")
                is_owners = is_tenants and any(map(traces.of_owner_in_bytes, entry.parts))
                text = b"\n".join(entry.parts).decode("latin-1")
                if is_owners or traces.of_sessions(entry.key) or traces.of_sessions(text):
                    yield entry

    async def _entries(self) -> AsyncIterator[_Entry]:
        async for name in self._redis.scan_iter(match=f"*{PREFIX}:*", count=SCAN_COUNT):
            key = name.decode(errors="surrogateescape")
            kind = cast(bytes, await self._redis.type(name)).decode()
            async for entry_id, parts in self._within(name, kind):
                yield _Entry(key, kind, entry_id, parts)

    async def _within(self, key: bytes, kind: str) -> AsyncIterator[tuple[bytes, tuple[bytes, ...]]]:
        # redis-py cannot know that nothing is decoded here.
        redis: Any = self._redis
        match kind:
            case "string":
                yield b"", (await redis.get(key) or b"",)
            case "hash":
                async for field, value in redis.hscan_iter(key, count=SCAN_COUNT):
                    yield field, (field, value)
            case "set":
                async for member in redis.sscan_iter(key, count=SCAN_COUNT):
                    yield member, (member,)
            case "zset":
                async for member, _ in redis.zscan_iter(key, count=SCAN_COUNT):
                    yield member, (member,)
            case "list":
                start = 0
                while some := await redis.lrange(key, start, start + SCAN_COUNT - 1):
                    for item in some:
                        yield b"", (item,)
                    start += len(some)
            case "stream":
                after = b"-"
                while some := await redis.xrange(key, after, "+", count=SCAN_COUNT):
                    for entry_id, fields in some:
                        yield entry_id, tuple(part for pair in fields.items() for part in pair)
                    after = b"(" + some[-1][0]
