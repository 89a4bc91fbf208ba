"""Owns the shared cache of sessions in Redis: one string a session, under its tenant, with a hash tag of its own.

The keys contain the run id of the server: after a restart or a failover, which may have lost invalidations, entries
made before are never read again.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from secrets import token_urlsafe
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.crc import key_slot

from subgraph.adapters.redis.connection import told_as_unavailable
from subgraph.adapters.redis.keys import fleet_key, session_key, sessions_standing_key
from subgraph.adapters.redis.session_codec import decode_copy, encode_copy, is_copy
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.sessions import Session
from subgraph.operations.sessions.session_blobs import Copies, Invalidation, InvalidationPosition, SessionKey

COPY_MS = 3_600_000
CLAIM_MS = 5_000
FENCE_MS = 60_000
"""Longer than any commit may take: waiting for its turn, for a busy database, and being tried again."""
ANSWER_SECONDS_MAX = 1.0
"""Reads have SQL to turn to, so they do not wait for long."""
FENCE_ATTEMPTS_MAX = 3


class RedisSessionBlobs:
    """The SessionBlobs port on Redis. Clustered, what is done to many sessions is grouped by slot."""

    def __init__(self, redis: Redis, fleet_id: str, *, fence_ms: int = FENCE_MS) -> None:
        self._redis = redis
        self._fleet_id = fleet_id
        self._fence_ms = fence_ms
        self._position_key = sessions_standing_key(fleet_id)
        self.channel = fleet_key(fleet_id, "sessions-outdated")
        """The channel on which invalidations are published."""
        self._run = ""
        self._is_clustered: bool | None = None
        self._position = _script(redis, "standing")
        self._announce = _script(redis, "announce")
        self._claim = _script(redis, "claim")
        self._fill = _script(redis, "fill")
        self._fence = _script(redis, "fence")
        self._lift = _script(redis, "lift")
        self._invalidate = _script(redis, "outdate")

    async def position(self) -> InvalidationPosition:
        """The position of the latest invalidation."""
        async with _answered():
            run, line, count = await self._position(keys=[self._position_key], args=[token_urlsafe(12)])
        self._run = run.decode()
        return InvalidationPosition(self._run, line.decode(), count)

    async def read(self, run: str, tenant_id: TenantId, session_ids: Sequence[SessionId]) -> Copies:
        """The copies in a run of the store; free places among the others are claimed for the caller."""
        keys = {session_key(self._fleet_id, tenant_id, one, run): one for one in session_ids}
        async with _answered():
            stored = await self._of_all(list(keys), self._mget)
            sessions: dict[SessionId, Session] = {}
            free: list[str] = []
            unreadable = 0
            for key, value in stored.items():
                if value is None:
                    free.append(key)
                elif is_copy(value):
                    session = decode_copy(value)
                    if session is None or (session.tenant_id, session.id) != (tenant_id, keys[key]):
                        unreadable += 1
                    else:
                        sessions[session.id] = session
            if not free:
                return Copies(sessions, unreadable=unreadable)
            claim = token_urlsafe(12)

            async def claimed(some: list[str]) -> list[int]:
                answers: list[int] = await self._claim(keys=some, args=[claim, CLAIM_MS])
                return answers

            answers = await self._of_all(free, claimed)
        return Copies(
            sessions,
            claimed=[keys[key] for key, answer in answers.items() if answer == 1],
            fenced=frozenset(keys[key] for key, answer in answers.items() if answer == -1),
            claim=claim,
            unreadable=unreadable,
        )

    async def fill(self, run: str, tenant_id: TenantId, copies: Copies, stored: Mapping[SessionId, Session]) -> None:
        """Put what SQL said, after they were claimed, in the claimed places that are still the caller's."""
        if not copies.claimed:
            return
        encoded = {
            session_key(self._fleet_id, tenant_id, one, run): encode_copy(stored[one]) if one in stored else b""
            for one in copies.claimed
        }

        async def filled(some: list[str]) -> list[None]:
            await self._fill(keys=some, args=[copies.claim, COPY_MS, *(encoded[key] for key in some)])
            return [None] * len(some)

        async with _answered():
            await self._of_all(list(encoded), filled)

    async def fence(self, keys: Sequence[SessionKey], token: str) -> None:
        """Remove sessions from the cache, let none in until the fence is lifted, and publish that."""
        async with _answered():
            if not self._run:
                await self.position()
            for _ in range(FENCE_ATTEMPTS_MAX):
                run = self._run

                async def fenced(some: list[str], run: str = run) -> list[bytes]:
                    answer = await self._fence(keys=some, args=[run, token, self._fence_ms])
                    return [answer] * len(some)

                answers = await self._of_all(self._keys(keys, run), fenced)
                self._run = max(answers.values()).decode()
                if self._run == run:
                    break
            else:
                raise Unavailable("the store of copies of sessions keeps being another one", 1.0)
            await self._publish([Invalidation(*key) for key in keys])

    async def lift(self, keys: Sequence[SessionKey], token: str) -> None:
        """Lift a fence. If it had ended by itself, what was cached since is invalidated."""

        run = self._run

        async def lifted(some: list[str]) -> list[int]:
            answers: list[int] = await self._lift(keys=some, args=[run, token])
            return answers

        async with _answered():
            answers = await self._of_all(self._keys(keys, run), lifted)
        gone = [Invalidation(*key) for key, stood in zip(keys, answers.values(), strict=True) if not stood]
        if gone:
            # Also where the store is another one by now, whose places have other names.
            await self.invalidate(gone)

    async def invalidate(self, invalidated: Sequence[Invalidation]) -> None:
        """Remove cached copies, and publish that. Fences stay."""
        async with _answered():
            run = (await self.position()).run
            below = {
                session_key(self._fleet_id, one.tenant_id, one.id, run): "" if one.below is None else one.below
                for one in invalidated
            }

            async def dropped(some: list[str]) -> list[None]:
                await self._invalidate(keys=some, args=[below[key] for key in some])
                return [None] * len(some)

            await self._of_all(list(below), dropped)
            await self._publish(invalidated)

    def _keys(self, keys: Sequence[SessionKey], run: str) -> list[str]:
        return [session_key(self._fleet_id, key.tenant_id, key.id, run) for key in keys]

    async def _publish(self, invalidated: Sequence[Invalidation]) -> None:
        packed = msgspec.msgpack.encode(invalidated)
        await self._announce(keys=[self._position_key], args=[self.channel, token_urlsafe(12), packed])

    async def _mget(self, keys: list[str]) -> list[bytes | None]:
        # redis-py cannot know that nothing is decoded here.
        return cast(list[bytes | None], await self._redis.mget(keys))

    async def _of_all(self, keys: list[str], call: Any) -> dict[str, Any]:
        """What a call answers for each key, in their order; on a cluster it is called for each slot."""
        if not keys:
            return {}
        if self._is_clustered is None:
            self._is_clustered = bool((await self._redis.info("cluster")).get("cluster_enabled"))
        if not self._is_clustered:
            return dict(zip(keys, await call(keys), strict=True))
        slots: dict[int, list[str]] = {}
        for key in keys:
            slots.setdefault(key_slot(key.encode()), []).append(key)
        groups = list(slots.values())
        answers = await asyncio.gather(*(call(group) for group in groups))
        found = {
            key: one for group, some in zip(groups, answers, strict=True) for key, one in zip(group, some, strict=True)
        }
        return {key: found[key] for key in keys}


def _script(redis: Redis, name: str) -> AsyncScript:
    return redis.register_script(
        (files("subgraph.adapters.redis") / "scripts" / "sessions" / f"{name}.lua").read_text()
    )


@asynccontextmanager
async def _answered() -> AsyncIterator[None]:
    with told_as_unavailable():
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            yield
